#!/usr/bin/env python3
"""Tests time_pytorch.py on the CPU, without a compiler.

    PYTHON benches/peers/test_time_pytorch.py

A CUDA graph is emulated: the operations that a part runs while it is captured are recorded with the very tensors that
they read and write, and a replay runs those operations again on those tensors, without any Python of the part. So a
part that puts a new tensor where an old one was, reads a number on the host, or draws its noise outside of the graph
gives other numbers than the eager mode, or an error. What it cannot show is what CUDA's memory does: the emulation
never uses memory twice.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import types
import unittest

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import time_pytorch
from time_pytorch import CudaGraphs, Deadline, Mode, Modes, Skip, picked

SCRIPT = time_pytorch.__file__


class Recorder(TorchDispatchMode):
    """Records operations and replays them on the same tensors."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, kinds, arguments=(), keywords=None):
        keywords = keywords or {}
        if function is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a number is read on the host while a graph is captured")
        results = function(*arguments, **keywords)
        # A replay writes new tensors again; views and operations in place write by themselves.
        storages = lambda tree: {t.untyped_storage()._cdata for t in tree_leaves(tree) if isinstance(t, torch.Tensor)}
        old = storages((arguments, keywords))
        self.operations.append((function, arguments, keywords, results, old))
        return results

    def replay(self):
        with torch.no_grad():
            for function, arguments, keywords, results, old in self.operations:
                again = function(*arguments, **keywords)
                for kept, new in zip(tree_leaves(results), tree_leaves(again)):
                    if isinstance(kept, torch.Tensor) and kept.untyped_storage()._cdata not in old:
                        kept.data.copy_(new)


def emulated(function):
    """Captures as CudaGraphs does: what runs while it captures changes no memory."""
    function()
    recorder = Recorder()
    with recorder:
        function()
    return recorder.replay


def options(**changes):
    given = {"depth": 10, "width": 1, "batch": 4, "k": 3, "device": "cpu", "warm": False}
    return argparse.Namespace(**(given | changes))


def mode(modes, name, capture=None, kind=Mode):
    """A mode whose functions are not compiled, captured by `capture`."""
    way, precision, layout = name.rsplit("-", 2)
    functions = time_pytorch.Functions(modes.shared.network, way, precision, layout, modes.options.batch)
    return kind(name, modes.options, modes.shared, functions, capture)


def copy_state(source, target):
    """Copies the numbers of `source` into `target`."""
    pairs = [(source.chains, target.chains), (source.images, target.images), (source.labels, target.labels)]
    pairs += zip(source.parameters, target.parameters)
    for one, other in zip(source.parameters, target.parameters):
        state, others = source.optimizer.state[one], target.optimizer.state[other]
        pairs += [(state[key], others[key]) for key in state]
    with torch.no_grad():
        for one, other in pairs:
            other.copy_(one)
    source.freeze()
    target.freeze()


def numbers(mode):
    """Everything that a step may change, and the last outputs."""
    return [mode.chains, mode.images, mode.labels, mode.value, mode.gradient, mode.logits, *mode.parameters]


class Graphs(unittest.TestCase):
    """A graph advances exactly as the eager mode does."""

    def compare(self, precision_and_layout, kind=Mode):
        modes = Modes(options(), Deadline(None))
        replay = modes.shared.replay
        eager = mode(modes, f"eager-{precision_and_layout}")
        graph = mode(modes, f"graph-{precision_and_layout}", emulated, kind)
        for one in eager, graph:
            for step in time_pytorch.STEPS:
                one.milliseconds(step)
        copy_state(graph, eager)
        first, ends = replay.clone(), []
        for one in eager, graph:
            replay.copy_(first)
            torch.manual_seed(5)
            for step in ("sgld", "sgld", "update", "iteration", "sgld", "iteration"):
                one.milliseconds(step)
            ends.append([tensor.detach().clone() for tensor in (*numbers(one), replay)])
        moved = not torch.equal(ends[0][-1], first)
        return moved and all(torch.equal(one, other) for one, other in zip(*ends))

    def test_graphs_advance_as_eager_modes_do(self):
        for name in ("float32-nchw", "float32-nhwc", "bf16-nhwc"):
            with self.subTest(name):
                self.assertTrue(self.compare(name))

    def test_chains_that_move_to_another_tensor_are_seen(self):
        class Rebinds(Mode):
            def sgld(self):
                self.chains = self.chains.clone()
                super().sgld()

        with self.assertRaises(Skip):
            self.compare("float32-nchw", Rebinds)

    def test_batches_that_move_to_another_tensor_are_seen(self):
        class Rebinds(Mode):
            def finish(self):
                self.images = self.images.clone()
                super().finish()

        self.assertFalse(self.compare("float32-nchw", Rebinds))

    def test_frozen_weights_that_move_to_another_tensor_are_seen(self):
        class Rebinds(Mode):
            def freeze(self):
                self.frozen = [parameter.detach().bfloat16() for parameter in self.parameters]

        self.assertFalse(self.compare("bf16-nhwc", Rebinds))

    def test_numbers_read_on_the_host_are_seen(self):
        class Reads(Mode):
            def begin(self):
                super().begin()
                self.chains.sum().item()

        with self.assertRaisesRegex(RuntimeError, "on the host"):
            self.compare("float32-nchw", Reads)


class Checks(unittest.TestCase):
    """A mode that computes something else is skipped."""

    def skipped(self, step, kind=Mode, **changed):
        modes = Modes(options(), Deadline(None))
        one = mode(modes, "graph-float32-nchw", emulated, kind)
        for name, change in changed.items():
            setattr(one.functions, name, change(getattr(one.functions, name)))
        with self.assertRaises(Skip) as caught:
            one.milliseconds(step)
        return str(caught.exception)

    def test_logits(self):
        class Other(Mode):
            def sgld(self):
                super().sgld()
                self.logits = self.logits * 1.001

        self.assertIn("logits", self.skipped("sgld", Other))

    def test_gradients(self):
        def wrong(log_density):
            return lambda frozen, x: (lambda density, logits: (density * 1.1, logits))(*log_density(frozen, x))

        self.assertIn("gradient", self.skipped("sgld", log_density=wrong))

    def test_chains_that_do_not_follow_the_gradient(self):
        wrong = lambda advance: lambda x, gradient: x.add_(torch.randn_like(x), alpha=0.01)
        self.assertIn("displacement", self.skipped("sgld", advance=wrong))

    def test_noise_of_another_variance(self):
        def wrong(advance):
            return lambda x, gradient: x.add_(gradient).add_(torch.randn_like(x), alpha=0.0105)

        self.assertIn("variance", self.skipped("sgld", advance=wrong))

    def test_the_same_noise_each_time(self):
        noise = torch.randn((4, 3, 32, 32), generator=torch.Generator().manual_seed(1))
        wrong = lambda advance: lambda x, gradient: x.add_(gradient).add_(noise, alpha=0.01)
        self.assertIn("correlation", self.skipped("sgld", advance=wrong))

    def test_losses(self):
        wrong = lambda loss: lambda parameters, images, labels: loss(parameters, images, labels * 0)
        self.assertIn("loss", self.skipped("update", loss=wrong))

    def test_an_update_that_does_nothing(self):
        class Lazy(Mode):
            def update(self):
                self.value.copy_(self.functions.loss(self.parameters, self.images, self.labels).detach())

        self.assertIn("moved", self.skipped("update", Lazy))

    def test_chains_that_are_not_finite(self):
        class Overflows(Mode):
            def finish(self):
                super().finish()
                self.chains.fill_(float("inf"))

        self.assertIn("not finite", self.skipped("iteration", Overflows))


class CommandLine(unittest.TestCase):
    def test_beginnings_pick_modes(self):
        self.assertEqual(picked(["graph-bf16"]), ["graph-bf16-nhwc"])
        self.assertEqual(picked(["eager-float32"]), ["eager-float32-nchw", "eager-float32-nhwc"])
        self.assertEqual(picked(["eager-bf16-nhwc", "graph-bf16"]), ["eager-bf16-nhwc", "graph-bf16-nhwc"])
        # The order in which benches/measure has them compiled: the likely best of every precision before the rest.
        compiled = ["bf16-nhwc", "tf32-nhwc", "float32-nchw", "float32-nhwc", "tf32-nchw"]
        self.assertEqual(picked(["graph-compile", "compile"])[:5], [f"graph-compile-{mode}" for mode in compiled])
        self.assertNotIn("graph-autotune-bf16-nhwc", picked(["graph", "compile"]))
        self.assertEqual(picked(["graph-autotune-bf16"]), ["graph-autotune-bf16-nhwc"])
        for wrong in ("graph-b", "eager-bf16-nchw", ""):
            with self.assertRaises(ValueError):
                picked([wrong])

    def lines(self, *flags):
        command = [sys.executable, SCRIPT, "--device", "cpu", "--batch", "2", "--k", "1", *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_json_names_the_best_mode_of_each_step(self):
        lines = self.lines("--modes", "eager,graph-bf16", "--repeats", "1", "--json")
        best = [line for line in lines if "best" in line]
        self.assertEqual([line["step"] for line in best], list(time_pytorch.STEPS))
        for line in best:
            rows = [row for row in lines if row.get("step") == line["step"] and "mode" in row]
            self.assertEqual(len(rows), 3)
            self.assertEqual(line["median_ms"], min(row["median_ms"] for row in rows))
        skipped = {line["mode"]: line["skipped"] for line in lines if "skipped" in line}
        self.assertIn("CUDA", skipped["graph-bf16-nhwc"])

    def test_a_run_ends_in_its_time(self):
        lines = self.lines("--modes", "eager-float32", "--seconds", "0.1", "--json")
        self.assertEqual([line["skipped"] for line in lines], [time_pytorch.NO_TIME] * 2)
        # The end falls within the steps: the network and the repeats take long.
        flags = ("--modes", "eager-float32", "--seconds", "12", "--repeats", "100000", "--json")
        lines = self.lines(*flags)
        self.assertEqual([line["skipped"] for line in lines], [time_pytorch.NO_TIME] * 2)

    def test_warm_says_what_is_ready(self):
        lines = self.lines("--modes", "eager-bf16,eager-tf32-nhwc", "--warm")
        self.assertEqual(lines[0], {"mode": "eager-tf32-nhwc", "skipped": "TF32 is a format of NVIDIA GPUs"})
        self.assertEqual(lines[1]["ready"], "eager-bf16-nhwc")
        self.assertGreater(lines[1]["seconds"], 0)

    def test_serve_answers_line_by_line(self):
        # The bench runs it this way, without a file.
        command = [sys.executable, "-c", pathlib.Path(SCRIPT).read_text(), "--device", "cpu", "--batch", "2", "--k", "1", "--serve"]
        asked = "eager-float32-nchw sgld\neager-float32-nhwc iteration\n"
        done = subprocess.run(command, capture_output=True, text=True, check=True, input=asked)
        hello, *answers = map(json.loads, done.stdout.splitlines())
        self.assertIn("eager-float32-nchw", hello["modes"])
        self.assertTrue(all(answer["milliseconds"] > 0 for answer in answers) and len(answers) == 2)


class Capture(unittest.TestCase):
    """CudaGraphs calls torch.cuda as its documentation says; a stand-in records the calls."""

    def test_every_graph_has_the_pool_and_the_stream_of_the_first(self):
        calls = []

        class Stream:
            def wait_stream(self, other):
                calls.append("wait")

        class Graph:
            def pool(self):
                return "the pool"

            def replay(self):
                calls.append("replay")

        @contextlib.contextmanager
        def graph(graph, pool=None, stream=None):
            calls.append(("capture", pool, stream))
            yield
            calls.append("captured")

        @contextlib.contextmanager
        def stream(which):
            calls.append(("stream", which))
            yield
            calls.append("back")

        fake = types.SimpleNamespace(
            Stream=Stream, CUDAGraph=Graph, graph=graph, stream=stream, current_stream=lambda: Stream()
        )
        zeros = lambda *_, **__: calls.append("zeros")
        real = time_pytorch.torch
        time_pytorch.torch = types.SimpleNamespace(cuda=fake, zeros=zeros)
        try:
            graphs = CudaGraphs(2)
            side = graphs.stream
            first = [("capture", None, side), "zeros", "captured"]
            self.assertEqual(calls, first)
            replay = graphs.capture(lambda: calls.append("function"))
            warm = ["wait", ("stream", side), "function", "function", "back", "wait"]
            captured = [("capture", "the pool", side), "function", "captured"]
            self.assertEqual(calls, first + warm + captured)
            replay()
            self.assertEqual(calls[-1], "replay")
        finally:
            time_pytorch.torch = real


if __name__ == "__main__":
    # Several threads would spin while they wait for each other, which takes long on a busy processor.
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    unittest.main()
