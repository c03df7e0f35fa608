"""Opens every OME-Zarr of the example `write_ome_zarr` with the readers of others.

Usage: check_ome_zarr.py FOLDER. The metadata must satisfy ome-zarr-models, ome-zarr-py must
find levels, axes, channels and labels, and zarr-python must read the voxels of the formula, and
of the lower levels what NumPy makes of it.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models import open_ome_zarr

# It warns of version 0.4 and of labels without an image, both of which are wanted here.
logging.getLogger("ome_zarr").setLevel(logging.ERROR)

TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


def formula(shape, dtype, cut=None):
    t, c, z, y, x = np.ogrid[tuple(slice(length) for length in shape)]
    values = (1000 * t + 300 * c + 17 * z + 5 * y + 3 * x) % 251
    if cut is not None:
        values = np.where((y < cut) & (x < cut), values, 0)
    values = values.astype("uint8")
    return values / np.dtype(dtype).type(4) if dtype.startswith("float") else values.astype(dtype)


def coarser(array, factor, labels):
    """The next level: the mean of what is there of each block, or its first voxel."""
    step = (1, 1, *factor)
    if labels:
        return array[tuple(slice(None, None, one) for one in step)]
    sums, counts = array.astype("float64"), np.ones(array.shape)
    for axis, one in enumerate(step):
        starts = np.arange(0, array.shape[axis], one)
        sums = np.add.reduceat(sums, starts, axis=axis)
        counts = np.add.reduceat(counts, starts, axis=axis)
    mean = sums / counts
    return (mean if array.dtype.kind == "f" else np.rint(mean)).astype(array.dtype)


def attributes(path):
    group = zarr.open_group(path, mode="r")
    attrs = dict(group.attrs)
    if group.metadata.zarr_format == 3:
        assert list(attrs) == ["ome"] and attrs["ome"]["version"] == "0.5"
        return attrs["ome"], "0.5"
    assert attrs["multiscales"][0]["version"] == "0.4"
    return attrs, "0.4"


def check_voxels(path, datasets, spacing, origin, time_step, labels, cut):
    expected, total = None, np.ones(3)
    for index, dataset in enumerate(datasets):
        array = zarr.open_array(path / dataset["path"], mode="r")
        scale, move = dataset["coordinateTransformations"]
        assert (scale["type"], move["type"]) == ("scale", "translation")
        if index == 0:
            expected = formula(array.shape, str(array.dtype), cut)
        else:
            before = datasets[index - 1]["coordinateTransformations"][0]["scale"]
            factor = (np.array(scale["scale"]) / before)[2:]
            assert set(factor) <= {1.0, 2.0}, factor
            # Along z only while it is not coarser; never along an axis of one voxel.
            finer = spacing is not None and before[2] ** 2 <= 2 * before[3] * before[4]
            wanted = np.minimum([2 if finer else 1, 2, 2], expected.shape[2:])
            assert (factor == wanted).all(), (factor, wanted)
            total *= factor
            expected = coarser(expected, factor.astype(int), labels)
        size = np.array(spacing or [1, 1, 1])
        assert np.allclose(scale["scale"], [time_step, 1, *(size * total)], rtol=1e-12)
        assert np.allclose(move["translation"], [0, 0, *(origin + (total - 1) / 2 * size)])
        found = array[...]
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)
        if array.metadata.zarr_format == 3:
            assert array.metadata.dimension_names == ("t", "c", "z", "y", "x")
            assert array.shards is not None
        else:
            assert array.metadata.dimension_separator == "/"


def check(path, spacing=(0.5, 0.25, 0.25), origin=(0, 0, 0), time_step=1.0, labels=False, cut=None):
    attrs, version = attributes(path)
    kind = type(open_ome_zarr(str(path), version=version)).__name__
    assert kind == ("ImageLabel" if labels else "Image"), kind
    assert not [name for name in path.rglob("*") if name.name.endswith(".part")]
    (multiscale,) = attrs["multiscales"]
    axes = [(axis["name"], axis["type"], axis.get("unit")) for axis in multiscale["axes"]]
    unit = "micrometer" if spacing else None
    seconds = "second" if time_step != 1.0 else None
    assert axes[:2] == [("t", "time", seconds), ("c", "channel", None)]
    assert axes[2:] == [(axis, "space", unit) for axis in "zyx"]
    check_voxels(path, multiscale["datasets"], spacing, origin, time_step, labels, cut)
    assert ("omero" in attrs, "image-label" in attrs) == (not labels, labels)
    # ome-zarr-py, as napari opens it.
    nodes = list(Reader(parse_url(str(path), mode="r"))())
    assert len(nodes[0].data) == len(multiscale["datasets"])
    assert [axis["name"] for axis in nodes[0].metadata["axes"]] == list("tczyx")
    return attrs, nodes, len(multiscale["datasets"])


def check_version(folder):
    origin, place = np.array([5.0, -1.0, 0.5]), folder / "image.ome.zarr"
    attrs, nodes, levels = check(place, origin=origin, time_step=30.0)
    first, second = attrs["omero"]["channels"]
    assert (first["label"], first["color"], second["label"]) == ("DNA", "0000FF", 'membrane µ"')
    window = {"min": 0, "max": 65535, "start": 10, "end": 200}
    assert first["window"] == window and first["active"], first["window"]
    assert 0 <= second["window"]["start"] < second["window"]["end"] <= 250
    assert nodes[0].metadata["channel_names"] == ["DNA", 'membrane µ"']
    assert "formula" in json.dumps(attrs["multiscales"][0]["metadata"])
    group = dict(zarr.open_group(place / "labels", mode="r").attrs)
    assert group.get("ome", group)["labels"] == ["nuclei", "cells"]
    for name in ["nuclei", "cells"]:
        label = place / "labels" / name
        attrs, _, found = check(label, origin=origin, time_step=30.0, labels=True)
        assert found == levels
        assert attrs["image-label"]["source"] == {"image": "../../"}
    found = [Path(str(node.zarr)).name for node in nodes]
    assert any("nuclei" in str(node.zarr) for node in nodes), found
    attrs, _, _ = check(folder / "labels-alone.ome.zarr", origin=origin, time_step=30.0, labels=True)
    assert "source" not in attrs["image-label"]
    for dtype in TYPES:
        check(folder / f"type-{dtype}.ome.zarr")
    check(folder / "no-size.ome.zarr", spacing=None)


def main():
    folder = Path(sys.argv[1])
    versions = sorted(path for path in folder.glob("v0*") if path.is_dir())
    assert len(versions) == 6, f"no stores under {folder}"
    for version in versions:
        check_version(version)
        print(version.name, "image, labels, all types, no voxel size")
    check(folder / "default.ome.zarr")
    check(folder / "sparse.ome.zarr", cut=100)
    files = list((folder / "sparse.ome.zarr" / "0" / "c").rglob("*"))
    assert sum(path.is_file() for path in files) == 1, "chunks of 0 are stored"
    print("default options, sparse")
    stores = sum((path / name).exists() for path in folder.rglob("0")
                 for name in (".zarray", "zarr.json"))
    print(f"{stores} stores passed, 0 failed")


if __name__ == "__main__":
    main()
