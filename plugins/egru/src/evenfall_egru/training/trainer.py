"""transformers' Trainer, with state carried from window to window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import Dataset, SequentialSampler
from transformers import DynamicCache
from transformers.trainer import TRAINER_STATE_NAME

from evenfall.files import file_aside
from evenfall.reading import reading

from ..evaluation.perplexity import evaluate_tokens
from .recipe_trainer import RecipeTrainer


def checkpoint_files(ranks: int) -> list[str]:
    """Files that every complete checkpoint has; the first is written last."""
    return [TRAINER_STATE_NAME, *(_carry_file(rank) for rank in range(ranks))]


def _carry_file(rank: int) -> str:
    """The file of the state that one rank carries from window to window."""
    return f"carry-{rank}.safetensors"


class EgruTrainer(RecipeTrainer):
    """Truncated backpropagation through time over a BpttDataset.

    The state after each window is passed to the next one without gradient. It restarts with each
    epoch. Checkpoints include it, so a resumed run gives the same losses as one without a break.
    """

    def __init__(self, *args: Any, valid_tokens: torch.Tensor, **kwargs: Any) -> None:
        if len(valid_tokens) < 2:
            raise ValueError(
                f"the validation text must have at least 2 tokens, got {len(valid_tokens)}"
            )
        super().__init__(*args, eval_dataset=_Tokens(valid_tokens), **kwargs)
        self.valid_tokens = valid_tokens
        self.cache: DynamicCache | None = None

    def factor(self, step: int, total: int) -> float:
        """The schedule, times the relative length of the step's window."""
        factor, dataset = super().factor(step, total), self.train_dataset
        if not dataset.has_random_lengths:
            return factor
        epoch, window = divmod(step, self.steps)
        first, last = dataset.bounds_of(epoch)[window : window + 2]
        return factor * (last - first) / dataset.window

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        inputs = dict(inputs)
        window = inputs.pop("window")
        if int(window[0]) == 0 or self.cache is None:
            self.cache = DynamicCache(config=self.accelerator.unwrap_model(model).config)
        inputs |= {"cache": self.cache, "use_cache": True, "skip_logits": True}
        result = super().compute_loss(model, inputs, return_outputs, **kwargs)
        for layer in self.cache.layers:
            layer.detach()
        return result

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Perplexity, activity and backward sparsity on the validation text, with full carry and 16
        streams, or fewer for a short text."""
        model = self.accelerator.unwrap_model(self.model)
        streams = min(16, len(self.valid_tokens) - 1)
        result = evaluate_tokens(model, self.valid_tokens, batch_size=streams, window=256)
        metrics = {
            f"{metric_key_prefix}_loss": result["loss"],
            f"{metric_key_prefix}_perplexity": result["perplexity"],
            f"{metric_key_prefix}_activity": result["mean_activity"],
        }
        if result["backward_sparsity"] is not None:
            metrics[f"{metric_key_prefix}_backward_sparsity"] = result["mean_backward_sparsity"]
        self.report(metrics)
        model.train()
        return metrics

    def _save_rng_state(self, output_dir: str) -> None:
        """Also save the carried state. Trainer then writes trainer_state.json, which completes the
        checkpoint, and removes older checkpoints."""
        super()._save_rng_state(output_dir)
        if self.cache is not None:
            tensors = {}
            for index, layer in enumerate(self.cache.layers):
                if layer.is_initialized:
                    tensors[f"{index}.y"] = layer.keys.contiguous()
                    tensors[f"{index}.h"] = layer.values.contiguous()
            with file_aside(Path(output_dir) / _carry_file(self.args.process_index)) as aside:
                save_file(tensors, aside)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is None:
            return
        file = Path(checkpoint) / _carry_file(self.args.process_index)
        with reading(file):
            tensors = load_file(file, device=str(self.args.device))
        self.cache = DynamicCache(config=self.model.config)
        for index, layer in enumerate(self.cache.layers):
            if f"{index}.y" in tensors:
                layer.update(tensors[f"{index}.y"], tensors[f"{index}.h"])


class _Tokens(Dataset):
    """The validation tokens as the dataset that Trainer requires."""

    def __init__(self, tokens: torch.Tensor) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)
