"""Measures the steps of a benchmark of ours beside the same steps of a reference, in turns.

Ours is a benchmark of `spotlight-image` that is kept alive; both sides get the same input of each
step and are run in turns, so a disturbance of the machine meets both. Times are medians. `wall` is
time on the wall; `busy` is what the threads of a process have really run, which a machine that
others use disturbs less. `memory` is the largest resident memory during a step less that before
it, for each voxel of its input. `same` is the share of equal numbers.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from processes import Process, executable, sound

# Makes the allocator give memory back at once, so that each step's own is seen.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

# A step of the reference that takes longer than this is run once.
SLOW_S = 3.0


def arguments(description):
    """The arguments, in a process whose allocator gives memory back."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in MALLOC.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | MALLOC)
    return options


def compare(bench, references, same, options, warm=False):
    """Prints a table of all steps of a benchmark.

    `references` gives the reference of each step by its name, from a folder with the inputs;
    `same` the share of equal numbers of two results. With `warm` each reference has a run that is
    not measured before.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [executable("spotlight-image", bench), "--worker", name]
        worker = Process(command, {"RAYON_NUM_THREADS": str(options.threads)})
        head = sound(bench, worker.read())
        print(f"ours on {head['threads']} threads; load of the machine {os.getloadavg()[0]:.1f}\n")
        print("| step | reference, ms | ours, ms | times faster | by busy time "
              "| our memory, bytes a voxel | reference's | same |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        steps = references(folder)
        for step in head["steps"]:
            if warm:
                steps[step]()
            ours, theirs = [], []
            for _ in range(options.repeats):
                ours.append(sound(bench, worker.ask(step)))
                if not theirs or theirs[0]["wall_s"] < SLOW_S:
                    cost, result = measured(steps[step])
                    theirs.append(cost)
            share = same(np.load(folder / f"result {step}.npy"), np.asarray(result))
            print(row(step, ours, theirs, share), flush=True)
        worker.end()
        print(f"\nload of the machine at the end {os.getloadavg()[0]:.1f}")


def measured(step):
    """Runs a step of the reference: what it took, and what came out."""
    Path("/proc/self/clear_refs").write_text("5")
    before, busy, wall = kilobytes("VmRSS"), time.process_time(), time.perf_counter()
    result = step()
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    peak = 1024.0 * (kilobytes("VmHWM") - before)
    return {"wall_s": wall, "busy_s": busy, "peak_bytes": peak}, result


def kilobytes(name):
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(name))


def row(name, ours, theirs, share):
    middle = lambda runs, key: statistics.median(run[key] for run in runs)
    wall, busy = ((middle(theirs, key), middle(ours, key)) for key in ("wall_s", "busy_s"))
    memory = [middle(runs, "peak_bytes") / ours[0]["voxels"] for runs in (ours, theirs)]
    return (
        f"| {name} | {1e3 * wall[0]:.1f} | {1e3 * wall[1]:.2f} | {wall[0] / wall[1]:.1f} "
        f"| {busy[0] / max(busy[1], 1e-9):.1f} | {memory[0]:.1f} | {memory[1]:.1f} "
        f"| {100 * share:.3f} % |"
    )
