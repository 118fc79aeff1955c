"""Times APGD-CE (20 steps, 1,000 test images, L-infinity) on the public ResNet-20 in turns with torchattacks on PyTorch.

    cargo test --release --test attacks --no-run        (prints the path of the executable)
    JEM_DATA=DIR python3 benches/peers/attack_pytorch.py target/release/deps/attacks-HASH [--turns 3] [--threads 2]

DIR is that of tests/fixtures/attacks/make.py. PyTorch attacks in batches of 100 or 250, whichever is faster, without
gradients of weights, in the faster of its two memory layouts. This library leaves an image when it is broken, which
changes no robust accuracy; the last column divides both times by the gradients that were computed.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

import torch
import torchattacks

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "fixtures" / "attacks"))
from make import network, test_images  # noqa: E402

STEPS, IMAGES = 20, 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, (images, labels) = network(), test_images(IMAGES)

    def peer(epsilon, batch, layout, n=IMAGES):
        attacked = model.to(memory_format=layout)
        start = time.perf_counter()
        attack = torchattacks.APGD(attacked, norm="Linf", eps=epsilon, steps=STEPS)
        robust = gradients = 0
        for x, y in zip(images[:n].split(batch), labels[:n].split(batch)):
            adversarial = attack(x.contiguous(memory_format=layout), y)
            with torch.no_grad():
                robust += int((model(adversarial).argmax(1) == y).sum())
                gradients += (STEPS + 1) * int((model(x).argmax(1) == y).sum())
        return time.perf_counter() - start, robust / n, gradients

    def ours():
        command = [arguments.attacks, "time_of_apgd", "--ignored", "--nocapture"]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.threads)}
        done = subprocess.run(command, check=True, capture_output=True, env=environment, text=True)
        rows = [line.split() for line in done.stdout.splitlines() if line.startswith("jem epsilon")]
        return {float(row[2]): (float(row[4]), float(row[6]), int(row[8])) for row in rows}

    ways = [(batch, layout) for batch in (100, 250) for layout in (torch.contiguous_format, torch.channels_last)]
    best = min(ways, key=lambda way: peer(1 / 255, *way, n=250)[0])
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads, batch {best[0]}, {best[1]}")
    for _ in range(arguments.turns):
        for epsilon, (seconds, robust, gradients) in ours().items():
            exact = min((1 / 255, 8 / 255), key=lambda radius: abs(radius - epsilon))
            theirs, their_robust, their_gradients = peer(exact, *best)
            each = [1e3 * seconds / gradients, 1e3 * theirs / their_gradients]
            print(
                f"  epsilon {epsilon:.4f}: jem {seconds:.1f} s (robust {robust:.3f})   torchattacks {theirs:.1f} s "
                f"(robust {their_robust:.3f})   ratio {seconds / theirs:.2f}   a gradient {each[0]:.2f} ms, {each[1]:.2f} ms",
                flush=True,
            )


main()
