"""Writes small valid files of every kind into DIR/TARGET, for the fuzzer to begin from.

    python3 make_seeds.py DIR        (needs torch, numpy, safetensors, pillow, scipy)
"""

import argparse
import collections
import datetime
import gzip
import io
import pathlib
import pickle
import struct
import sys

import numpy as np
import safetensors.numpy
import scipy.io
import torch
from PIL import Image

root = pathlib.Path(sys.argv[1])


def put(target, name, data):
    folder = root / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def saved(thing, **options):
    out = io.BytesIO()
    torch.save(thing, out, **options)
    return out.getvalue()


t = torch.arange(6.0).reshape(2, 3)
bare = collections.OrderedDict(a=t, b=t.t(), c=torch.tensor(3), d=t[1:, :2])
things = {
    "bare": bare,
    "nested": {"state_dict": {f"module.{k}": v for k, v in bare.items()}, "acc": np.float64(91.2), "epoch": 3, "arch": "x"},
    "released": {"model_state_dict": bare, "replay_buffer": torch.zeros(2, 3, 2, 2)},
    "types": {k: t.to(k) for k in (torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8, torch.bool)},
    "beside": {
        "checkpoint": {"model": bare, "epoch": 3},
        "args": argparse.Namespace(lr=0.5),
        "date": datetime.date(2026, 1, 2),
        "array": np.asfortranarray(np.ones((2, 3))),
        "sparse": torch.eye(2).to_sparse(),
        "optimizer": {"state": {0: {"exp_avg": t}}, "param_groups": []},
        "params": {"conv": {"weight": t}, "bn": {"bias": t}},
    },
    "module": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)),
    "norms": torch.nn.ModuleDict({
        "w": torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2)),
        "s": torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(2, 2)),
    }).state_dict(),
    "parameter": {"model": {"w": torch.nn.Parameter(t)}, "counter": collections.Counter([1, 2])},
}
things["types"] = {str(k): v for k, v in things["types"].items()}
for name, thing in things.items():
    put("torch", f"{name}.zip", saved(thing))
    put("torch", f"{name}.legacy", saved(thing, _use_new_zipfile_serialization=False))
    put("torch", f"{name}.zip4", saved(thing, pickle_protocol=4))
script = io.BytesIO()
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
put("torch", "script", script.getvalue())
for protocol in (2, 5):
    batch = {"data": np.zeros((1, 3072), "u1"), "labels": [3], "fine_labels": [3], "f": np.asfortranarray(np.ones((2, 3)))}
    put("cifar_pickle", f"batch{protocol}", pickle.dumps(batch, protocol))
arrays = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.arange(3), "c": np.ones((1, 1, 1, 1), "u1")}
three = safetensors.numpy.save(arrays, metadata={"format": "np"})
put("torch", "three.safetensors", three)
put("safetensors", "three", three)
behind = len(three) - 8 - struct.unpack("<Q", three[:8])[0]
put("safetensors", "framed", struct.pack("<H", behind) + three[8:])
for kind in ("f4", "f8", "f2", "i8", "i4", "u1", "b1"):
    out = io.BytesIO()
    np.save(out, np.ones((1, 1, 1, 2), kind))
    put("npy", kind, out.getvalue())
for save in (np.savez, np.savez_compressed):
    out = io.BytesIO()
    save(out, **arrays)
    put("npz", save.__name__, out.getvalue())
put("cifar", "record", bytes([3]) + bytes(3072))
idx = struct.pack(">IIII", 0x803, 2, 3, 3) + bytes(range(18))
labels = struct.pack(">II", 0x801, 2) + bytes([1, 2])
for name, data in {"images": idx, "labels": labels}.items():
    put("idx", name, data)
    put("idx", name + ".gz", gzip.compress(data))
for compressed in (False, True):
    out = io.BytesIO()
    x = np.arange(32 * 32 * 3 * 1, dtype="u1").reshape(32, 32, 3, 1)
    scipy.io.savemat(out, {"X": x, "y": np.array([[10]], "u1")}, do_compression=compressed)
    put("matlab", f"compressed-{compressed}", out.getvalue())
for kind in ("PNG", "JPEG"):
    for mode in ("RGB", "L", "RGBA"):
        if (kind, mode) != ("JPEG", "RGBA"):
            out = io.BytesIO()
            Image.new(mode, (4, 3)).save(out, kind)
            put("images", f"{kind}-{mode}", out.getvalue())
put("config", "a.toml", b'depth = 10\nlr = 1e-3\ndecay_at = [1.0, 2.5]\noptimizer = "sgd"\nclamp_x = true\n')
