"""What trained models reach: the loop of the guide, and the folders of comparisons and grids."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter as clock

import torch
from record import Rows, saved_rows

from evenfall_blocklocal import BlockLocal
from evenfall_blocklocal.training import Comparison


def ten_lines(data: Path | None, quick: bool) -> Rows:
    """The loop of the guide with timm's ResNet-18 on the CIFAR subset: accuracy on its training
    images by both rules, and of the saved model that plain timm loads."""
    import tempfile

    import timm

    from evenfall_blocklocal.saving import save_local
    from evenfall_blocklocal.training.data import ImageSource, open_images
    from evenfall_blocklocal.training.evaluation import measure

    if data is None:
        raise SystemExit("ten-lines needs --data")
    torch.set_num_threads(1)
    images = open_images("cifar10-subset", data)
    rows = []
    for rule in ("backprop", "bll"):
        torch.manual_seed(0)
        model = timm.create_model("test_resnet" if quick else "resnet18", num_classes=10)
        local = BlockLocal(model, blocks=4, rule=rule)
        optimizer = torch.optim.AdamW(local.parameters(), lr=2e-3)
        begin = clock()
        for _ in range(1 if quick else 5):
            for chosen in torch.randperm(len(images.train)).split(64)[:-1]:
                result = local(images.train[chosen], target=images.train_labels[chosen])
                result.loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        seconds = clock() - begin
        with tempfile.TemporaryDirectory() as folder:
            save_local(local, folder)
            again = timm.create_model(f"local-dir:{folder}", pretrained=True)
        found = [measure(one, ImageSource(images), "train") for one in (model, again)]
        row = {"part": "ten-lines", "rule": rule, "train_accuracy": found[0]}
        row |= {"reloaded_accuracy": found[1], "head_parameters": local.head_parameters()}
        rows.append(row | {"boundaries": list(local.split.boundaries), "seconds": round(seconds)})
    return rows


def accuracy(folders: list[Path]) -> Rows:
    """Means over the seeds of each rule, from what `evenfall blocklocal compare` wrote; recipes
    that are not named keep their rows."""
    rows = []
    for folder in folders:
        results = json.loads((folder / "results.json").read_text("utf-8"))
        about = {"part": "accuracy", "recipe": folder.name, "epochs": results[0]["epochs"]}
        rows += [about | row for row in Comparison(tuple(results)).rows()]
    named = {folder.name for folder in folders}
    saved = [row for row in saved_rows("blocklocal") if row["part"] == "accuracy"]
    return [*(row for row in saved if row["recipe"] not in named), *rows]


def grids(folders: list[Path]) -> Rows:
    """A row for each cell of a grid: what it changes, and its mean accuracy or perplexity on the
    test split; grids that are not named keep their rows."""
    rows = []
    for folder in folders:
        found = json.loads((folder / "grid.json").read_text("utf-8"))
        for cell in found["cells"]:
            ((metric, figure),) = cell["figures"]["test"].items()
            rows.append({
                "part": "grids", "grid": folder.name, "recipe": found["recipe"],
                "cell": cell["cell"], "changes": cell["changes"],
                f"test_{metric}": figure["mean"], "seeds": len(figure["values"]),
            })  # fmt: skip
    named = {folder.name for folder in folders}
    saved = [row for row in saved_rows("blocklocal") if row["part"] == "grids"]
    return [*(row for row in saved if row["grid"] not in named), *rows]
