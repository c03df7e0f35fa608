"""Writes real_czi.csv: what pylibCZIrw 6.1.0 (libCZI) reads from the CZI files of a folder.

    python3 real_czi.py ../../../../shared/data > real_czi.csv

Each row is a z-stack of one scene, channel and time point. Colours count as three channels: red,
green, blue. The last column is the CRC-32 of the voxels as little-endian bytes.
"""

import csv
import pathlib
import sys
import zlib

import numpy
from pylibCZIrw import czi


def stacks(path):
    with czi.open_czi(str(path)) as file:
        box = file.total_bounding_box_no_pyramid
        scenes = file.scenes_bounding_rectangle_no_pyramid
        times, channels, depth = (range(*box.get(axis, (0, 1))) for axis in "TCZ")
        (left, right), (top, bottom) = box["X"], box["Y"]
        whole = (left, top, right - left, bottom - top)
        for series, scene in enumerate(sorted(scenes) or [None]):
            area = whole if scene is None else tuple(scenes[scene])
            for channel in channels:
                for time in times:
                    planes = [
                        file.read(plane={"C": channel, "T": time, "Z": z}, scene=scene, roi=area)
                        for z in depth
                    ]
                    stack = numpy.stack(planes)[..., ::-1]
                    count = stack.shape[-1]
                    for sample in range(count):
                        voxels = numpy.ascontiguousarray(stack[..., sample])
                        number = (channel - channels[0]) * count + sample
                        yield series, number, time - times[0], voxels


def main(root):
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow("path series channel time sample_type shape sum crc32".split())
    for path in sorted(root.glob("formats/czi_*/*.czi")):
        name = path.relative_to(root).as_posix()
        for series, channel, time, voxels in stacks(path):
            shape = " ".join(map(str, voxels.shape))
            total = int(voxels.astype(numpy.int64).sum())
            crc = f"{zlib.crc32(voxels.tobytes()):08x}"
            writer.writerow([name, series, channel, time, voxels.dtype.name, shape, total, crc])


main(pathlib.Path(sys.argv[1]))
