"""The peers' side of `dev bench`: searches and preprocessing.

versions MODULE...                  an object of their versions, empty for missing ones
search PEER FOLDER K THREADS        nearest images of candidate.u8 in real.u8
preprocessing FOLDER THREADS        JPEG files of files.txt to pillow.u8

Each prints one JSON object. Data are in memory before a time begins.
"""
import importlib
import io
import json
import mmap
import multiprocessing
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

PIXELS = 128 * 128
SIDE = 128


def versions(modules):
    out = {}
    for name in modules:
        try:
            out[name] = importlib.import_module(name).__version__
        except ImportError:
            out[name] = ""
    return out


def searcher(peer, real, k, threads):
    """A function from candidates to the indices of their k nearest."""
    if peer == "faiss":
        import faiss
        faiss.omp_set_num_threads(threads)
        index = faiss.IndexFlatL2(PIXELS)
        index.add(real)
        return lambda x: index.search(x, k)[1]
    from sklearn.neighbors import NearestNeighbors
    index = NearestNeighbors(n_neighbors=k, algorithm="brute", n_jobs=threads).fit(real)
    return lambda x: index.kneighbors(x, return_distance=False)


def search(peer, folder, k, threads):
    import numpy as np
    real, candidate = (np.fromfile(os.path.join(folder, name), np.uint8).reshape(-1, PIXELS).astype(np.float32)
                       for name in ("real.u8", "candidate.u8"))
    searcher(peer, real[:512], k, threads)(candidate)  # to warm up
    find = searcher(peer, real, k, threads)
    start = time.perf_counter()
    neighbours = find(candidate)
    return {"seconds": time.perf_counter() - start, "neighbours": neighbours.tolist()}


def tensor(data):
    """Centre crop and antialiased resize, as torchvision does them."""
    import numpy as np
    from PIL import Image
    image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    side = min(width, height)
    if width != height:
        left, top = round((width - side) / 2), round((height - side) / 2)
        image = image.crop((left, top, left + side, top + side))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


def fill(part):
    for i in range(part[0], part[1]):
        TENSORS[i] = tensor(FILES[i])


def median_time(run):
    run()  # to warm up
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def preprocessing(folder, threads):
    """By threads and by processes, into memory that all share."""
    import numpy as np
    global FILES, TENSORS
    with open(os.path.join(folder, "files.txt"), encoding="utf-8") as f:
        FILES = [open(path, "rb").read() for path in f.read().split("\n")]
    shape = (len(FILES), 3, SIDE, SIDE)
    TENSORS = np.frombuffer(mmap.mmap(-1, int(np.prod(shape))), np.uint8).reshape(shape)
    tensor(FILES[0])  # imports what processes then share
    parts = [(i, min(i + 16, len(FILES))) for i in range(0, len(FILES), 16)]
    times = {}
    with multiprocessing.get_context("fork").Pool(threads) as pool:
        times[f"{threads} processes"] = median_time(lambda: pool.map(fill, parts, 1))
    with ThreadPoolExecutor(threads) as pool:
        times[f"{threads} threads"] = median_time(lambda: list(pool.map(fill, parts)))
    TENSORS.tofile(os.path.join(folder, "pillow.u8"))
    how = min(times, key=times.get)
    return {"images_per_second": len(FILES) / times[how], "how": how}


def main(mode, *args):
    if mode == "versions":
        return versions(args)
    if mode == "search":
        return search(args[0], args[1], int(args[2]), int(args[3]))
    return preprocessing(args[0], int(args[1]))


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
