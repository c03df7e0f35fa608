"""Measures Spotlight's Cellpose dynamics beside Cellpose's own on the CPU, in turns, in one run.

    python3 -m venv /tmp/dynamics
    /tmp/dynamics/bin/pip install --no-deps -r benches/requirements_dynamics.txt
    /tmp/dynamics/bin/pip install torch==2.15.0
    /tmp/dynamics/bin/python benches/reference_dynamics.py

Noisy flows of a simulated stack of 32x112x168 voxels become masks. Ours is
`cargo bench -p spotlight-image --bench dynamics`, kept alive; both sides get the same input and
are run in turns, so a disturbance of the machine meets both. Times are medians. `wall` is time
on the wall; `busy` is what the threads have really run, `memory` the largest resident memory
during a step less that before it, for each voxel. `same` is the share of equal numbers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from cellpose import dynamics, utils

ROOT = Path(__file__).resolve().parent.parent

# Makes the allocator give memory back at once, so that each step's own is seen.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

# A step of the reference that takes longer than this is run once.
SLOW_S = 3.0


def references(folder, shape):
    read = lambda name, kind: np.fromfile(folder / f"{name}.f32", np.float32).astype(kind)
    flow = read("flow", np.float32).reshape(3, *shape)
    logit = read("logit", np.float32).reshape(shape)
    labels = read("labels", np.uint16).reshape(shape)
    stack = {"do_3D": True, "device": torch.device("cpu")}

    def planes():
        pairs = zip(flow[1:].transpose(1, 0, 2, 3), logit)
        return np.stack([dynamics.compute_masks(f, p, min_size=15) for f, p in pairs])

    return {
        "masks of the stack": lambda: dynamics.compute_masks(flow, logit, min_size=15, **stack),
        "objects of the stack": lambda: dynamics.compute_masks(flow, logit, **stack),
        "masks of the planes": planes,
        "fill and remove": lambda: utils.fill_holes_and_remove_small_masks(labels.copy(), 15),
        "flows of planes, summed": lambda: dynamics.masks_to_flows(labels),
        "joint flows": lambda: dynamics.masks_to_flows_gpu_3d(labels, torch.device("cpu")),
    }


def kilobytes(name):
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(name))


def measured(step):
    """Runs a step of the reference: what it took, and what came out."""
    Path("/proc/self/clear_refs").write_text("5")
    before, busy, wall = kilobytes("VmRSS"), time.process_time(), time.perf_counter()
    result = step()
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    peak = 1024.0 * (kilobytes("VmHWM") - before)
    return {"wall_s": wall, "busy_s": busy, "peak_bytes": peak}, result


def row(name, ours, theirs, voxels, same):
    middle = lambda runs, key: statistics.median(run[key] for run in runs)
    wall, busy = ((middle(theirs, key), middle(ours, key)) for key in ("wall_s", "busy_s"))
    memory = [middle(runs, "peak_bytes") / voxels for runs in (ours, theirs)]
    return (
        f"| {name} | {1e3 * wall[0]:.1f} | {1e3 * wall[1]:.2f} | {wall[0] / wall[1]:.1f} "
        f"| {busy[0] / max(busy[1], 1e-9):.1f} | {memory[0]:.1f} | {memory[1]:.1f} "
        f"| {100 * same:.3f} % |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in MALLOC.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | MALLOC)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        command = ["cargo", "bench", "-q", "-p", "spotlight-image", "--bench", "dynamics"]
        environment = os.environ | {"RAYON_NUM_THREADS": str(arguments.threads)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        worker = subprocess.Popen(
            [*command, "--", "--worker", folder], cwd=ROOT, env=environment, **pipes
        )
        head = json.loads(worker.stdout.readline())
        print(f"ours on {head['threads']} threads; load of the machine {os.getloadavg()[0]:.1f}\n")
        print("| step | reference, ms | ours, ms | times faster | by busy time "
              "| our memory, bytes a voxel | reference's | same |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        steps = references(Path(folder), head["shape"])
        for name in head["steps"]:
            measured(steps[name])  # compiles what numba has not compiled yet
            ours, theirs = [], []
            for _ in range(arguments.repeats):
                worker.stdin.write(name + "\n")
                worker.stdin.flush()
                ours.append(json.loads(worker.stdout.readline()))
                if not theirs or theirs[0]["wall_s"] < SLOW_S:
                    cost, result = measured(steps[name])
                    theirs.append(cost)
            found = np.fromfile(Path(folder) / f"result {name}.f32", np.float32)
            same = float((np.abs(found - np.asarray(result).ravel()) <= 1e-4).mean())
            print(row(name, ours, theirs, int(np.prod(head["shape"])), same), flush=True)
        worker.stdin.close()
        worker.wait()
        print(f"\nload of the machine at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
