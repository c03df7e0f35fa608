"""Measures Spotlight's Cellpose dynamics beside Cellpose's own on the CPU, in turns, in one run.

    python3 -m venv /tmp/cellpose
    /tmp/cellpose/bin/pip install --no-deps -r benches/requirements.txt
    /tmp/cellpose/bin/pip install --no-deps -r benches/requirements_cellpose.txt
    /tmp/cellpose/bin/python benches/reference_dynamics.py

Noisy flows of a simulated stack of 32x112x168 voxels become masks, beside
`cargo bench -p spotlight-image --bench dynamics`. The head of steps.py tells what the columns mean;
numbers are equal where they differ by 1e-4 at most.
"""

import numpy as np
import torch
from cellpose import dynamics, utils

from steps import arguments, compare


def references(folder):
    """The reference of each step, with its input."""
    flow = np.load(folder / "flow.npy")
    logit = np.load(folder / "logit.npy")[0]
    labels = np.load(folder / "labels.npy")[0].astype(np.uint16)
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


def same(ours, theirs):
    """The share of equal numbers."""
    return float((np.abs(ours.ravel() - theirs.ravel()) <= 1e-4).mean())


def main():
    options = arguments(__doc__.splitlines()[0])
    torch.set_num_threads(options.threads)
    # The first run compiles what numba has not compiled yet.
    compare("dynamics", references, same, options, warm=True)


if __name__ == "__main__":
    main()
