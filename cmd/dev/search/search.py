#!/usr/bin/env python3
"""Trains arms of a recipe search and has each set judged by the product.

    go build -o assess ./cmd/defectforge
    python3 cmd/dev/search/search.py --real FOLDER_OF_CLASSES --splits SPLITS.json \
        --judge ./assess --plan cmd/dev/search/plan.json --out results

FOLDER_OF_CLASSES holds a folder of images for each class; SPLITS.json names, by
class, the files that the product's ingest leaves for training ("training" of
{"CLASS": {"training": [...]}}), so that the judge's hold-out is never trained
on. The plan is a list of [arm, switches, class, seed]; the switches are those of
twin.BASE. results/results.jsonl gets one line a set, results/ARM-CLASS-SEED.jpg
forty of its images. Needs PyTorch, NumPy and Pillow.
"""
import argparse
import json
import multiprocessing
import os
import queue
import subprocess
import tempfile
import time
import traceback

import numpy as np
from PIL import Image

from twin import sample, train

COUNT = 240  # candidates of a set


def images(folder, names):
    """uint8 (n,128,128), resized as the product does."""
    pictures = []
    for name in names:
        with Image.open(os.path.join(folder, name)) as im:
            pictures.append(np.array(im.convert("L").resize((128, 128), Image.BILINEAR)))
    return np.stack(pictures)


def sheet(x, columns=10, rows=4):
    return np.concatenate([np.concatenate(list(x[r * columns:(r + 1) * columns]), 1) for r in range(rows)], 0)


def judge(args, cls, folder):
    command = [args.judge, "assess", "--real", os.path.join(args.real, cls), "--candidates", folder,
               "--policy", "production", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {"error": done.stderr[-500:]}


def work(args, jobs, done):
    """Trains, samples and judges until no job is left."""
    import torch
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with open(args.splits) as f:
        splits = json.load(f)
    while True:
        try:
            arm, switches, cls, seed = jobs.get(timeout=1)
        except queue.Empty:
            return
        row = {"arm": arm, "switches": switches, "class": cls, "seed": seed}
        try:
            real = images(os.path.join(args.real, cls), splits[cls]["training"])
            net, row["seconds"], row["curve"] = train(switches, real, seed, device)
            x = sample(net, COUNT, device)
            Image.fromarray(sheet(x)).save(os.path.join(args.out, f"{arm}-{cls}-{seed}.jpg"), quality=80)
            with tempfile.TemporaryDirectory() as folder:
                for i, picture in enumerate(x):
                    Image.fromarray(picture).save(os.path.join(folder, f"{i:04d}.png"))
                row["judged"] = judge(args, cls, folder)
        except Exception:  # one arm that fails must not end the others
            row["error"] = traceback.format_exc()
        done.put(row)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("real", "splits", "judge", "plan", "out"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--processes", type=int, default=1)
    args = p.parse_args()
    os.makedirs(args.out, exist_ok=True)
    with open(args.plan) as f:
        plan = json.load(f)
    context = multiprocessing.get_context("spawn")
    jobs, done = context.Queue(), context.Queue()
    for job in plan:
        jobs.put(job)
    workers = [context.Process(target=work, args=(args, jobs, done)) for _ in range(args.processes)]
    for w in workers:
        w.start()
    began = time.time()
    with open(os.path.join(args.out, "results.jsonl"), "a") as out:
        for _ in plan:
            row = done.get()
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(f"{time.time() - began:.0f} s", row["arm"], row["class"], row["seed"],
                  row.get("judged", {}).get("verdict", row.get("error", "")[-200:]), flush=True)
    for w in workers:
        w.join()


if __name__ == "__main__":
    main()
