"""Runs a line of `jem export --help` in PyTorch, and prints the logits of the network that it loaded.

    python3 load.py NETWORK LINE IMAGES SHAPE

NETWORK is a key of fixtures/public/networks.py, or one of those below; IMAGES a file of float32 numbers. With
`rejected:` before LINE the line must fail, and its message is printed.
"""

import pathlib
import sys

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "fixtures" / "public"))
from networks import CASES, LEAKY, Jem  # noqa: E402


def with_both_heads():
    """The network of the published JEM, with the layers that it does not use."""
    network = Jem(1, 1, "none", LEAKY)
    network.energy_output = nn.Linear(64, 1)
    network.f.linear = nn.Linear(64, 10)
    return network


def with_spectral_norm():
    network = Jem(1, 1, "none", LEAKY)
    for module in list(network.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.utils.spectral_norm(module)
    return network


OWN = {
    "wrn": lambda: Jem(1, 1, "none", LEAKY),
    "wrn with batch norm": lambda: Jem(1, 1, "batch", LEAKY),
    "wrn with both heads": with_both_heads,
    "wrn with spectral norm": with_spectral_norm,
}

name, line, images, shape = sys.argv[1:]
torch.manual_seed(1)
torch.set_num_threads(1)
network = OWN[name]() if name in OWN else CASES[name][0]
rejected = line.startswith("rejected:")
try:
    if "safetensors." in line:
        import safetensors.torch  # noqa: F401
    print(eval(line.removeprefix("rejected:")), file=sys.stderr)
except RuntimeError as error:
    if not rejected:
        raise
    print(error)
    sys.exit()
assert not rejected, "the line should have failed"
x = torch.from_numpy(np.fromfile(images, np.float32).reshape([int(size) for size in shape.split(",")]))
with torch.no_grad():
    logits = network.float().eval()(x)
print(*(float(value) for value in logits.flatten()))
