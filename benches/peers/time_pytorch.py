#!/usr/bin/env python3
"""Times PyTorch on JEM's steps, for WRN-DEPTH-WIDTH without batch norm on 32x32 images.

    time_pytorch.py [--depth 10] [--width 1] [--batch 64] [--k 20] [--device auto|cpu|cuda] [--repeats 9]
                    [--modes MODE,...] [--seconds S] [--json]
    time_pytorch.py ... --warm [--seconds S]
    time_pytorch.py ... --serve

A mode is WAY-PRECISION-LAYOUT, such as graph-compile-bf16-nhwc. --modes takes names and beginnings of names:
`compile` or `graph-bf16` picks every mode whose name begins with it. Without --modes all run, those that are likely the
fastest on a GPU first.

  eager          one kernel for each operation
  compile        torch.compile of the forward and backward passes
  graph          the kernels of eager, each step replayed as one CUDA graph (CUDA only)
  graph-compile  the kernels of compile, replayed likewise (CUDA only)
  graph-autotune the same with max-autotune, which compiles for many minutes: it runs only if named

  float32        strict: TF32 is off
  tf32           TF32 in convolutions and products of matrices (NVIDIA GPUs)
  bf16           activations and weights in bf16; the parameters, Adam, the images and the logits in float32

  nchw           images and weights are contiguous; compile may not change that
  nhwc           images and weights are channels_last. bf16 has no nchw: tensor cores multiply NHWC, and cuDNN would
                 only transpose before and after each convolution.

Every mode freezes the weights in the SGLD step, casts them to bf16 once an iteration, updates the chains in place,
lets cuDNN pick its algorithms by trying them, and uses the fused Adam. The first time that a mode runs a step, its
results must agree with eager float32: the logits and the input gradient of the SGLD step, as the compiled function or
the graph computes them, how it moves the chains, and the loss of the update. After every run the chains must be finite
and have moved, and so must the parameters. A mode that this machine lacks, or that does not pass, is skipped with a
reason.

The SGLD step is forward, input gradient alone, and x + gradient + 0.01 * N(0, 1). The update is one pass over the
concatenated batch [data | samples | labelled] of 3 * BATCH images, the gradient of every parameter, and Adam. The
iteration draws chains from a replay buffer, takes K SGLD steps, puts them back, draws the batches of data, without
augmentation, and updates; buffer and data are on the device. In the graph modes it is K + 3 replays.

Prints medians after a warm-up; with --json a line for each mode and step, and for each step the best mode.

--seconds bounds the time of the run from its start: modes and steps that do not fit are skipped with the reason "no
time was left". (A call into a library cannot be interrupted and may end later.)

--warm compiles every mode, runs each step once (a graph's twice) with K = 1, prints a line {"ready": MODE, "seconds":
S} or {"mode": MODE, "skipped": REASON} after each mode, and exits. Later processes find the compiled kernels in
torch's caches on disk; TORCHINDUCTOR_CACHE_DIR and TRITON_CACHE_DIR name their directories and must be the same for all
processes. It compiles with few threads at a low priority and does not try cuDNN's algorithms, so it can run beside
other work.

--serve describes itself in a line of JSON, then runs one step for each line "MODE STEP" that it reads and answers with
the step's milliseconds, so that another program can take turns with it: benches/steps, which passes this text to
`python -c`.

Needs a Python with torch, but no other part of the project. test_time_pytorch.py tests it.
"""

import time

START = time.perf_counter()

import argparse
import gc
import json
import os
import signal
import statistics
import sys
import traceback
import types
import warnings

import torch
from torch.nn import functional

SLOPE = 0.2
SIZE = 32
CLASSES = 10
DATA = 1000
REPLAY = 10000
RESTART = 0.05
NOISE = 0.01
RATE = 1e-4
# In the order in which they run. The modes that are likely the fastest on a data-centre GPU come first, so that little
# time suffices for the best of bf16, tf32 and float32; then those that show where the time goes.
MODES = (
    "graph-compile-bf16-nhwc",
    "graph-bf16-nhwc",
    "graph-compile-tf32-nhwc",
    "graph-compile-float32-nchw",
    "graph-compile-float32-nhwc",
    "graph-tf32-nhwc",
    "graph-float32-nchw",
    "graph-float32-nhwc",
    "compile-bf16-nhwc",
    "compile-tf32-nhwc",
    "compile-float32-nchw",
    "compile-float32-nhwc",
    "graph-compile-tf32-nchw",
    "graph-tf32-nchw",
    "compile-tf32-nchw",
    "eager-bf16-nhwc",
    "eager-tf32-nhwc",
    "eager-float32-nchw",
    "eager-float32-nhwc",
    "eager-tf32-nchw",
)
# Run only if they are named.
OPTIONAL = ("graph-autotune-bf16-nhwc", "graph-autotune-tf32-nhwc", "graph-autotune-float32-nhwc")
STEPS = ("sgld", "update", "iteration")
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
# Errors relative to the largest logit, and to the norm of the input gradient. Operands have 24, 11 and 8 bits, and
# compilers add in another order. A gradient jumps where an activation changes its sign: that of WRN-28-10, on a CPU, by
# 5.5e-2 in bf16 and by 1.8e-2 in float16, which has as many bits as TF32.
TOLERANCE = {"float32": (1e-4, 1e-2), "tf32": (1e-2, 1e-1), "bf16": (5e-2, 2e-1)}
# Threads that --warm compiles with.
WARM_THREADS = 4
NO_TIME = "no time was left"


def picked(items):
    """The modes that `items` name; raises ValueError with the first item that names none."""
    modes = []
    for item in items:
        named = lambda modes: [mode for mode in modes if f"{mode}-".startswith(f"{item}-")]
        found = named(MODES) or named(OPTIONAL)
        if not found:
            raise ValueError(item)
        modes += [mode for mode in found if mode not in modes]
    return modes


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--k", type=int, default=20, help="SGLD steps of an iteration")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--seconds", type=float, help="bound the time of the run")
    parser.add_argument("--json", action="store_true")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--warm", action="store_true", help="compile the modes for later processes")
    kind.add_argument("--serve", action="store_true", help="run a step for each line that is read")
    options = parser.parse_args()
    try:
        options.modes = picked(options.modes.split(","))
    except ValueError as error:
        parser.error(f"--modes: no mode is called {error}; the modes are {', '.join(MODES + OPTIONAL)}")
    if options.depth < 10 or options.depth % 6 != 4:
        parser.error(f"--depth {options.depth}: expected 6n + 4, such as 10, 16 or 28")
    for flag in ("width", "batch", "k", "repeats"):
        if getattr(options, flag) < 1:
            parser.error(f"--{flag} {getattr(options, flag)}: expected 1 or more")
    if options.seconds is not None and (options.serve or not options.seconds > 0):
        parser.error("--seconds: expected more than 0, without --serve")
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: this torch ({torch.__version__}) finds no CUDA device")
    return options


class Skip(Exception):
    """A mode does not work here."""


class OutOfTime(BaseException):
    """The time that --seconds allows is over. Not an Exception, so that no library takes it for an error of its own."""


class Deadline:
    """The end that --seconds sets: raises OutOfTime in a `with` block that is open then or begins later."""

    def __init__(self, seconds):
        self.passed = self.armed = False
        if seconds is not None:
            signal.signal(signal.SIGALRM, self.end)
            signal.setitimer(signal.ITIMER_REAL, max(START + seconds - time.perf_counter(), 1e-3))

    def end(self, *_):
        self.passed = True
        if self.armed:
            self.armed = False
            raise OutOfTime

    def __enter__(self):
        self.armed = True
        if self.passed:
            raise OutOfTime

    def __exit__(self, *_):
        self.armed = False


class WideResNet:
    """The network as a list of blocks; its parameters are arguments, frozen or not."""

    def __init__(self, depth, width):
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
        self.elements = sum(torch.Size(shape).numel() for shape, _ in self.shapes)

    def parameters(self, device, layout):
        """Initial parameters, the same each time."""
        generator = torch.Generator().manual_seed(0)
        parameters = []
        for shape, fan_in in self.shapes:
            tensor = (2 * torch.rand(shape, generator=generator) - 1) * fan_in**-0.5
            kept = layout if len(shape) == 4 else torch.preserve_format
            parameters.append(tensor.to(device, memory_format=kept).requires_grad_())
        return parameters

    def layer(self, shape):
        """Declares weights and bias; returns the index of the weights, which the bias follows."""
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


class Functions:
    """The passes of a precision and a layout, compiled or not. Several ways can share them."""

    def __init__(self, network, way, precision, layout, batch):
        self.dtype = dtype = torch.bfloat16 if precision == "bf16" else torch.float32

        def logits(parameters, x):
            # Weights that were cast before stay as they are.
            return network.logits([parameter.to(dtype) for parameter in parameters], x.to(dtype))

        def log_density(parameters, x):
            """Sum of log p(x), and the logits."""
            values = logits(parameters, x)
            return values.logsumexp(1).sum(), values.detach()

        def advance(x, gradient):
            x.add_(gradient).add_(torch.randn_like(x), alpha=NOISE)

        def loss(parameters, images, labels):
            data, samples, labelled = logits(parameters, images).split(batch)
            log_p_x = data.logsumexp(1).mean() - samples.logsumexp(1).mean()
            return functional.cross_entropy(labelled, labels) - log_p_x

        options = {"layout_optimization": layout == "nhwc"}
        if way.endswith("autotune"):
            options |= {"max_autotune": True, "coordinate_descent_tuning": True}
        compiled = lambda function: torch.compile(fresh(function), dynamic=False, options=options)
        kept = lambda function: function
        make = kept if self.way(way) == "eager" else compiled
        self.log_density, self.advance, self.loss = map(make, (log_density, advance, loss))

    @staticmethod
    def way(way):
        """The way whose functions a way needs: a graph replays those of eager or compile."""
        return {"graph": "eager"}.get(way, way.removeprefix("graph-"))


def fresh(function):
    """A copy of the function with its own code object, by which torch.compile caches and counts what it compiled."""
    code = function.__code__.replace()
    return types.FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)


class Shared:
    """The network, and the data from which all modes draw."""

    def __init__(self, options):
        generator = torch.Generator().manual_seed(1)
        uniform = lambda n: (2 * torch.rand((n, 3, SIZE, SIZE), generator=generator) - 1).to(options.device)
        self.data = uniform(DATA)
        self.classes = torch.randint(CLASSES, (DATA,), generator=generator).to(options.device)
        self.replay = uniform(REPLAY)
        self.network = WideResNet(options.depth, options.width)
        # Forward and input gradient; a multiply-add counts 2.
        self.convolution_flops = 2 * 2 * self.network.products * options.batch


def set_tf32(on):
    torch.set_float32_matmul_precision("high" if on else "highest")
    torch.backends.cudnn.allow_tf32 = on


class CudaGraphs:
    """Captures functions as CUDA graphs, on one stream and with one pool of memory.

    All graphs share their scratch memory, so they must not run at the same time. Tensors that outlive a replay are
    either outside the pool or referenced for as long as the graph is.
    """

    def __init__(self, warm_ups):
        self.warm_ups = warm_ups
        self.stream = torch.cuda.Stream()
        # Keeps the pool alive when every other graph is gone.
        self.anchor = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.anchor, stream=self.stream):
            self.kept = torch.zeros(1, device="cuda")

    def capture(self, function):
        """Captures `function`, after a few runs so that compiling, trying and allocating are not captured. Returns a
        function that replays the graph."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(self.warm_ups):
                function()
        torch.cuda.current_stream().wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.anchor.pool(), stream=self.stream):
            function()
        return graph.replay


class Mode:
    """The steps in one mode, with everything that they need in place.

    A step is made of parts, each of which reads and writes tensors that stay where they are, so that it can be a graph.
    """

    def __init__(self, name, options, shared, functions, capture):
        self.way, self.precision, layout = name.rsplit("-", 2)
        self.shared, self.batch, self.k, self.device = shared, options.batch, options.k, options.device
        self.kind = torch.device(options.device).type
        self.functions, self.capture = functions, capture
        self.parts, self.checked = {}, set()
        layout = LAYOUTS[layout]
        self.parameters = shared.network.parameters(options.device, layout)
        capturable = self.kind == "cuda" and capture is not None
        self.optimizer = torch.optim.Adam(self.parameters, lr=RATE, fused=True, capturable=capturable)
        # The frozen weights of SGLD; of float32 they are the parameters themselves.
        self.frozen = [parameter.detach().to(functions.dtype) for parameter in self.parameters]
        rows = torch.arange(3 * self.batch) % DATA
        self.images = shared.data[rows].contiguous(memory_format=layout)
        self.chains = self.images[self.batch : 2 * self.batch].clone(memory_format=layout)
        self.labels = shared.classes[rows[: self.batch]]
        self.chosen = torch.zeros(self.batch, dtype=torch.int64, device=options.device)
        self.value = torch.zeros((), device=options.device)
        # Of the last SGLD step.
        self.gradient = self.logits = None

    def begin(self):
        """Draws the chains from the buffer, a few of them new, and freezes the weights."""
        replay = self.shared.replay
        self.chosen.random_(REPLAY)
        old = replay[self.chosen]
        new = torch.rand((self.batch, 1, 1, 1), device=self.device) < RESTART
        self.chains.copy_(torch.where(new, 2 * torch.rand_like(old) - 1, old))
        self.freeze()

    def freeze(self):
        if self.functions.dtype != torch.float32:
            with torch.no_grad():
                torch._foreach_copy_(self.frozen, self.parameters)

    def sgld(self):
        x = self.chains.detach().requires_grad_()
        density, self.logits = self.functions.log_density(self.frozen, x)
        (self.gradient,) = torch.autograd.grad(density, x)
        with torch.no_grad():
            self.functions.advance(self.chains, self.gradient)

    def finish(self):
        """Puts the chains back and draws the batches of the update."""
        shared, n = self.shared, self.batch
        shared.replay[self.chosen] = self.chains
        draw = lambda: torch.randint(DATA, (n,), device=self.device)
        labelled = draw()
        self.images[:n] = shared.data[draw()]
        self.images[n : 2 * n] = self.chains
        self.images[2 * n :] = shared.data[labelled]
        self.labels.copy_(shared.classes[labelled])

    def update(self):
        loss = self.functions.loss(self.parameters, self.images, self.labels)
        loss.backward()
        self.optimizer.step()
        # Behind, not before: a graph's gradients are scratch memory then.
        self.optimizer.zero_grad()
        self.value.copy_(loss.detach())

    def run(self, part):
        """Runs a part, or replays it."""
        if part not in self.parts:
            function = getattr(self, part)
            self.parts[part] = self.capture(function) if self.capture else function
        self.parts[part]()

    def iteration(self):
        self.run("begin")
        for _ in range(self.k):
            self.run("sgld")
        self.run("finish")
        self.run("update")

    def check(self, step):
        """Holds what a step computes to eager float32, the first time that it is asked for."""
        if step in self.checked:
            return
        if step == "iteration":
            self.check("sgld")
            self.check("update")
            self.run("begin")
            self.run("finish")
        else:
            # Makes it, which may take runs of it.
            self.run(step)
            {"sgld": self.check_sgld, "update": self.check_update}[step]()
        self.checked.add(step)

    def check_sgld(self):
        self.freeze()
        noises = []
        for _ in range(2):
            before = self.chains.clone()
            logits, gradient = self.reference(before, True)
            self.run("sgld")
            logit_tolerance, gradient_tolerance = TOLERANCE[self.precision]
            error = (self.logits - logits).abs().max() / logits.abs().max()
            self.hold("its logits are", error, logit_tolerance)
            error = (self.gradient - gradient).norm() / gradient.norm()
            self.hold("its input gradient is", error, gradient_tolerance)
            noises.append((self.chains - before - self.gradient) / NOISE)
        # The noise must be normal and new each time. There are 3072 numbers or more: bounds of 5 standard deviations.
        bound = 5 * noises[0].numel() ** -0.5
        for noise in noises:
            self.hold("the variance of its noise is", noise.square().mean() - 1, bound * 2**0.5)
            self.hold("the mean of its noise is", noise.mean(), bound)
        self.hold("the correlation of its noises is", (noises[0] * noises[1]).mean(), bound)
        # The input gradient is small beside the noise, so another check moves the chains by a gradient of 1.
        moved = self.chains.clone()
        with torch.no_grad():
            self.functions.advance(moved, torch.ones_like(self.gradient))
        error = (moved - self.chains - 1).mean()
        self.hold("the displacement by a gradient of 1 is", error, NOISE * bound)

    def check_update(self):
        logits, _ = self.reference(self.images, False)
        data, samples, labelled = logits.split(self.batch)
        log_p_x = data.logsumexp(1).mean() - samples.logsumexp(1).mean()
        loss = functional.cross_entropy(labelled, self.labels) - log_p_x
        before = self.parameters[-2].detach().clone()
        self.run("update")
        # Three means over the batch, each off by at most the error of a logit.
        error = (self.value - loss).abs() / logits.abs().max()
        self.hold("its loss is", error, 3 * TOLERANCE[self.precision][0])
        # Adam's step is about its rate, and at most (1 - 0.9) / (1 - 0.999)**0.5 = 3.2 of it.
        moved = (self.parameters[-2].detach() - before).abs().max()
        if not 0 < moved <= 4 * RATE:
            raise Skip(f"its update moved a weight of the head by {moved:.1e} with a learning rate of {RATE}")

    def hold(self, what, error, tolerance):
        if not abs(error) <= tolerance:
            raise Skip(f"{what} {error:.1e} from that of eager float32, over {tolerance:.1e}")

    def reference(self, x, gradient):
        """Logits in eager float32 and, if asked for, the input gradient of log p(x)."""
        tried, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
        set_tf32(False)
        x = x.detach().requires_grad_(gradient)
        frozen = [parameter.detach() for parameter in self.parameters]
        logits = self.shared.network.logits(frozen, x)
        gradient = torch.autograd.grad(logits.logsumexp(1).sum(), x)[0] if gradient else None
        torch.backends.cudnn.benchmark = tried
        set_tf32(self.precision == "tf32")
        return logits.detach(), gradient

    def milliseconds(self, step):
        set_tf32(self.precision == "tf32")
        self.check(step)
        state = self.parameters[-2] if step == "update" else self.chains
        before = state.detach().clone()
        run = self.iteration if step == "iteration" else lambda: self.run(step)
        self.wait()
        start = time.perf_counter()
        run()
        self.wait()
        milliseconds = 1e3 * (time.perf_counter() - start)
        if not torch.isfinite(state).all() or torch.equal(state, before):
            what = "the parameters" if step == "update" else "the chains"
            raise Skip(f"after {step} {what} are not finite or have not moved")
        return milliseconds

    def wait(self):
        if self.kind == "cuda":
            torch.cuda.synchronize()


def missing(mode, device):
    """Why this device has no such mode, or None."""
    way, precision, _ = mode.rsplit("-", 2)
    if torch.device(device).type != "cuda":
        if way.startswith("graph"):
            return "a CUDA graph needs a CUDA device"
        return "TF32 is a format of NVIDIA GPUs" if precision == "tf32" else None
    if precision == "tf32" and torch.cuda.get_device_capability() < (8, 0):
        return "this GPU has no TF32, which needs compute capability 8.0"
    if precision == "bf16" and torch.cuda.get_device_capability() < (8, 0):
        return "this GPU has no bf16, which needs compute capability 8.0"
    return None


class Modes:
    """The modes, each made when it is first asked for."""

    def __init__(self, options, deadline):
        self.options, self.deadline = options, deadline
        self.shared, self.functions, self.made, self.graphs = Shared(options), {}, {}, None
        self.failed = False

    def make(self, name):
        way, precision, layout = name.rsplit("-", 2)
        key = (Functions.way(way), precision, layout)
        if key not in self.functions:
            self.functions[key] = Functions(self.shared.network, way, precision, layout, self.options.batch)
        capture = None
        if way.startswith("graph"):
            self.graphs = self.graphs or CudaGraphs(1 if self.options.warm else 3)
            capture = self.graphs.capture
        return Mode(name, self.options, self.shared, self.functions[key], capture)

    def milliseconds(self, name, step):
        """The time of one step; raises Skip with the reason if this mode does not work."""
        try:
            with self.deadline:
                if name not in self.made:
                    self.made[name] = self.make(name)
                return self.made[name].milliseconds(step)
        except Skip:
            raise
        except (Exception, OutOfTime) as error:
            # A library may turn the interruption into an exception of its own.
            if self.deadline.passed:
                raise Skip(NO_TIME) from error
            # A missing compiler raises dozens of kinds of errors; any mode without a compiler should have worked.
            if "compile" not in name:
                self.failed = True
                traceback.print_exc()
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise Skip(f"{type(error).__name__}: {lines[0] if lines else 'no message'}") from error

    def free(self, name):
        """Frees the memory of a mode, but keeps the compiled functions for others."""
        self.made.pop(name, None)
        gc.collect()
        if self.graphs or torch.device(self.options.device).type == "cuda":
            torch.cuda.empty_cache()


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


def warm(modes, hello):
    def say(line):
        print(json.dumps(line), flush=True)

    for skipped in hello["skipped"]:
        say({"mode": skipped["mode"], "skipped": skipped["reason"]})
    for name in hello["modes"]:
        start = time.perf_counter()
        try:
            for step in STEPS:
                modes.milliseconds(name, step)
            say({"ready": name, "seconds": round(time.perf_counter() - start, 1)})
        except Skip as skip:
            say({"mode": name, "skipped": str(skip)})
        modes.free(name)


def report(modes, hello, options):
    network = f"WRN-{options.depth}-{options.width}"
    common = {"peer": f"PyTorch {torch.__version__}", "device": options.device, "network": network}
    common |= {"batch": options.batch, "parameters": hello["parameters"], "k": options.k}

    def show(row, text):
        print(json.dumps(common | row) if options.json else "  " + text, flush=True)

    if not options.json:
        print(f"{hello['title']}, {network}, batch {options.batch}, {hello['parameters']} parameters")
    if options.json:
        for skipped in hello["skipped"]:
            show({"mode": skipped["mode"], "skipped": skipped["reason"]}, "")
    else:
        for reason in dict.fromkeys(skipped["reason"] for skipped in hello["skipped"]):
            modes_of = [skipped["mode"] for skipped in hello["skipped"] if skipped["reason"] == reason]
            show({}, f"skipped, {reason}: {', '.join(modes_of)}")
    best = {}
    for name in hello["modes"]:
        for step in STEPS:
            try:
                for _ in range(2):
                    modes.milliseconds(name, step)
                times = [modes.milliseconds(name, step) for _ in range(options.repeats)]
            except Skip as skip:
                show({"mode": name, "step": step, "skipped": str(skip)}, f"{name:<26} {step:<9} skipped: {skip}")
                break
            median, rate = statistics.median(times), 1e3 * options.batch / statistics.median(times)
            best[step] = min(best.get(step, (median, name)), (median, name))
            row = {"mode": name, "precision": name.rsplit("-", 2)[1], "step": step, "runs": len(times)}
            row |= {"median_ms": median, "best_ms": min(times), "images_per_s": rate}
            text = f"{name:<26} {step:<9} median {median:9.2f} ms  best {min(times):9.2f} ms  {rate:8.1f} images/s"
            show(row, text)
        modes.free(name)
    for step, (median, name) in best.items():
        show({"best": name, "step": step, "median_ms": median}, f"the best of {step}: {name}, {median:.2f} ms")


def main():
    options = arguments()
    deadline = Deadline(options.seconds)
    out, sys.stdout = sys.stdout, sys.stderr if options.serve else sys.stdout
    warnings.filterwarnings("ignore", message=".*TF32.*")
    # Adam warns about its steps before a graph is captured.
    warnings.filterwarnings("ignore", message=".*capturable.*")
    torch.backends.cudnn.benchmark = not options.warm
    if options.warm:
        options.k = 1
        os.nice(10)
        from torch._inductor import config

        config.compile_threads = WARM_THREADS
    cuda = torch.device(options.device).type == "cuda"
    where = torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads"
    reasons = {mode: missing(mode, options.device) for mode in options.modes}
    modes = Modes(options, deadline)
    hello = {
        "title": f"PyTorch {torch.__version__} ({where})",
        "parameters": modes.shared.network.elements,
        "convolution_flops": modes.shared.convolution_flops,
        "modes": [mode for mode in options.modes if not reasons[mode]],
        "steps": STEPS,
        "skipped": [{"mode": mode, "reason": reason} for mode, reason in reasons.items() if reason],
    }
    if options.serve:
        serve(modes, hello, out)
    elif options.warm:
        warm(modes, hello)
    else:
        report(modes, hello, options)
    # With --serve, whoever reads the answers has the reasons.
    return 1 if modes.failed and not options.serve else 0


if __name__ == "__main__":
    sys.exit(main())
