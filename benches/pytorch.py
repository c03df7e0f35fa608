"""Measures Spotlight's F-net beside PyTorch's, in turns, in one run.

Usage: pytorch.py [--quick] [--json FILE] [--threads N] [--repeats N] [--works A B] [--help]

For every work one process of ours and one for each form of PyTorch (precision, memory format)
wait, warm, and run in turns: ours, form, form, ours, ... So a disturbance of the machine meets all
alike, and the largest memory of a process is that of its work. Of the forms of a precision the
table has the fastest. Times are medians, on the wall; ratios are PyTorch's time over ours.
benches/README.md says what to install and what the columns mean.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from pathlib import Path

from processes import Process, executable

WORKER = Path(__file__).resolve().parent / "pytorch_worker.py"
OURS = "ours"
PRECISIONS = ("f32", "bf16")

PREDICTS = ("f32", "f32-cl", "bf16", "bf16-cl", "autocast", "autocast-cl")
TRAINS = ("f32", "f32-cl", "autocast", "autocast-cl")

# Works of the network: name in the table, line for both sides, forms of PyTorch.
WORKS = {
    "inference": ("inference, 2 patches", "inference --batch 2", PREDICTS),
    "train-2": ("training step, 2 patches", "train --batch 2", TRAINS),
    "train-24": ("training step, 24 patches", "train --batch 24", TRAINS),
    "stack": ("stack of 64x224x336, whole", "stack", PREDICTS),
    "tiles": ("stack of 64x224x336, tiles", "stack --memory {memory}", ()),
}
LAYER_FORMS = ("f32", "f32-cl", "bf16", "bf16-cl")
PASSES = {"forward": "forward", "data": "backward data", "weights": "backward weights"}

# Patch of the top level, and how often it is halved.
PATCH = (32, 64, 64)
DEPTH = 4

# A form this much slower than the best of its precision in two runs is not run any more.
HOPELESS = 1.5

# Lets the threads of the last process fall asleep before the next one is asked.
PAUSE_S = 0.05


class Bench:
    """What all measurements share: where the programs are and how they are started."""

    def __init__(self, options):
        self.options = options
        self.network = executable("spotlight-learn", "network")
        self.layers = executable("spotlight-engine", "layers")
        self.adam = "fused"

    def ours(self, kind):
        threads = ["--threads", str(self.options.threads)]
        if kind == "layers":
            return Process([self.layers, "--serve", *threads])
        return Process([self.network, "serve", *threads, *self.size()])

    def torch(self, form, environment=None):
        """A process of PyTorch and what it says of itself."""
        command = [sys.executable, str(WORKER), form, "--threads", str(self.options.threads)]
        process = Process([*command, "--adam", self.adam, *self.size()], environment)
        return process, process.read()

    def size(self):
        return ["--width", str(self.options.width), "--depth", str(DEPTH)]

    def forms(self, forms):
        forms = [form for form in forms if form in self.options.forms]
        if not self.options.compile:
            return forms
        return (*forms, *(f"{form}-compiled" for form in forms if not form.startswith("bf16")))


def precision(form):
    """Column of the table: f32, or bf16 with autocast among it."""
    return "f32" if form.startswith("f32") else "bf16"


def in_turns(processes, line, repeats):
    """Runs a line in all processes in turns; the answers by process."""
    answers = {name: [] for name in processes}
    going = list(processes)
    for repeat in range(repeats):
        for name in list(going):
            time.sleep(PAUSE_S)
            answer = processes[name].ask(line)
            answers[name].append(answer)
            if "error" in answer:
                going.remove(name)
                progress(f"{name}: {answer['error']}")
            else:
                progress(f"{line}, {name}: {answer['wall_s']:.4g} s")
        if repeat == 1:
            hopeless = set(going) - set(hopeful(answers, going))
            going = [name for name in going if name not in hopeless]
            for name in hopeless:
                processes[name].end()  # gives its memory back
    return answers


def hopeful(answers, names):
    """The names without forms that are far behind the best of their precision."""
    fastest = {name: min(answer["wall_s"] for answer in answers[name]) for name in names}

    def best(name):
        rivals = [rival for rival in names if rival != OURS]
        return min(fastest[rival] for rival in rivals if precision(rival) == precision(name))

    return [name for name in names if name == OURS or fastest[name] < HOPELESS * best(name)]


def median(answers, key="wall_s"):
    return statistics.median(answer[key] for answer in answers)


def succeeded(answers):
    return bool(answers) and "error" not in answers[-1]


def best_form(answers, wanted):
    """The fastest form of a precision that did not fail."""
    forms = [form for form in answers if form != OURS and precision(form) == wanted]
    forms = [form for form in forms if succeeded(answers[form])]
    return min(forms, key=lambda form: median(answers[form]), default=None)


def measure_works(bench, results):
    for work in bench.options.works:
        name, line, forms = WORKS[work]
        line = line.format(memory=bench.options.memory)
        processes = {OURS: bench.ours("network")}
        for form in bench.forms(forms):
            processes[form], _ = bench.torch(form)
        repeats = 1 if bench.options.quick and work == "train-24" else bench.options.repeats
        answers = in_turns(processes, line, repeats)
        for process in processes.values():
            if not process.process.stdin.closed:
                process.end()
        results.append({"work": name, "line": line, "answers": answers})


def measure_layers(bench, results):
    """All layers in the same warm processes; a form that fails does so for one layer only."""
    processes = {OURS: bench.ours("layers")}
    for form in LAYER_FORMS:
        processes[form], _ = bench.torch(form)
    for inputs, out, shape in layers(bench.options.width):
        for direction in PASSES:
            if inputs == 1 and direction == "data":
                continue  # nobody asks for the gradient by the image
            line = " ".join(map(str, (direction, inputs, out, 2, *shape)))
            answers = {name: [] for name in processes}
            for _ in range(bench.options.repeats):
                for name, process in processes.items():
                    time.sleep(PAUSE_S)
                    answers[name].append(process.ask(line))
            progress(line)
            layer = {"layer": f"{inputs}->{out}", "shape": shape, "pass": direction}
            results.append({**layer, "line": line, "answers": answers})
    for process in processes.values():
        process.end()


def layers(width):
    """The 3x3x3 convolutions of an F-net from the top to the bottom, equal ones once."""
    for level in range(DEPTH + 1):
        channels, shape = width << level, [side >> level for side in PATCH]
        yield (1 if level == 0 else channels // 2), channels, shape
        yield channels, channels, shape
        if level < DEPTH:
            yield 2 * channels, channels, shape
        if level == 0:
            yield channels, 1, shape


def kernels(bench):
    """The instruction set of oneDNN and the kernels that it runs, as it says itself."""
    found = {}
    for form in LAYER_FORMS:
        process, _ = bench.torch(form, {"ONEDNN_VERBOSE": "1"})
        lines = [f"{direction} 64 64 2 16 32 32" for direction in PASSES]
        output, _ = process.process.communicate("\n".join(lines) + "\n")
        isa = re.search(r"cpu,isa:([^\n]*)", output)
        convolutions = re.findall(r"exec,cpu,convolution,([^,]*),([a-z_]*)", output)
        names = sorted({f"{purpose}: {kernel}" for kernel, purpose in convolutions})
        found[form] = {"isa": isa.group(1) if isa else None, "kernels": names}
    return found


def describe(bench):
    """What the numbers were measured with."""
    process, hello = bench.torch("f32")
    if "error" in hello:
        sys.exit(f"PyTorch does not start: {hello['error']}; see benches/README.md")
    adam = process.ask("adam")
    process.end()
    bench.adam = min(adam, key=adam.get)
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": processor.group(1) if processor else "unknown",
        "cores": os.cpu_count(),
        "threads": bench.options.threads,
        "width": bench.options.width,
        "torch": hello["torch"],
        "torch_capability": hello["capability"],
        "torch_start_rss_bytes": hello["peak_rss_bytes"],
        "adam_s": adam,
        "onednn": kernels(bench),
        "load_before": os.getloadavg()[0],
    }


def print_head(machine):
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads used")
    print(f"PyTorch {machine['torch']}, capability {machine['torch_capability']}")
    for form, seen in machine["onednn"].items():
        print(f"  oneDNN, {form}: {seen['isa']}; {', '.join(seen['kernels'])}")
    times = (f"{name} {1e3 * seconds:.1f} ms" for name, seconds in machine["adam_s"].items())
    print(f"  Adam alone: {', '.join(times)}; the fastest is used")
    start = machine["torch_start_rss_bytes"] / 1e9
    print(f"  memory after the import of torch, CUDA libraries among it: {start:.2f} GB")


def print_works(results):
    print("\nNetwork: seconds, PyTorch's time over ours, largest resident memory in GB")
    head = ["", "ours"]
    for name in PRECISIONS:
        head += [name, "form", "ratio"]
    rows = [[*head, "ours GB", "f32 GB", "bf16 GB"]]
    for result in results:
        answers = result["answers"]
        ours = answers[OURS] if succeeded(answers[OURS]) else None
        row = [result["work"], f"{median(ours):.3f}" if ours else "failed"]
        memory = [gigabytes(ours)]
        for name in PRECISIONS:
            form = best_form(answers, name)
            row += [f"{median(answers[form]):.3f}", form] if form else ["-", "-"]
            row.append(ratio(ours, answers.get(form)))
            memory.append(gigabytes(answers.get(form)))
        rows.append(row + memory)
    print_table(rows)
    for result in results:
        for name, answers in result["answers"].items():
            if not succeeded(answers):
                print(f"{result['work']}, {name}: {answers[-1]['error']}")


def print_layers(results):
    for direction, title in PASSES.items():
        print(f"\n3x3x3 convolution, {title}: ms, GF/s of its definition, PyTorch's time over ours")
        head = ["", "peak GF/s", "ours ms", "GF/s", "of peak"]
        for name in PRECISIONS:
            head += [f"{name} ms", "GF/s", "form", "ratio"]
        rows = [head]
        for result in results:
            if result["pass"] == direction and succeeded(result["answers"][OURS]):
                rows.append(layer_row(result))
        print_table(rows)


def layer_row(result):
    answers = result["answers"]
    ours = answers[OURS]
    work, peak = ours[0]["gflop"], median(ours, "peak_gflops")
    speed = work / median(ours)
    row = [f"{result['layer']} @2x{'x'.join(map(str, result['shape']))}", f"{peak:.0f}"]
    row += [f"{1e3 * median(ours):.3f}", f"{speed:.0f}", f"{100 * speed / peak:.0f} %"]
    for name in PRECISIONS:
        form = best_form(answers, name)
        if form is None:
            row += ["-"] * 4
            continue
        taken = median(answers[form])
        row += [f"{1e3 * taken:.3f}", f"{work / taken:.0f}", form, ratio(ours, answers[form])]
    return row


def print_quiet(everything):
    """Whether other programs disturbed: how long threads ran, how the peak went."""
    print("\nHow quiet the machine was:")
    for side in ("ours", "PyTorch"):
        shares = [
            answer["busy_s"] / answer["wall_s"]
            for result in everything
            for name, answers in result["answers"].items()
            if (name == OURS) == (side == "ours")
            for answer in answers
            if "error" not in answer
        ]
        if shares:
            middle, least = 100 * statistics.median(shares), 100 * min(shares)
            print(f"  {side}: threads ran {middle:.0f} % of the wall, at least {least:.0f} %")
    peaks = []
    for result in everything:
        for answer in result["answers"][OURS]:
            peak = answer.get("peak_gflops", [])
            peaks += peak if isinstance(peak, list) else [peak]
    if peaks:
        middle, least, most = statistics.median(peaks), min(peaks), max(peaks)
        print(f"  multiply-add peak: {middle:.0f} GF/s, from {least:.0f} to {most:.0f}")
    print(f"  load average at the end: {os.getloadavg()[0]:.1f}")


def gigabytes(answers):
    if not answers or not succeeded(answers):
        return "-"
    return f"{max(answer['peak_rss_bytes'] for answer in answers) / 1e9:.2f}"


def ratio(ours, theirs):
    return f"{median(theirs) / median(ours):.2f}" if ours and theirs else "-"


def print_table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def progress(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2 repeats (24 patches 1): a trial")
    parser.add_argument("--repeats", type=int, help="repeats (5, quick 2)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=32, help="channels of the top level")
    parser.add_argument("--memory", type=int, default=2_500_000_000, help="bytes for the tiles")
    parser.add_argument("--works", nargs="*", choices=WORKS, default=list(WORKS))
    parser.add_argument(
        "--forms", nargs="*", choices=PREDICTS, default=list(PREDICTS), help="of PyTorch (all)"
    )
    parser.add_argument("--no-layers", action="store_true", help="leaves the layer tables out")
    parser.add_argument("--compile", action="store_true", help="tries torch.compile, too (C++)")
    parser.add_argument("--json", type=Path, help="file for every single measurement")
    options = parser.parse_args()
    options.repeats = options.repeats or (2 if options.quick else 5)
    return options


def main():
    sys.stdout.reconfigure(line_buffering=True)
    options = arguments()
    bench = Bench(options)
    machine = describe(bench)
    works, layer_results = [], []
    print_head(machine)
    measure_works(bench, works)
    if works:
        print_works(works)
    if not options.no_layers:
        measure_layers(bench, layer_results)
        print_layers(layer_results)
    print_quiet(works + layer_results)
    if options.json:
        machine["load_after"] = os.getloadavg()[0]
        everything = {"machine": machine, "works": works, "layers": layer_results}
        options.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
