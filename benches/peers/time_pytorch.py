#!/usr/bin/env python3
"""Times PyTorch on JEM's two steps, for WRN-DEPTH-WIDTH without batch norm on 32x32 images.

    time_pytorch.py [--depth 10] [--width 1] [--batch 64] [--device cpu|cuda] [--repeats 9]
    time_pytorch.py ... --serve

The SGLD step is forward, input gradient alone, and x + gradient + 0.01 * N(0, 1). The update is one pass over
the concatenated batch [data | samples | labelled] of 3 * BATCH images, the gradient of every parameter, and
Adam. Prints medians after warm-up. With --serve it runs one step for each line "sgld" or "update" that it
reads and answers with its milliseconds, so that another program can take turns with it: benches/steps does,
which gives this text to `python -c`.

Needs a Python with torch; nothing else of the project does.
"""

import argparse
import statistics
import sys
import time

import torch
from torch.nn import functional

SLOPE = 0.2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--serve", action="store_true")
    return parser.parse_args()


class WideResNet:
    """The network as a list of blocks over explicit parameters."""

    def __init__(self, depth, width, device, classes=10):
        if depth < 10 or depth % 6 != 4:
            sys.exit(f"--depth {depth}: expected 6n + 4")
        self.parameters = []
        self.device = device
        self.stem = self.convolution(3, 16, 3)
        self.blocks = []
        channels = 16
        for group in range(3):
            for index in range((depth - 4) // 6):
                out = (16 << group) * width
                stride = 2 if group and not index else 1
                first = self.convolution(channels, out, 3)
                second = self.convolution(out, out, 3, stride)
                resized = stride != 1 or channels != out
                shortcut = self.convolution(channels, out, 1, stride) if resized else None
                self.blocks.append((first, second, shortcut))
                channels = out
        self.head = self.weights(classes, channels), self.weights(classes, fan_in=channels)

    def weights(self, *shape, fan_in=None):
        fan_in = fan_in or torch.Size(shape[1:]).numel()
        tensor = torch.empty(shape, device=self.device).uniform_(-(fan_in**-0.5), fan_in**-0.5)
        self.parameters.append(tensor.requires_grad_())
        return tensor

    def convolution(self, c_in, c_out, size, stride=1):
        weight = self.weights(c_out, c_in, size, size)
        bias = self.weights(c_out, fan_in=c_in * size * size)
        return lambda x: functional.conv2d(x, weight, bias, stride=stride, padding=size // 2)

    def logits(self, x):
        x = self.stem(x)
        for first, second, shortcut in self.blocks:
            inner = first(functional.leaky_relu(x, SLOPE))
            inner = second(functional.leaky_relu(inner, SLOPE))
            x = inner + (shortcut(x) if shortcut else x)
        features = functional.leaky_relu(x, SLOPE).mean((2, 3))
        return functional.linear(features, *self.head)


class Steps:
    """The two steps, with everything that they need in place."""

    def __init__(self, depth, width, batch, device):
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = True
        self.batch = batch
        self.cuda = torch.device(device).type == "cuda"
        self.network = WideResNet(depth, width, device)
        self.optimizer = torch.optim.Adam(self.network.parameters, lr=1e-4)
        self.images = torch.rand(3 * batch, 3, 32, 32, device=device) * 2 - 1
        self.chains = self.images[batch : 2 * batch].clone()
        self.labels = torch.randint(10, (batch,), device=device)

    def sgld(self):
        x = self.chains.requires_grad_()
        (gradient,) = torch.autograd.grad(self.network.logits(x).logsumexp(1).sum(), x)
        with torch.no_grad():
            self.chains = x + gradient + 0.01 * torch.randn_like(x)

    def update(self):
        logits = self.network.logits(self.images)
        data, samples, labelled = logits.split(self.batch)
        log_p_x = data.logsumexp(1).mean() - samples.logsumexp(1).mean()
        loss = functional.cross_entropy(labelled, self.labels) - log_p_x
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def milliseconds(self, name):
        step = {"sgld": self.sgld, "update": self.update}[name]
        self.wait()
        start = time.perf_counter()
        step()
        self.wait()
        return 1e3 * (time.perf_counter() - start)

    def wait(self):
        if self.cuda:
            torch.cuda.synchronize()


def main():
    options = arguments()
    steps = Steps(options.depth, options.width, options.batch, options.device)
    where = torch.cuda.get_device_name() if steps.cuda else f"cpu, {torch.get_num_threads()} threads"
    title = f"PyTorch {torch.__version__} ({where})"
    if options.serve:
        print(title, flush=True)
        for line in sys.stdin:
            print(steps.milliseconds(line.strip()), flush=True)
        return
    print(f"{title}, WRN-{options.depth}-{options.width}, batch {options.batch}")
    for name in ("sgld", "update"):
        for _ in range(2):
            steps.milliseconds(name)
        times = [steps.milliseconds(name) for _ in range(options.repeats)]
        median = statistics.median(times)
        print(f"  {name:<8} median {median:9.2f} ms  best {min(times):9.2f} ms  {1e3 * options.batch / median:8.1f} images/s")


if __name__ == "__main__":
    main()
