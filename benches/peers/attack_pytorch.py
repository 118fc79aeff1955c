"""Times APGD-CE (20 steps, 1,000 test images, L-infinity) on the public ResNet-20 in turns with torchattacks on PyTorch.

    cargo test --release --test attacks --no-run        (prints the path of the executable)
    JEM_DATA=DIR python3 benches/peers/attack_pytorch.py target/release/deps/attacks-HASH [--turns 3] [--threads 2]

DIR is that of tests/fixtures/attacks/make.py. PyTorch attacks in batches of 100 or 250, whichever is faster, with batch norms
folded into convolutions and without gradients of weights. This library leaves an image when it is broken, which
changes no robust accuracy; the last column divides both times by the gradients that were computed. Beside each time is
the time of all threads on processors, which other programs on the machine change less.
"""

import argparse
import os
import pathlib
import resource
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

    def peer(epsilon, batch, n=IMAGES):
        start, processors = time.perf_counter(), time.process_time()
        attack = torchattacks.APGD(model, norm="Linf", eps=epsilon, steps=STEPS)
        robust = gradients = 0
        for x, y in zip(images[:n].split(batch), labels[:n].split(batch)):
            adversarial = attack(x, y)
            with torch.no_grad():
                robust += int((model(adversarial).argmax(1) == y).sum())
                gradients += (STEPS + 1) * int((model(x).argmax(1) == y).sum())
        return time.perf_counter() - start, robust / n, gradients, time.process_time() - processors

    def ours(epsilon):
        command = [arguments.attacks, "time_of_apgd", "--ignored", "--nocapture"]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.threads), "JEM_ATTACK_EPSILON": str(epsilon)}
        processors = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, check=True, capture_output=True, env=environment, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        row = next(line.split() for line in done.stdout.splitlines() if line.startswith("jem epsilon"))
        processors = after.ru_utime + after.ru_stime - processors.ru_utime - processors.ru_stime
        return float(row[4]), float(row[6]), int(row[8]), processors

    best = min((100, 250), key=lambda batch: peer(1 / 255, batch, n=250)[0])
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads, batch {best}")
    for _ in range(arguments.turns):
        for name, epsilon in (("1/255", 1 / 255), ("8/255", 8 / 255)):
            a, b = ours(epsilon), peer(epsilon, best)
            each = [1e3 * seconds / gradients for seconds, _, gradients, _ in (a, b)]
            print(
                f"  epsilon {name}: jem {a[0]:.1f} s ({a[3]:.1f} s; robust {a[1]:.3f})   torchattacks {b[0]:.1f} s "
                f"({b[3]:.1f} s; robust {b[1]:.3f})   ratio {a[0] / b[0]:.2f}   a gradient {each[0]:.2f} ms, {each[1]:.2f} ms",
                flush=True,
            )


main()
