#!/usr/bin/env python3
"""Loads a pulled release as its users do, with their tools and nothing of ours.

    consumers.py READERS release DIR CLASS COUNT
    consumers.py READERS set DIR CLASS=COUNT ...

READERS are datasets, webdataset, mlcroissant and torchvision, by commas. DIR is
what `defectforge releases pull` has left, or pull --classification for a set.
"""

import hashlib
import json
import os
import pathlib
import sys
import tempfile

SIZE = (128, 128)


def read_metadata(folder):
    with open(folder / "metadata.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def check_image(image):
    assert image.convert("RGB").size == SIZE, image.size


def digest(image):
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def on_disk(folder, rows):
    from PIL import Image

    return sorted(digest(Image.open(folder / row["file_name"])) for row in rows)


def with_datasets(folder, counts, is_set):
    from datasets import ClassLabel, load_dataset

    rows = read_metadata(folder)
    for images in (
        load_dataset("imagefolder", data_dir=str(folder), split="train"),
        # The card says which files are the data set; a set has none.
        load_dataset(str(folder), split="train"),
    ):
        assert len(images) == sum(counts.values()), (len(images), counts)
        assert {"image", "label", "latent_index", "seed"} <= set(images.column_names), images.column_names
        found = {name: images["label"][:].count(name) for name in counts}
        assert found == counts, (found, counts)
        assert [(r["label"], r["latent_index"], r["seed"]) for r in sorted(rows, key=lambda r: r["file_name"])] == sorted(
            [(r["label"], r["latent_index"], r["seed"]) for r in images.remove_columns("image")], key=lambda r: (r[0], r[1])
        )
        for image in images["image"]:
            check_image(image)
        assert sorted(map(digest, images["image"])) == on_disk(folder, rows)
        classes = images.class_encode_column("label").features["label"]
        assert isinstance(classes, ClassLabel) and classes.names == sorted(counts), classes
    if not is_set:
        # By folder alone, without metadata.
        by_folder = load_dataset("imagefolder", data_dir=str(folder / "images"), split="train", drop_labels=False)
        assert by_folder.features["label"].names == sorted(counts), by_folder.features
        assert len(by_folder) == sum(counts.values())


def with_torchvision(folder, counts, is_set):
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    images = ImageFolder(str(folder if is_set else folder / "images"), transform=transforms.ToTensor())
    assert images.classes == sorted(counts), images.classes
    assert len(images) == sum(counts.values()), len(images)
    for name, count in counts.items():
        assert images.targets.count(images.class_to_idx[name]) == count
    pixels, labels = next(iter(torch.utils.data.DataLoader(images, batch_size=len(images))))
    assert pixels.shape == (len(images), 3, *SIZE) and pixels.dtype == torch.float32, (pixels.shape, pixels.dtype)
    assert 0 <= pixels.min() < pixels.max() <= 1 and labels.unique().numel() == len(counts)


def with_webdataset(folder, counts, is_set):
    import webdataset

    if is_set:
        return  # a set is of folders
    (name, count), = counts.items()
    shards = sorted(str(p) for p in (folder / "shards").glob("*.tar"))
    assert shards and all(os.path.getsize(s) <= 64_000_000 for s in shards), shards
    rows = {r["file_name"]: r for r in read_metadata(folder)}
    seen = []
    for sample in webdataset.WebDataset(shards, shardshuffle=False).decode("pil"):
        check_image(sample["png"])
        assert sample["json"] == rows[sample["json"]["file_name"]], sample["json"]
        assert sample["json"]["label"] == name
        assert sample["__key__"] == pathlib.Path(sample["json"]["file_name"]).stem.replace(".", "_"), sample["__key__"]
        seen.append(digest(sample["png"]))
    assert len(seen) == count, (len(seen), count)
    assert sorted(seen) == on_disk(folder, rows.values())


def with_mlcroissant(folder, counts, is_set):
    import mlcroissant

    if is_set:
        return
    (name, count), = counts.items()
    path = folder / "croissant.json"
    assert json.loads(path.read_text())["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    data = mlcroissant.Dataset(jsonld=str(path))  # raises where it does not validate
    issues = data.metadata.ctx.issues
    assert not issues.errors and not issues.warnings, issues.report()
    samples = list(data.records("samples"))
    assert len(samples) == count, (len(samples), count)
    for sample in samples:
        check_image(sample["samples/image"])
        assert sample["samples/label"] == name.encode(), sample
    rows = read_metadata(folder)
    assert sorted(digest(s["samples/image"]) for s in samples) == on_disk(folder, rows)
    metadata = list(data.records("metadata"))
    assert {m["metadata/file_name"].decode() for m in metadata} == {r["file_name"] for r in rows}
    assert sorted(m["metadata/latent_index"] for m in metadata) == sorted(r["latent_index"] for r in rows)
    # What the file says of the others' content is true.
    for item in data.metadata.distribution:
        if getattr(item, "sha256", None):
            content = (folder / item.content_url).read_bytes()
            assert hashlib.sha256(content).hexdigest() == item.sha256, item.content_url


def main(readers, kind, folder, *rest):
    folder = pathlib.Path(folder).resolve()
    is_set = kind == "set"
    counts = {c: int(n) for c, n in (r.split("=") for r in rest)} if is_set else {rest[0]: int(rest[1])}
    for reader in readers.split(","):
        globals()["with_" + reader](folder, counts, is_set)
        print(f"    {reader}: {kind} of {counts}: as it should be")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.update(HF_HOME=scratch, HF_HUB_OFFLINE="1", CROISSANT_CACHE=scratch)
        main(*sys.argv[1:])
