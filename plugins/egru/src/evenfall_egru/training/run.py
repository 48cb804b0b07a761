"""One training run: tokenizer, model, trainer, best checkpoint."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from evenfall.files import written_aside
from evenfall.recipes import dump_recipe

from ..models.modeling_egru import EgruForCausalLM
from ..text.corpus import encode, read_split
from ..text.tokenization import byte_tokenizer, vocabulary, word_tokenizer
from .checkpoints import last_whole_checkpoint
from .lanes import LaneDataset
from .recipe import Recipe
from .trainer import EgruTrainer

logger = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    data: str | Path,
    output: str | Path,
    *,
    resume: bool = False,
    save_steps: int | None = None,
) -> Path:
    """Train a causal language model and keep the checkpoint with the best validation perplexity.

    Under torchrun every rank trains lanes / ranks lanes. Only train and valid are read.

    Args:
        recipe: the choices of the run.
        data: folder or zip archive with a train and a valid text.
        output: folder of the run: checkpoints, log.jsonl and, at the end, `best/`.
        resume: go on from the last checkpoint in `output`, to the same losses.
        save_steps: save every so many steps besides after each epoch.

    Returns:
        The folder of the best model.

    Raises:
        FileExistsError: `output` holds a run and resume is off.
        ValueError: lanes that the number of ranks does not divide, or too little text.
    """
    output = Path(output)
    begun = (output / "log.jsonl").exists() or any(output.glob(f"{PREFIX_CHECKPOINT_DIR}-*"))
    if begun and not resume:
        raise FileExistsError(f"output {output} holds a run already; pass resume to go on with it")
    arguments = _arguments(recipe, output, save_steps)
    last = last_whole_checkpoint(output, arguments.world_size)
    text = read_split(data, "train")
    by_word = recipe.tokenizer == "word"
    tokenizer = word_tokenizer(vocabulary([text])) if by_word else byte_tokenizer()
    tokens = encode(tokenizer, text)
    set_seed(recipe.seed)
    model = EgruForCausalLM(
        recipe.config(
            vocab_size=len(tokenizer),
            pad_token_id=None,
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    logger.info("%d parameters", model.num_parameters())
    trainer = EgruTrainer(
        model=model,
        args=arguments,
        train_dataset=LaneDataset(tokens, recipe.lanes, recipe.window, recipe.seed),
        valid_tokens=encode(tokenizer, read_split(data, "valid")),
        callbacks=[_Log(output / "log.jsonl"), _EachEpoch()],
    )
    model.config.use_cache = True  # Trainer turns it off, and a saved model would generate slowly
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    best = output / "best"
    if trainer.is_world_process_zero():
        with written_aside(best, replace=True) as folder:
            trainer.model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            (folder / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    return best


def _arguments(recipe: Recipe, output: Path, save_steps: int | None) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        adam_beta1=recipe.betas[0],
        adam_beta2=recipe.betas[1],
        warmup_steps=recipe.warmup_steps,
        lr_scheduler_type="cosine",
        max_grad_norm=recipe.max_grad_norm,
        seed=recipe.seed,
        bf16=recipe.bf16,
        use_cpu=not (torch.cuda.is_available() or torch.xpu.is_available()),
        eval_strategy="epoch" if save_steps is None else "steps",
        save_strategy="epoch" if save_steps is None else "steps",
        eval_steps=save_steps,
        save_steps=save_steps or 500,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="perplexity",
        greater_is_better=False,
        logging_steps=100,
        remove_unused_columns=False,
        dataloader_drop_last=True,
        report_to="none",
    )
    ranks = arguments.world_size
    if recipe.lanes % ranks:
        raise ValueError(f"lanes ({recipe.lanes}) must be a multiple of the {ranks} ranks")
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # one process, one device: DataParallel would split the carried state
    arguments.per_device_train_batch_size = recipe.lanes // ranks
    return arguments


class _Log(TrainerCallback):
    """Every logged figure as a line of JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")


class _EachEpoch(TrainerCallback):
    """Evaluates and saves at the end of an epoch where no step just did."""

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if args.save_strategy == "epoch" or state.global_step % args.save_steps:
            control.should_evaluate = control.should_save = True
        return control
