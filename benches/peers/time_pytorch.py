#!/usr/bin/env python3
"""Times PyTorch on JEM's steps, for WRN-DEPTH-WIDTH without batch norm on 32x32 images.

    time_pytorch.py [--depth 10] [--width 1] [--batch 64] [--k 20] [--device auto|cpu|cuda] [--repeats 9]
                    [--modes MODE,...] [--json]
    time_pytorch.py ... --serve

Modes: eager-float32, eager-tf32, eager-bf16, compile-float32, compile-tf32, compile-bf16. float32 is strict: TF32
is off. bf16 is autocast over channels_last. compile is torch.compile of the forward and backward passes. A mode
that this machine lacks, or that does not give the logits of eager-float32 within what its precision explains, is
skipped with a reason.

The SGLD step is forward, input gradient alone (the weights are frozen), and x + gradient + 0.01 * N(0, 1). The
update is one pass over the concatenated batch [data | samples | labelled] of 3 * BATCH images, the gradient of
every parameter, and Adam. The iteration draws chains from a replay buffer, takes K SGLD steps, puts them back,
draws the batches of data, without augmentation, and updates; buffer and data are on the device.

Prints medians after warm-up; with --json a line for each mode and step. With --serve it says in a line of JSON what
it is, runs one step for each line "MODE STEP" that it reads and answers with its milliseconds, so that another
program can take turns with it: benches/steps does, which gives this text to `python -c`.

Needs a Python with torch; nothing else of the project does.
"""

import argparse
import json
import statistics
import sys
import time
import warnings

import torch
from torch.nn import functional

SLOPE = 0.2
SIZE = 32
CLASSES = 10
DATA = 1000
REPLAY = 10000
RESTART = 0.05
WAYS = ("eager", "compile")
PRECISIONS = ("float32", "tf32", "bf16")
MODES = [f"{way}-{precision}" for way in WAYS for precision in PRECISIONS]
STEPS = ("sgld", "update", "iteration")
# Of the largest logit. Digits of the operands: 24, 11, 8; compilers add in another order.
TOLERANCE = {"float32": 1e-4, "tf32": 1e-2, "bf16": 5e-2}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--k", type=int, default=20, help="SGLD steps of an iteration")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    options.modes = options.modes.split(",")
    unknown = [mode for mode in options.modes if mode not in MODES]
    if unknown:
        parser.error(f"--modes: no {', '.join(unknown)}; there are {', '.join(MODES)}")
    if options.depth < 10 or options.depth % 6 != 4:
        parser.error(f"--depth {options.depth}: expected 6n + 4, such as 10, 16 or 28")
    for flag in ("width", "batch", "k", "repeats"):
        if getattr(options, flag) < 1:
            parser.error(f"--{flag} {getattr(options, flag)}: expected 1 or more")
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: this torch ({torch.__version__}) finds no CUDA device")
    return options


class Skip(Exception):
    """A mode does not work here."""


class WideResNet:
    """The network as a list of blocks; its parameters are arguments, frozen or not."""

    def __init__(self, depth, width, device, channels_last):
        generator = torch.Generator().manual_seed(0)
        self.shapes = []
        self.products = 0  # multiply-adds of the convolutions, for one image
        self.stem = self.convolution(3, 16, 3, 1, SIZE)
        self.blocks = []
        channels, size = 16, SIZE
        for group in range(3):
            for index in range((depth - 4) // 6):
                out = (16 << group) * width
                stride = 2 if group and not index else 1
                first = self.convolution(channels, out, 3, 1, size)
                size //= stride
                second = self.convolution(out, out, 3, stride, size)
                resized = stride != 1 or channels != out
                shortcut = self.convolution(channels, out, 1, stride, size) if resized else None
                self.blocks.append((first, second, shortcut))
                channels = out
        self.head = self.layer((CLASSES, channels))
        self.parameters = []
        for shape, fan_in in self.shapes:
            tensor = (2 * torch.rand(shape, generator=generator) - 1) * fan_in**-0.5
            layout = torch.channels_last if channels_last and len(shape) == 4 else torch.preserve_format
            self.parameters.append(tensor.to(device, memory_format=layout).requires_grad_())

    def layer(self, shape):
        """Declares weights and bias; the place of the weights, behind which is the bias."""
        fan_in = torch.Size(shape[1:]).numel()
        self.shapes += [(shape, fan_in), (shape[:1], fan_in)]
        return len(self.shapes) - 2

    def convolution(self, c_in, c_out, kernel, stride, size):
        self.products += size * size * kernel * kernel * c_in * c_out
        return self.layer((c_out, c_in, kernel, kernel)), stride, kernel // 2

    def logits(self, parameters, x):
        def convolve(x, convolution):
            at, stride, padding = convolution
            return functional.conv2d(x, parameters[at], parameters[at + 1], stride=stride, padding=padding)

        x = convolve(x, self.stem)
        for first, second, shortcut in self.blocks:
            inner = convolve(functional.leaky_relu(x, SLOPE), first)
            inner = convolve(functional.leaky_relu(inner, SLOPE), second)
            x = inner + (convolve(x, shortcut) if shortcut else x)
        features = functional.leaky_relu(x, SLOPE).mean((2, 3))
        return functional.linear(features, parameters[self.head], parameters[self.head + 1]).float()


class Shared:
    """What all modes draw from."""

    def __init__(self, options):
        generator = torch.Generator().manual_seed(1)
        uniform = lambda n: (2 * torch.rand((n, 3, SIZE, SIZE), generator=generator) - 1).to(options.device)
        self.data = uniform(DATA)
        self.classes = torch.randint(CLASSES, (DATA,), generator=generator).to(options.device)
        self.replay = uniform(REPLAY)
        network = WideResNet(options.depth, options.width, options.device, False)
        self.parameters = sum(parameter.numel() for parameter in network.parameters)
        # Forward and input gradient; a multiply-add counts 2.
        self.convolution_flops = 2 * 2 * network.products * options.batch
        set_tf32(False)
        with torch.no_grad():
            self.logits = network.logits(network.parameters, self.data[: options.batch])


def set_tf32(on):
    torch.set_float32_matmul_precision("high" if on else "highest")
    torch.backends.cudnn.allow_tf32 = on


class Mode:
    """The steps in one mode, with everything that they need in place."""

    def __init__(self, name, options, shared):
        way, self.precision = name.split("-")
        self.shared, self.batch, self.k, self.device = shared, options.batch, options.k, options.device
        self.kind = torch.device(options.device).type
        self.layout = torch.channels_last if self.precision == "bf16" else torch.contiguous_format
        network = WideResNet(options.depth, options.width, options.device, self.precision == "bf16")
        self.parameters = network.parameters
        self.frozen = [parameter.detach() for parameter in self.parameters]
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-4, fused=self.kind == "cuda")
        rows = torch.arange(3 * self.batch) % DATA
        self.images = shared.data[rows].to(memory_format=self.layout)
        self.chains = self.images[self.batch : 2 * self.batch].clone(memory_format=torch.preserve_format)
        self.labels = shared.classes[rows[: self.batch]]

        def logits(parameters, x):
            with torch.autocast(self.kind, torch.bfloat16, enabled=self.precision == "bf16"):
                return network.logits(parameters, x)

        def log_density(parameters, x):
            return logits(parameters, x).logsumexp(1).sum()

        def advance(x, gradient):
            return x + gradient + 0.01 * torch.randn_like(x)

        def loss(parameters, images, labels):
            data, samples, labelled = logits(parameters, images).split(self.batch)
            log_p_x = data.logsumexp(1).mean() - samples.logsumexp(1).mean()
            return functional.cross_entropy(labelled, labels) - log_p_x

        compiled = (lambda f: torch.compile(f, dynamic=False)) if way == "compile" else (lambda f: f)
        self.logits, self.log_density, self.advance, self.loss = map(compiled, (logits, log_density, advance, loss))
        self.check()

    def check(self):
        """Holds the logits to those of eager-float32."""
        set_tf32(self.precision == "tf32")
        with torch.no_grad():
            x = self.shared.data[: self.batch].to(memory_format=self.layout)
            difference = (self.logits(self.frozen, x) - self.shared.logits).abs().max()
        error = (difference / self.shared.logits.abs().max()).item()
        if not error <= TOLERANCE[self.precision]:
            raise Skip(f"its logits are {error:.1e} from those of eager-float32, over {TOLERANCE[self.precision]}")

    def sgld(self):
        x = self.chains.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.log_density(self.frozen, x), x)
        with torch.no_grad():
            self.chains = self.advance(x.detach(), gradient)

    def update(self):
        self.optimizer.zero_grad()
        self.loss(self.parameters, self.images, self.labels).backward()
        self.optimizer.step()

    def iteration(self):
        shared, n = self.shared, self.batch
        draw = lambda size: torch.randint(size, (n,), device=self.device)
        chosen = draw(REPLAY)
        old = shared.replay[chosen]
        fresh = torch.rand((n, 1, 1, 1), device=self.device) < RESTART
        chains = torch.where(fresh, 2 * torch.rand_like(old) - 1, old)
        self.chains = chains.contiguous(memory_format=self.layout)
        for _ in range(self.k):
            self.sgld()
        shared.replay[chosen] = self.chains
        labelled = draw(DATA)
        self.images[:n] = shared.data[draw(DATA)]
        self.images[n : 2 * n] = self.chains
        self.images[2 * n :] = shared.data[labelled]
        self.labels = shared.classes[labelled]
        self.update()

    def milliseconds(self, step):
        run = {"sgld": self.sgld, "update": self.update, "iteration": self.iteration}[step]
        set_tf32(self.precision == "tf32")
        self.wait()
        start = time.perf_counter()
        run()
        self.wait()
        return 1e3 * (time.perf_counter() - start)

    def wait(self):
        if self.kind == "cuda":
            torch.cuda.synchronize()


def missing(mode, device):
    """Why this device has no such mode, or None."""
    precision = mode.split("-")[1]
    if torch.device(device).type != "cuda":
        return "TF32 is a format of NVIDIA GPUs" if precision == "tf32" else None
    if precision == "tf32" and torch.cuda.get_device_capability() < (8, 0):
        return "this GPU has no TF32: it begins with compute capability 8.0"
    if precision == "bf16" and torch.cuda.get_device_capability() < (8, 0):
        return "this GPU has no bf16: it begins with compute capability 8.0"
    return None


class Modes:
    """The modes, each made when it is first asked for."""

    def __init__(self, options):
        self.options, self.made = options, {}
        self.shared = Shared(options)

    def milliseconds(self, name, step):
        """The time of one step; raises Skip with the reason if this mode does not work."""
        try:
            if name not in self.made:
                self.made[name] = Mode(name, self.options, self.shared)
            return self.made[name].milliseconds(step)
        except Skip:
            raise
        except Exception as error:
            # Compilers are what may be missing, with dozens of kinds of errors; any other mode should have worked.
            if not name.startswith("compile"):
                raise
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise Skip(f"torch.compile: {type(error).__name__}: {lines[0] if lines else 'no message'}") from error


def serve(modes, hello, out):
    def say(line):
        print(json.dumps(line), file=out, flush=True)

    say(hello)
    for line in sys.stdin:
        name, step = line.split()
        try:
            say({"milliseconds": modes.milliseconds(name, step)})
        except Skip as skip:
            say({"skipped": str(skip)})


def report(modes, hello, options):
    network = f"WRN-{options.depth}-{options.width}"
    common = {"peer": f"PyTorch {torch.__version__}", "device": options.device, "network": network}
    common |= {"batch": options.batch, "parameters": hello["parameters"], "k": options.k}

    def show(row, text):
        print(json.dumps(common | row) if options.json else "  " + text, flush=True)

    if not options.json:
        print(f"{hello['title']}, {network}, batch {options.batch}, {hello['parameters']} parameters")
    for skipped in hello["skipped"]:
        show({"mode": skipped["mode"], "skipped": skipped["reason"]}, "{mode:<16} skipped: {reason}".format(**skipped))
    best = {}
    for name in hello["modes"]:
        for step in STEPS:
            try:
                for _ in range(2):
                    modes.milliseconds(name, step)
                times = [modes.milliseconds(name, step) for _ in range(options.repeats)]
            except Skip as skip:
                show({"mode": name, "skipped": str(skip)}, f"{name:<16} skipped: {skip}")
                break
            median, rate = statistics.median(times), 1e3 * options.batch / statistics.median(times)
            best[step] = min(best.get(step, (median, name)), (median, name))
            row = {"mode": name, "step": step, "runs": len(times), "median_ms": median, "best_ms": min(times)}
            text = f"{name:<16} {step:<9} median {median:9.2f} ms  best {min(times):9.2f} ms  {rate:8.1f} images/s"
            show(row | {"images_per_s": rate}, text)
    for step, (median, name) in best.items():
        show({"best": name, "step": step, "median_ms": median}, f"the best of {step}: {name}, {median:.2f} ms")


def main():
    options = arguments()
    out, sys.stdout = sys.stdout, sys.stderr if options.serve else sys.stdout
    warnings.filterwarnings("ignore", message=".*TF32.*")
    torch.backends.cudnn.benchmark = True
    cuda = torch.device(options.device).type == "cuda"
    where = torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"
    reasons = {mode: missing(mode, options.device) for mode in options.modes}
    modes = Modes(options)
    hello = {
        "title": f"PyTorch {torch.__version__} ({where})",
        "parameters": modes.shared.parameters,
        "convolution_flops": modes.shared.convolution_flops,
        "modes": [mode for mode in options.modes if not reasons[mode]],
        "steps": STEPS,
        "skipped": [{"mode": mode, "reason": reason} for mode, reason in reasons.items() if reason],
    }
    if options.serve:
        serve(modes, hello, out)
    else:
        report(modes, hello, options)


if __name__ == "__main__":
    main()
