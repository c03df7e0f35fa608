"""Measures Spotlight's Cellpose beside the package's, in turns, in one run.

    python3 -m venv /tmp/cellpose
    /tmp/cellpose/bin/pip install --no-deps -r benches/requirements.txt
    /tmp/cellpose/bin/pip install --no-deps -r benches/requirements_cellpose.txt
    /tmp/cellpose/bin/python benches/reference_cellpose.py [--weights FILE] [--repeats N]

A simulated stack of 32x112x168 voxels goes through Cellpose in 3D at the model's own diameter, on
the CPU: `flows` is the network in three orientations (the package's `compute_masks=False`),
`segment` all of `CellposeModel.eval`. Without `--weights`, the network has its full size and random
weights: the work is the same, the objects mean nothing. The package runs in its own way (`mkldnn`
as it decides) and with `mkldnn=False`; the faster form of each work counts. Ours is
`cargo bench -p spotlight-learn --bench cellpose`, kept alive. Each process has a run to warm up,
then all are asked in turns, so a disturbance of the machine meets all. Times are medians: `wall` on
the wall, `busy` what each thread has really run on average. Memory is the largest resident memory
of a process that did nothing but this work; the package's has PyTorch and its libraries in it, and
the head tells how much that is after the import. `far` is the largest difference between our flows
and the package's, `same` the share of voxels with matching labels.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from processes import Process, executable, sound

SHAPE = (32, 112, 168)
WORKS = ("flows", "segment")
FORMS = {"package": {}, "package, no mkldnn": {"mkldnn": False}}
DIAMETER = 17.0


def busy():
    """Seconds that all threads of this process have run."""
    total = 0
    for task in Path("/proc/self/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def worker(options):
    """Answers every line with the measurements of a work, as our benchmark does."""
    import torch
    from cellpose.models import CellposeModel

    torch.set_num_threads(options.threads)
    start = peak()
    stack = np.fromfile(options.stack, "<f4").reshape(SHAPE)
    form = FORMS[options.worker]
    model = CellposeModel(gpu=False, pretrained_model=str(options.weights), **form)
    print(json.dumps({"torch": torch.__version__, "start_rss_bytes": start}), flush=True)

    def run(work):
        masks, flows, _ = model.eval(
            stack, channels=[0, 0], z_axis=0, do_3D=True, diameter=DIAMETER,
            compute_masks=work == "segment",
        )
        if work == "segment":
            return masks.astype("<u4")
        return np.concatenate([flows[1], flows[2][None]]).astype("<f4")

    warm = None
    for line in sys.stdin:
        work = line.strip()
        if warm != work:
            run(work)
            warm = work
        begin, ran = time.perf_counter(), busy()
        result = run(work)
        wall, ran = time.perf_counter() - begin, busy() - ran
        file = f"{options.stack}.{work}.{options.worker.replace(' ', '_')}"
        result.tofile(file)
        answer = {"wall_s": wall, "busy_s": ran / options.threads, "peak_rss_bytes": peak()}
        print(json.dumps({**answer, "result": file}), flush=True)


def simulate(file):
    """Blurred balls of the model's diameter on a noisy background."""
    random = np.random.default_rng(0)
    stack = random.normal(100, 5, SHAPE)
    z, y, x = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    for _ in range(60):
        centre = [random.uniform(0, n) for n in SHAPE]
        squares = sum((a - c) ** 2 for a, c in zip((z, y, x), centre))
        stack += 200 / (1 + np.exp(np.sqrt(squares) - DIAMETER / 2))
    stack.astype("<f4").tofile(file)


def random_weights(file):
    """A network of full size as PyTorch draws it, with statistics that keep features in range."""
    import torch
    from cellpose.resnet_torch import CPnet

    torch.manual_seed(0)
    network = CPnet([2, 32, 64, 128, 256], 3, 3, diam_mean=DIAMETER)
    network.train()
    with torch.no_grad():
        for _ in range(30):
            network(torch.randn(2, 2, 64, 64))
    network.save_model(file)


def fastest(answers, forms, work):
    """The fastest form of the package."""
    return min(forms, key=lambda form: median(answers[form, work], "wall_s"))


def median(answers, key):
    return statistics.median(answer[key] for answer in answers)


def agreement(work, ours, theirs):
    """How far the results of both sides are apart."""
    if work == "flows":
        ours, theirs = (np.fromfile(file, "<f4") for file in (ours, theirs))
        return f"far {np.abs(ours - theirs).max():.1e} of {np.abs(theirs).max():.1f}"
    ours, theirs = (np.fromfile(file, "<u4").astype(np.int64) for file in (ours, theirs))
    # Each of our labels stands for the label of theirs that it shares most voxels with.
    pairs, counts = np.unique(np.stack([ours, theirs]), axis=1, return_counts=True)
    best = {}
    for (label, other), count in zip(pairs.T, counts):
        best[label] = max(best.get(label, (0, 0)), (count, other))
    same = sum(count for count, _ in best.values()) / ours.size
    return f"same {100 * same:.2f} %, {ours.max()} and {theirs.max()} objects"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="weights of a Cellpose 3 model (random ones)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--forms", nargs="*", choices=FORMS, default=list(FORMS), help="of the package (all)"
    )
    parser.add_argument("--works", nargs="*", choices=WORKS, default=list(WORKS))
    parser.add_argument("--json", type=Path, help="file for every single measurement")
    parser.add_argument("--worker", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--stack", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options)
        return
    program = executable("spotlight-learn", "cellpose")
    with tempfile.TemporaryDirectory() as folder:
        stack, weights = Path(folder) / "stack", options.weights
        simulate(stack)
        if weights is None:
            weights = Path(folder) / "weights"
            random_weights(weights)
        measure(options, program, stack, weights)


def measure(options, program, stack, weights):
    ours = [program, str(weights), str(stack), *map(str, SHAPE), str(options.threads)]
    common = ["--weights", str(weights), "--stack", str(stack), "--threads", str(options.threads)]
    answers = {}
    for work in options.works:
        processes = {"ours": Process(ours)}
        for form in options.forms:
            command = [sys.executable, __file__, "--worker", form, *common]
            processes[form] = Process(command)
            hello = sound(form, processes[form].read())
        for _ in range(options.repeats):
            for name, process in processes.items():
                time.sleep(0.05)
                answer = sound(name, process.ask(work))
                answers.setdefault((name, work), []).append(answer)
                print(f"{work}, {name}: {answer['wall_s']:.3f} s", file=sys.stderr, flush=True)
        for process in processes.values():
            process.end()
    print(f"{os.cpu_count()} cores, {options.threads} threads used; PyTorch {hello['torch']}")
    start = hello["start_rss_bytes"] / 1e9
    print(f"memory after the import of torch and cellpose: {start:.2f} GB")
    for work in options.works:
        form = fastest(answers, options.forms, work)
        mine, theirs = answers["ours", work], answers[form, work]
        wall, ran = (median(theirs, key) / median(mine, key) for key in ("wall_s", "busy_s"))
        memory = [answer[-1]["peak_rss_bytes"] / 1e9 for answer in (mine, theirs)]
        print(
            f"{work}: {median(theirs, 'wall_s'):.2f} s ({form}) over {median(mine, 'wall_s'):.2f} s"
            f" = {wall:.2f} on the wall, {ran:.2f} busy;"
            f" memory {memory[0]:.2f} GB beside {memory[1]:.2f} GB;"
            f" {agreement(work, mine[-1]['result'], theirs[-1]['result'])}"
        )
    if options.json:
        rows = [{"name": name, "work": work, "answers": a} for (name, work), a in answers.items()]
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
