"""Holds the program to --memory on a sparse store of 512 x 2048 x 2048 voxels.

Usage: check_memory.py SPOTLIGHT FOLDER

Makes a store of 4 GB of voxels, nearly all of them missing chunks, with ten bright balls in one
place; stains it with a small model, segments the balls, measures them, and scores the stain
against the store. No step may take more than the bound plus 300 MB at its peak.
"""

import csv
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import zarr

SHAPE = (512, 2048, 2048)
BOUND_MB = 1024
SLACK_MB = 300
RADIUS = 12


def main(program: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    centres = make_store(folder / "balls.ome.zarr")
    stacks, run = folder / "stacks", folder / "run"
    call(program, "simulate", "-o", stacks, "--pairs", "3", "--shape", "32,64,64")
    call(program, "train", stacks / "manifest.csv", "-o", run, "--width", "2", "--depth", "1",
         "--iterations", "2", "--batch", "1", "--patch", "16,32,32", "--validate-every", "0")
    memory = ("--memory", f"{BOUND_MB}MiB")
    balls, stain = folder / "balls.ome.zarr", folder / "stain.ome.zarr"
    bounded(program, "predict", run, balls, "-o", stain, *memory)
    labels = folder / "labels.ome.tif"
    bounded(program, "segment", balls, "-o", labels, *memory, "--set", "cleanup.clear_border=false")
    table = folder / "features.csv"
    bounded(program, "measure", "--labels", labels, "--image", f"light={balls}", "-o", table, *memory)
    with table.open() as rows:
        found = sum(1 for _ in csv.DictReader(rows))
    assert found == len(centres), f"{found} balls measured, {len(centres)} made"
    bounded(program, "evaluate", "--prediction", stain, "--target", balls, *memory)
    print("memory: all steps within the bound")


def make_store(path: Path) -> list[tuple[int, int, int]]:
    """An OME-Zarr 0.5 whose chunks are missing where there is no ball."""
    random = np.random.default_rng(0)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale = {"type": "scale", "scale": [0.29, 0.29, 0.29]}
    dataset = {"path": "0", "coordinateTransformations": [scale]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [dataset]}]}
    array = group.create_array("0", shape=SHAPE, chunks=(32, 128, 128), dtype="uint16", fill_value=0)
    centres = []
    while len(centres) < 10:
        centre = tuple(int(random.integers(first, first + 200)) for first in (150, 900, 1100))
        if all(np.abs(np.subtract(centre, other)).max() > 3 * RADIUS for other in centres):
            centres.append(centre)
    z, y, x = np.ogrid[-RADIUS:RADIUS + 1, -RADIUS:RADIUS + 1, -RADIUS:RADIUS + 1]
    distance = z * z + y * y + x * x
    ball = np.where(distance <= RADIUS * RADIUS, 3000 - 5 * distance, 0).astype("uint16")
    for centre in centres:
        where = tuple(slice(c - RADIUS, c + RADIUS + 1) for c in centre)
        array[where] = np.maximum(array[where], ball)
    return centres


def call(*words) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stderr}")


def bounded(*words) -> None:
    started = time.time()
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    _, error = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}\n{error}")
    # The children's maximum never falls, so a later step that takes less shows an earlier one's.
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"memory: {words[1]} took at most {peak_mb:.0f} MB, {time.time() - started:.0f} s", flush=True)
    assert peak_mb < BOUND_MB + SLACK_MB, f"{words[1]} took {peak_mb:.0f} MB"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
