"""BlockLocalTrainer: transformers' Trainer with block-local learning."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import Trainer

from ..local import BlockLocal
from ..saving import HEADS, load_heads, save_local
from ..splitting.inputs import base_model


class BlockLocalTrainer(Trainer):
    """Train a transformers model in blocks.

    Checkpoints are `save_pretrained` folders of the plain model, with heads and feedback in
    blocklocal.safetensors, so `from_pretrained` loads them and `resume_from_checkpoint` continues
    exactly. Local losses are divided by the accumulation steps and scaled as the Trainer scales its
    loss. A loss is the mean over the targets of a micro-batch, not of the accumulated batch. In
    evaluation, the loss is that of the last block. Of a peft model, checkpoints have the adapters.

    Args:
        model: a BlockLocal around a transformers model.
        *args, **kwargs: as in Trainer.

    Raises:
        TypeError: model is no BlockLocal.
        ValueError: there are several processes or GPUs, or label smoothing, gradient checkpointing,
            noise on embeddings or an own loss function is set.
    """

    def __init__(self, model: BlockLocal, *args: Any, **kwargs: Any) -> None:
        if not isinstance(model, BlockLocal):
            raise TypeError(f"model must be a BlockLocal, got {type(model).__name__}")
        arguments = kwargs.get("args", args[0] if args else None)
        for name in ("label_smoothing_factor", "gradient_checkpointing", "neftune_noise_alpha"):
            if getattr(arguments, name, None):
                raise ValueError(f"BlockLocalTrainer does not support {name}")
        config = getattr(model.model, "config", None)
        if config is not None:
            model.config = config  # the Trainer looks there for outputs to leave out
        super().__init__(model, *args, **kwargs)
        if self.compute_loss_func is not None:
            raise ValueError("BlockLocalTrainer does not support compute_loss_func")
        if self.accelerator.num_processes > 1 or self.args.n_gpu > 1:
            raise ValueError(
                "BlockLocalTrainer supports one process with one GPU, got "
                f"{self.accelerator.num_processes} with {self.args.n_gpu}: set CUDA_VISIBLE_DEVICES"
            )
        self.label_names = self.args.label_names or ["labels"]
        self.model_accepts_loss_kwargs = False  # so that the loss is divided by the accumulation
        self.loss_is_scaled_for_ga = False
        self.local = model

    def _scale(self, loss: Tensor) -> Tensor:
        """What training_step and Accelerator.backward do with a loss."""
        steps = self.current_gradient_accumulation_steps
        loss = loss / steps / self.accelerator.gradient_accumulation_steps
        scaler = self.accelerator.scaler
        return loss if scaler is None else scaler.scale(loss)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The summed loss; in training, the backward passes of all but the last block have run.

        Raises:
            ValueError: the batch has no `labels`.
        """
        if inputs.get("labels") is None:
            raise ValueError(f"BlockLocalTrainer needs labels, got a batch of {sorted(inputs)}")
        if not model.training:
            outputs = model(**inputs)
            loss = self.local.last_loss(outputs, inputs["labels"])
            return (loss, outputs) if return_outputs else loss
        before, self.local.scale_loss = self.local.scale_loss, self._scale
        try:
            result = model(**inputs)
        finally:
            self.local.scale_loss = before
        return (result.loss, result.output) if return_outputs else result.loss

    def _set_signature_columns_if_needed(self) -> None:
        names = inspect.signature(base_model(self.local.model).forward).parameters
        self._signature_columns = [*names, "label", "label_ids", *self.label_names]

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        save_local(self.local, folder)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._load(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        self._load(Path(self.state.best_model_checkpoint))

    def _load(self, folder: Path) -> None:
        if not (folder / HEADS).is_file():
            raise ValueError(f"checkpoint {folder} has no {HEADS}; another Trainer wrote it")
        load_heads(self.local, folder)
        model: Any = self.local.model
        if hasattr(model, "load_adapter") and hasattr(model, "active_adapter"):  # of peft
            model.load_adapter(folder, model.active_adapter, is_trainable=True)
        else:
            model.load_state_dict(type(model).from_pretrained(folder).state_dict())
