"""Times `jem score` of CIFAR-10's test images with a ResNet-20 in turns with PyTorch, and compares the logits.

    cargo build --release --bin jem
    JEM_DATA=DIR python3 benches/peers/score_pytorch.py target/release/jem [--turns 5] [--threads 2]

PyTorch runs in evaluation and inference mode, in the faster of its two memory layouts, at the batch that suits it best
of 100, 250 and 1000. If there is a compiler and it is faster, PyTorch runs by torch.compile with frozen weights (batch
norm folded into convolutions) at that batch; the time to compile does not count. The network is that of He et al. 2015,
section 4.2, with random weights; jem imports it from the file that PyTorch saves. The time of `jem` is the one that it
prints: scoring alone, without reading files.
"""

import argparse
import copy
import json
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

LAYOUTS = (torch.contiguous_format, torch.channels_last)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.stride, self.half = stride, (c_out - c_in) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.half:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.half, self.half))
        return F.relu(y + x)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        c_in = 16
        for group, c_out in enumerate((16, 32, 64)):
            blocks = []
            for index in range(3):
                blocks.append(Block(c_in, c_out, 2 if group and not index else 1))
                c_in = c_out
            setattr(self, f"layer{group + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jem")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    network = ResNet20().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    test = pathlib.Path(os.environ["JEM_DATA"]) / "cifar-10-batches-bin" / "test_batch.bin"
    pixels = np.fromfile(test, np.uint8).reshape(-1, 3073)[:, 1:].reshape(-1, 3, 32, 32)
    images = torch.from_numpy(pixels.astype(np.float32) / 255)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))

    models = {("eager", layout): copy.deepcopy(network).to(memory_format=layout) for layout in LAYOUTS}
    for layout in LAYOUTS:
        models["compiled", layout] = torch.compile(models["eager", layout], dynamic=False, options={"freezing": True})

    def pytorch(way, batch, layout):
        with torch.no_grad() if way == "compiled" else torch.inference_mode():
            model = models[way, layout]
            start = time.perf_counter()
            parts = [((part - mean) / std).contiguous(memory_format=layout) for part in images.split(batch)]
            logits = torch.cat([model(part) for part in parts])
            return time.perf_counter() - start, logits

    with tempfile.TemporaryDirectory() as folder:
        checkpoint, model, scores = (f"{folder}/{name}" for name in ("resnet20.th", "m.safetensors", "s.npz"))
        torch.save({"state_dict": nn.DataParallel(network).state_dict()}, checkpoint)
        numbers = [",".join(map(str, values)) for values in (MEAN, STD)]
        command = [arguments.jem, "import", checkpoint, "--out", model, "--mean", numbers[0], "--std", numbers[1]]
        subprocess.run(command, check=True, capture_output=True)

        def jem():
            command = [arguments.jem, "score", "--model", model, "--images", "cifar10:test", "--device", "cpu"]
            environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.threads)}
            done = subprocess.run(command + ["--out", scores, "--json"], check=True, capture_output=True, env=environment)
            return json.loads(done.stdout)["seconds"]

        ways = [("eager", batch, layout) for batch in (100, 250, 1000) for layout in LAYOUTS]
        tried = {way: pytorch(*way)[0] for way in ways}
        _, batch, _ = min(tried, key=tried.get)
        for way in [("compiled", batch, layout) for layout in LAYOUTS]:
            try:
                pytorch(*way)
                tried[way] = pytorch(*way)[0]
            except Exception as error:  # dozens of kinds, where a compiler is missing
                print(f"  cannot compile for {way[2]}: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
        best = min(tried, key=tried.get)
        for (way, batch, layout), seconds in tried.items():
            print(f"  {way}, batch {batch}, {layout}: {seconds:.2f} s")
        print(f"PyTorch {torch.__version__}, {arguments.threads} threads: {best[0]}, batch {best[1]}, {best[2]}")
        times = [(jem(), pytorch(*best)[0]) for _ in range(arguments.turns)]
        ratios = sorted(ours / theirs for ours, theirs in times)
        for ours, theirs in times:
            print(f"  jem {ours:.2f} s   PyTorch {theirs:.2f} s   ratio {ours / theirs:.2f}")
        print(f"  ratio {ratios[0]:.2f} to {ratios[-1]:.2f}, median {ratios[len(ratios) // 2]:.2f}")
        theirs = pytorch(*best)[1].numpy()
        difference = np.linalg.norm(np.load(scores)["logits"] - theirs) / np.linalg.norm(theirs)
        print(f"  logits differ by {difference:.1e}")


main()
