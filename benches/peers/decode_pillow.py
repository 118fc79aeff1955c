"""Times reading a folder of photographs by `jem train --size 32` in turns with Pillow.

    cargo build --release --bin jem
    JEM_DATA=DIR python3 benches/peers/decode_pillow.py target/release/jem [--images 10000] [--turns 3] [--folder DIR]

The photographs are CIFAR-10's images, enlarged to 500x375 with noise, as JPEGs of quality 90; they are written once into
--folder, which is a temporary one by default. Pillow opens, converts to RGB, scales (BILINEAR, without `draft` or
`reducing_gap`) and crops in as many processes as there are cores; starting them does not count. The time of `jem` is
that of the whole command with `--print-config` and without a cache, from its start. DIR holds cifar-10-batches-bin.
"""

import argparse
import multiprocessing
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from PIL import Image

SIDE = 32


def make(arguments):
    """Writes one photograph."""
    pixels, path, seed = arguments
    random = np.random.default_rng(seed)
    picture = Image.fromarray(pixels).resize((500, 375), Image.Resampling.BICUBIC)
    noise = random.integers(-8, 9, (375, 500, 3), "int16")
    noisy = np.clip(np.asarray(picture).astype("int16") + noise, 0, 255).astype("uint8")
    Image.fromarray(noisy).save(path, quality=90)


def read(path):
    """torchvision's Resize(SIDE) and CenterCrop(SIDE), written out."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    width, height = image.size
    longer = SIDE * max(width, height) // min(width, height)
    new = (SIDE, longer) if width <= height else (longer, SIDE)
    image = image.resize(new, Image.Resampling.BILINEAR, reducing_gap=None)
    left, top = round((new[0] - SIDE) / 2), round((new[1] - SIDE) / 2)
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def photographs(folder, count):
    """Writes the photographs that are not there; returns all paths in the order of names."""
    records = np.fromfile(pathlib.Path(os.environ["JEM_DATA"]) / "cifar-10-batches-bin/data_batch_1.bin", "uint8")
    records = records.reshape(-1, 3073)
    work = []
    for index in range(count):
        record = records[index % len(records)]
        path = folder / str(record[0]) / f"{index:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            work.append((record[1:].reshape(3, 32, 32).transpose(1, 2, 0), path, index))
    with multiprocessing.Pool() as pool:
        pool.map(make, work, chunksize=16)
    return sorted(folder.glob("*/*.jpg"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jem")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or pathlib.Path(temporary)
        paths = photographs(folder, options.images)
        size = sum(path.stat().st_size for path in paths)
        print(f"{len(paths)} photographs, {size / len(paths) / 1024:.0f} KiB each")
        command = [options.jem, "train", "--data", str(folder), "--size", str(SIDE), "--no-cache"]
        command += ["--preset", "tiny", "--device", "cpu", "--print-config"]
        ratios = []
        with multiprocessing.Pool() as pool:
            for turn in range(options.turns):
                start = time.perf_counter()
                pool.map(read, paths, chunksize=64)
                pillow = time.perf_counter() - start
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                jem = time.perf_counter() - start
                ratios.append(jem / pillow)
                print(f"turn {turn + 1}: Pillow {pillow:.2f} s, jem {jem:.2f} s, ratio {jem / pillow:.2f}", flush=True)
        print(f"jem takes {sorted(ratios)[len(ratios) // 2]:.2f} of Pillow's time at the median of {len(ratios)} turns")


if __name__ == "__main__":
    main()
