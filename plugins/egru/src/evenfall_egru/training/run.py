"""One training run: tokenizer, model, trainer, best checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerBase,
    TrainingArguments,
    set_seed,
)

from evenfall.corpora import read_split
from evenfall.runs import Progress, make_callbacks

from ..loading import load_checkpoint
from ..models.modeling_egru import EgruForCausalLM
from ..text.encoding import encode
from ..text.tokenization import byte_tokenizer, vocabulary, word_tokenizer
from .arguments import training_arguments
from .bptt import BpttDataset
from .data_record import describe_text
from .frame import fit, host_callbacks, open_run
from .recipe import Recipe
from .trainer import EgruTrainer, checkpoint_files

logger = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    data: str | Path,
    output: str | Path,
    *,
    resume: bool = False,
    save_steps: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train a causal language model and save the checkpoint with the best validation perplexity.

    Under torchrun each rank trains batch_size / ranks streams. Only train and valid are read.

    Args:
        recipe: the settings of the run.
        data: folder or zip archive with a train and a valid text.
        output: folder of the run: recipe.yaml, data.json, log.jsonl, checkpoints and, at the end,
            `best/`.
        resume: resume from the last checkpoint in `output`, to the same losses; without one, start
            a new run. A higher `epochs` extends the run.
        save_steps: also save after every `save_steps` steps, not only after each epoch.
        progress: called with (task, steps done, total steps); Trainer then shows no bar.

    Returns:
        The folder of the best model.

    Raises:
        FileExistsError: `output` already contains a run and resume is off, or it is a file.
        BlockingIOError: another process writes to `output`.
        FileNotFoundError: the data has no train or no valid text.
        ValueError: the run in `output` has another recipe or other data, the batch size is not a
            multiple of the number of ranks, a text is too short, or the initial checkpoint does
            not fit; the warm-up is longer than the run; or the training diverged.
        CallbackError: a callback raises, or no evaluation counts as best for all callbacks.
        UnknownNameError, ReferenceImportError: a callback is not found.
    """
    callbacks = make_callbacks(recipe.callbacks)
    texts = {split: read_split(data, split) for split in ("train", "valid")}
    record = {split: describe_text(text) for split, text in texts.items()}
    arguments = _arguments(recipe, Path(output), save_steps)
    arguments.disable_tqdm = progress is not None
    files = [*checkpoint_files(arguments.world_size), *callbacks.files]
    with open_run(recipe, output, arguments, record, resume=resume, files=files) as (folder, last):
        name = recipe.initial_checkpoint
        first, tokenizer = (
            (None, _make_tokenizer(recipe, texts["train"])) if name is None else _load_first(name)
        )
        tokens = {split: encode(tokenizer, text) for split, text in texts.items()}
        dataset = BpttDataset(
            tokens["train"], recipe.batch_size, recipe.window, recipe.seed,
            jitter=recipe.window_jitter, short_windows=recipe.short_windows,
        )  # fmt: skip
        model = _make_model(recipe, tokenizer)
        if first is not None:
            _copy_weights(first, model, str(name))
        callbacks.prepare(model)
        trainer = EgruTrainer(
            model=model,
            args=arguments,
            train_dataset=dataset,
            valid_tokens=tokens["valid"],
            recipe=recipe,
            steps=dataset.windows,
            recipe_callbacks=callbacks,
            callbacks=host_callbacks(folder, callbacks, dataset.windows, last, progress),
        )
        model.config.use_cache = True  # Trainer turns it off; a saved model would generate slowly

        def save(best: Path) -> None:
            trainer.model.save_pretrained(best)
            tokenizer.save_pretrained(best)

        fit(trainer, folder, last, save)
    return folder.best


def _load_first(name: str) -> tuple[EgruForCausalLM, PreTrainedTokenizerBase]:
    try:
        return load_checkpoint(name, "cpu")
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"initial_checkpoint: {error}") from error


def _make_tokenizer(recipe: Recipe, text: str) -> PreTrainedTokenizerBase:
    return word_tokenizer(vocabulary([text])) if recipe.tokenizer == "word" else byte_tokenizer()


def _make_model(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> EgruForCausalLM:
    set_seed(recipe.seed)
    config = recipe.config(
        vocab_size=len(tokenizer),
        pad_token_id=None,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model: EgruForCausalLM = AutoModelForCausalLM.from_config(config)
    logger.info("%d parameters", model.num_parameters())
    return model


def _copy_weights(source: torch.nn.Module, target: torch.nn.Module, name: str) -> None:
    """Copy all parameters; the dropouts and penalties of the models may differ.

    Raises:
        ValueError: the models have different parameters.
    """
    old, new = source.state_dict(), target.state_dict()
    for key in sorted({*old, *new}):
        shapes = [tuple(state[key].shape) if key in state else None for state in (old, new)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"initial_checkpoint {name} does not fit the recipe's model: {key} is "
                f"{shapes[0] or 'missing'} there and {shapes[1] or 'missing'} in the recipe"
            )
    target.load_state_dict(old)


def _arguments(recipe: Recipe, output: Path, save_steps: int | None) -> TrainingArguments:
    return training_arguments(recipe, output, save_steps, "perplexity", False)
