"""Runs F-net and its layers in PyTorch in one form, a work for every line it reads.

Usage: pytorch_worker.py FORM [--threads N] [--adam fused|foreach|single] [--width N] [--depth N]

FORM is a precision, `f32`, `bf16` or `autocast` (weights f32, computed in bf16), and after it
optionally `-cl` for channels-last memory and `-compiled` for torch.compile. A line is one of

    inference --batch N     train --batch N     stack     adam
    PASS IN OUT BATCH Z Y X        a 3x3x3 convolution; PASS is forward, data or weights

The answer is a line of JSON: seconds on the wall, seconds each thread has run on average, the
largest resident memory of the process so far. The last work stays warm.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

PATCH = (32, 64, 64)
STACK = (64, 224, 336)
PASSES = ("forward", "data", "weights")

# Seconds a repeat of a layer lasts at least.
REPEAT_S = 0.1

ADAM = {"fused": {"fused": True}, "foreach": {"foreach": True}, "single": {"foreach": False}}


class Convolved(nn.Sequential):
    """A convolution, normalised and rectified."""

    def __init__(self, convolution):
        norm = nn.BatchNorm3d(convolution.out_channels)
        super().__init__(convolution, norm, nn.ReLU(inplace=True))


class Pair(nn.Sequential):
    """Two 3x3x3 convolutions."""

    def __init__(self, channels, width):
        first = Convolved(nn.Conv3d(channels, width, 3, padding=1))
        super().__init__(first, Convolved(nn.Conv3d(width, width, 3, padding=1)))


class Level(nn.Module):
    """A level of the U with all below it."""

    def __init__(self, channels, width, depth):
        super().__init__()
        self.more = Pair(channels, width)
        self.depth = depth
        if depth > 0:
            self.down = Convolved(nn.Conv3d(width, width, 2, stride=2))
            self.below = Level(width, 2 * width, depth - 1)
            self.up = Convolved(nn.ConvTranspose3d(2 * width, width, 2, stride=2))
            self.less = Pair(2 * width, width)

    def forward(self, x):
        skip = self.more(x)
        if self.depth == 0:
            return skip
        return self.less(torch.cat([skip, self.up(self.below(self.down(skip)))], dim=1))


class Fnet(nn.Sequential):
    """F-net with the first weights of pytorch_fnet: normal, of standard deviation 0.02."""

    def __init__(self, width, depth):
        super().__init__(Level(1, width, depth), nn.Conv3d(width, 1, 3, padding=1))
        for module in self.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                nn.init.normal_(module.weight, 0.0, 0.02)
            if isinstance(module, nn.BatchNorm3d):
                nn.init.normal_(module.weight, 1.0, 0.02)


class Form:
    """A precision, a memory format, and whether the network is compiled."""

    def __init__(self, name):
        precision, *extras = name.split("-")
        unknown = set(extras) - {"cl", "compiled"}
        assert precision in ("f32", "bf16", "autocast") and not unknown, f"no form {name}"
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.autocasts = precision == "autocast"
        self.compiles = "compiled" in extras
        last = "cl" in extras
        self.memory_format = torch.channels_last_3d if last else torch.contiguous_format

    def cast(self, value):
        """A tensor or module in the form's type and memory format."""
        return value.to(self.dtype, memory_format=self.memory_format)

    def network(self, options):
        return self.cast(Fnet(options.width, options.depth))

    def compiled(self, network):
        return torch.compile(network) if self.compiles else network

    def autocast(self):
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocasts)


def prediction(form, options, batch, shape):
    """From an f32 image to an f32 image, with the running statistics."""
    network = form.network(options).eval()
    if form.compiles:
        # Folds the normalisation into the weights and packs these, as is good for prediction.
        from torch._inductor import config

        config.freezing = True
    call = form.compiled(network)
    image = torch.randn(batch, 1, *shape)
    # The compiler's freezing knows no inference mode.
    mode = torch.no_grad if form.compiles else torch.inference_mode

    def run():
        with mode(), form.autocast():
            return call(form.cast(image)).float().contiguous()

    return run


def training(form, options, batch):
    """A step: forward, masked squared error of each sample, backward, Adam."""
    assert form.dtype == torch.float32, "Adam on bf16 weights loses small steps: use autocast"
    network = form.network(options).train()
    call = form.compiled(network)
    adam = ADAM[options.adam]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.5, 0.999), **adam)
    signal, target = torch.randn(batch, 1, *PATCH), torch.randn(batch, 1, *PATCH)
    mask = (target >= 0).float()
    weight = mask / mask.sum(dim=(1, 2, 3, 4), keepdim=True) / batch

    def run():
        optimiser.zero_grad(set_to_none=True)
        with form.autocast():
            output = call(form.cast(signal))
        loss = ((output.float() - target).square() * weight).sum()
        loss.backward()
        optimiser.step()
        assert math.isfinite(loss.item()), f"the loss is {loss.item()}"

    return run


def convolution(form, direction, inputs, out, batch, shape):
    """A 3x3x3 convolution in one direction, by the functions that autograd calls."""
    x = form.cast(torch.randn(batch, inputs, *shape))
    y = form.cast(torch.randn(batch, out, *shape))
    weight, bias = form.cast(torch.randn(out, inputs, 3, 3, 3)), torch.randn(out, dtype=form.dtype)

    def forward():
        with torch.inference_mode():
            functional.conv3d(x, weight, bias, padding=1)

    def backward():
        wanted = [direction == "data", direction == "weights", direction == "weights"]
        ones, zeros = [1, 1, 1], [0, 0, 0]
        torch.ops.aten.convolution_backward(
            y, x, weight, [out], ones, ones, ones, False, zeros, 1, wanted
        )

    return forward if direction == "forward" else backward


def adam_times(options):
    """Seconds that Adam takes for all weights of the network, by implementation."""
    times = {}
    for name, implementation in ADAM.items():
        parameters = list(Fnet(options.width, options.depth).parameters())
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimiser = torch.optim.Adam(parameters, lr=1e-3, betas=(0.5, 0.999), **implementation)
        optimiser.step()
        times[name] = min(seconds(optimiser.step) for _ in range(5))
    return times


def prepare(words, form, options):
    """A function that does the work once, and how often a repeat should do it at least."""
    if words[0] in PASSES:
        inputs, out, batch, *shape = map(int, words[1:])
        run = convolution(form, words[0], inputs, out, batch, shape)
        run()
        return run, math.ceil(REPEAT_S / seconds(run))
    batch = int(words[2]) if words[1:2] == ["--batch"] else 1
    if words[0] == "train":
        run = training(form, options, batch)
    else:
        shape = {"inference": PATCH, "stack": STACK}[words[0]]
        run = prediction(form, options, batch, shape)
    run()
    return run, 1


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(run, times, threads):
    busy = busy_seconds()
    start = time.perf_counter()
    for _ in range(times):
        run()
    wall = time.perf_counter() - start
    busy = (busy_seconds() - busy) / threads
    return {"wall_s": wall / times, "busy_s": busy / times, "peak_rss_bytes": peak_rss_bytes()}


def busy_seconds():
    """Seconds that the threads of this process have run."""
    statistics = Path("/proc/self/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in statistics) * 1e-9


def peak_rss_bytes():
    """The largest resident memory of this process so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("form")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--adam", choices=ADAM, default="fused")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--depth", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    form = Form(options.form)
    hello = {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "peak_rss_bytes": peak_rss_bytes(),
    }
    print(json.dumps(hello), flush=True)

    kept, prepared = None, None
    for line in sys.stdin:
        try:
            if line.split() == ["adam"]:
                answer = adam_times(options)
            else:
                if line != kept:
                    prepared = None  # frees the last work before the next takes its memory
                    kept, prepared = line, prepare(line.split(), form, options)
                answer = measure(*prepared, options.threads)
        except Exception as error:  # whatever it is, the other side has to know
            answer = {"error": f"{type(error).__name__}: {error}"}
            kept = None
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
