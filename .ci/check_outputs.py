"""Opens every OME-TIFF under a folder as a user of tifffile would, and says what it saw.

Usage: check_outputs.py FOLDER. Fails if a stack lacks axes, voxel size or channel name.
"""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import tifffile


def check(path: Path) -> str:
    with tifffile.TiffFile(path) as file:
        assert file.is_ome, "not recognised as OME-TIFF"
        series = file.series[0]
        assert series.axes in ("ZYX", "CZYX"), f"axes {series.axes}"
        array = series.asarray()
        assert np.isfinite(array).all(), "voxels that are not finite"
        root = ElementTree.fromstring(file.ome_metadata)
    namespace = {"ome": root.tag.split("}")[0].strip("{")}
    pixels = root.find(".//ome:Pixels", namespace)
    spacing = []
    for axis in "ZYX":
        assert pixels.get(f"PhysicalSize{axis}Unit", "µm") == "µm", f"unit along {axis}"
        spacing.append(float(pixels.get(f"PhysicalSize{axis}")))
    assert min(spacing) > 0, f"voxel size {spacing}"
    names = [channel.get("Name") for channel in pixels.findall("ome:Channel", namespace)]
    assert names and all(names), "a channel has no name"
    return f"{series.axes} {array.shape} {array.dtype} {spacing} µm {', '.join(names)}"


def main() -> None:
    folder = Path(sys.argv[1])
    paths = sorted(folder.rglob("*.ome.tif"))
    assert paths, f"no .ome.tif under {folder}"
    for path in paths:
        print(path.relative_to(folder), check(path))
    print(f"{len(paths)} passed, 0 failed")


if __name__ == "__main__":
    main()
