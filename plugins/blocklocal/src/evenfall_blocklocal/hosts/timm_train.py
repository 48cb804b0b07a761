"""A small launcher for timm models on a folder of images, as timm's train.py takes it.

    python -m evenfall_blocklocal.hosts.timm_train images/ --model resnet18 --output runs/a

timm's own train.py makes its task itself and has no place for another one. Loaders, optimizer,
schedule and mixed precision here are timm's and torch's.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy

from evenfall.checks import check_integer, check_number
from evenfall.files import write_text, written_aside
from evenfall.runs import read_state, write_state

from ..local import BlockLocal
from ..rules import RULES
from ..saving import load_heads, save_local
from ..training.networks import timm_model
from .timm_task import BlockLocalTask

logger = logging.getLogger(__name__)

_STATE, _LAST = "state", "last"


def main(arguments: Sequence[str] | None = None) -> Path:
    """Train, and return the folder of the run: last/ has the model, log.jsonl a line per epoch.

    Raises:
        FileExistsError: the folder has a run and --resume is not given.
        ValueError: an option is out of range, timm has no such model, or there are fewer images
            than --batch-size.
        FloatingPointError: the loss of an epoch is not finite; last/ has the epoch before.
    """
    options = _parser().parse_args(arguments)
    _check(options)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    output = Path(options.output)
    last = output / _LAST
    if last.exists() and not options.resume:
        raise FileExistsError(
            f"output {output} already contains a run; use --resume to continue it"
        )
    make = timm_model(options.model, "a timm model")
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    training, validation, classes = _loaders(options, device)
    model = make(num_classes=classes, **_size(options)).to(device)
    local = BlockLocal(model, options.blocks, options.rule, seed=options.seed)
    task = BlockLocalTask(local, device=device)
    optimizer = create_optimizer_v2(
        local, opt=options.opt, lr=options.lr, weight_decay=options.weight_decay
    )
    schedule, epochs = create_scheduler_v2(optimizer, sched="cosine", num_epochs=options.epochs)
    scaler = torch.amp.GradScaler(device.type, enabled=options.amp and device.type == "cuda")
    local.scale_loss = scaler.scale
    first = _restore(last, local, optimizer) if last.exists() else 0
    for epoch in range(first, min(epochs, options.epochs)):
        schedule.step(epoch)
        torch.manual_seed(options.seed * 100_003 + epoch)
        loss = _train(task, training, optimizer, scaler, options, device)
        if not math.isfinite(loss):
            raise FloatingPointError(f"loss must be finite, got {loss} in epoch {epoch + 1}")
        top1 = _validate(task, validation, device)
        line = {"epoch": epoch + 1, "loss": loss, "validation_accuracy": top1}
        logger.info("%s", line)
        with written_aside(last, replace=True) as folder:
            save_local(local, folder)
            state = {"epoch": epoch + 1, "optimizer": optimizer.state_dict()}
            write_state(folder, _STATE, state)
        log = output / "log.jsonl"
        before = log.read_text("utf-8").splitlines()[:epoch] if log.exists() else []
        write_text(log, "".join(f"{text}\n" for text in [*before, json.dumps(line)]))
    return output


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Block-local training of a timm model.")
    parser.add_argument("data", help="folder with train/CLASS/*.jpg and validation/CLASS/*.jpg")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--rule", default="bll", choices=sorted(RULES))
    parser.add_argument("--output", required=True)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--img-size", type=int, default=None)
    parser.add_argument("--opt", default="adamw")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--clip-grad", type=float, default=None)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def _check(options: argparse.Namespace) -> None:
    for name in ("blocks", "epochs", "batch_size"):
        check_integer(name.replace("_", "-"), getattr(options, name), 1)
    for name in ("workers", "seed"):
        check_integer(name, getattr(options, name), 0)
    check_number("lr", options.lr, above=True)
    check_number("weight-decay", options.weight_decay)
    check_number("clip-grad", options.clip_grad, above=True, or_none=True)


def _size(options: argparse.Namespace) -> dict[str, Any]:
    """Only models whose input has a fixed size take it, such as vision transformers."""
    config = _config(options.model)
    if options.img_size is None or not config.get("fixed_input_size"):
        return {}
    return {"img_size": options.img_size}


def _config(model: str) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(model)
    return {} if config is None else dict(config.to_dict())


def _loaders(options: argparse.Namespace, device: torch.device) -> tuple[Any, Any, int]:
    config = resolve_data_config(
        {"img_size": options.img_size}, pretrained_cfg=_config(options.model)
    )
    loaders = []
    sets = [create_dataset("", options.data, split=split) for split in ("train", "validation")]
    for dataset, is_training in zip(sets, (True, False), strict=True):
        loaders.append(
            create_loader(
                dataset,
                input_size=config["input_size"],
                batch_size=options.batch_size,
                is_training=is_training,
                mean=config["mean"],
                std=config["std"],
                num_workers=options.workers,
                use_prefetcher=False,
                persistent_workers=options.workers > 0,
                device=device,
            )
        )
    if not len(loaders[0]):
        raise ValueError(
            f"batch-size must be at most the {len(sets[0])} images of training, as smaller batches "
            f"are left out, got {options.batch_size}"
        )
    return loaders[0], loaders[1], len(sets[0].reader.class_to_idx)


def _train(
    task: BlockLocalTask, loader: Any, optimizer: Any, scaler: Any, options: Any, device: Any
) -> float:
    task.train()
    meter = AverageMeter()
    for images, target in loader:
        images, target = images.to(device), target.to(device)
        with torch.autocast(device.type, enabled=options.amp):
            result = task(images, target)
        scaler.scale(result["loss"]).backward()
        if options.clip_grad is not None:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(task.get_clip_parameters(), options.clip_grad)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        meter.update(result["loss"].item(), len(images))
    return float(meter.avg)


@torch.no_grad()
def _validate(task: BlockLocalTask, loader: Any, device: Any) -> float:
    task.eval()
    model, meter = task.get_eval_model(), AverageMeter()
    for images, target in loader:
        (top1,) = accuracy(model(images.to(device)), target.to(device))
        meter.update(top1.item() / 100, len(images))
    return float(meter.avg)


def _restore(folder: Path, local: BlockLocal, optimizer: Any) -> int:
    """Load weights, heads and the optimizer; return the epochs done."""
    try:
        load_heads(local, folder)
        local.model.load_state_dict(load_file(folder / "model.safetensors"))
        state = read_state(folder, _STATE)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ValueError(f"run {folder} cannot be continued: {error}") from error
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"])


if __name__ == "__main__":
    main()
