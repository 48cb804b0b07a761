"""BlockLocal: a model that learns block by block while its forward pass runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evenfall.checks import check_choice
from evenfall.counting import is_sharded, without_wrappers
from evenfall.errors import shorten
from evenfall.splitters import splitter_for

from .call import TrainingCall, last_loss
from .causal import is_causal
from .compiling import compile_part
from .features import FeatureShape, read_output
from .outputs import LocalOutput, guess_task, targets_of
from .rules import RULES, Setting, make_options
from .splitting import Split, SplitError, check_leaks, split_blocks
from .splitting.inputs import base_model, move_call, named_arguments
from .splitting.split import refuse_checkpointing
from .targets import Task

BACKWARDS = ("inside", "after")
_STRIDE = 1_000_003
_DEFAULTS = (None, "refuse")  # of balance and tied


class BlockLocal(nn.Module):
    """Train `model` in blocks between which no gradient flows.

    The default rule is "bll". "local-ce" beats it by more than 2 points on two of the tasks in the
    guide, a small vision transformer and 16 blocks; elsewhere the two are alike.

    A training call, one with a target, runs the model. After each block, a hook computes the local
    loss, calls its backward pass, which frees the activations of the block, and hands the detached
    output to the next block. The last block has the ordinary loss of the model's output. Then step
    the optimizer as usual:

        local = BlockLocal(model, blocks=4)
        optimizer = torch.optim.AdamW(local.parameters())
        for x, y in loader:
            local(x, target=y).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    A call without a target, or in eval mode, is `model(...)`. The model has hooks only during a
    training call, and its output, parameters and state_dict are as without BlockLocal.

    Args:
        model: any model that `split_blocks` can cut.
        blocks: their number, or a Split.
        rule: "bll", "bll-kl", "local-ce", "predsim", "dgl-man", "overlap", "dfa", "fa", "backprop"
            or "frozen".
        task: "classes", "tokens", "labels" (several at once) or "regression"; None for "tokens" if
            the model predicts a token at each position, else "classes".
        backward: "inside" the hooks, or "after": one summed loss, for torch.compile and to check.
        criterion: (output, target) -> loss of the last block; None for the loss that a transformers
            model returns, or the usual one of the task.
        scale_loss: applied to each local loss before its backward pass, such as `scaler.scale`, or
            `lambda loss: loss / steps` to accumulate gradients. Scale the returned loss alike:
            otherwise its backward pass raises a RuntimeError (on a GPU, in the first step).
        seed: if given, random numbers such as dropout's are drawn anew for each block from (seed,
            step, block), so that several processes draw the same.
        balance, boundaries, inputs, tied: as in `split_blocks`.
        **options: as in `RuleOptions`: family, feedback, latent, hidden, head_depth and others.

    Raises:
        SplitError: the model cannot be split so, or a parameter would learn from two losses.
        ValueError: an unknown option, or the model is wrapped for data parallelism.

    Source: Kappel et al., arXiv 2305.14974. The head and the normalisation over classes are
    Evenfall's.
    """

    def __init__(
        self,
        model: nn.Module,
        blocks: int | Split | None = None,
        rule: str = "bll",
        *,
        task: Task | None = None,
        backward: Literal["inside", "after"] = "inside",
        criterion: Callable[[Any, Tensor], Tensor] | None = None,
        scale_loss: Callable[[Tensor], Tensor] | None = None,
        seed: int | None = None,
        balance: Literal["params", "macs", "activations"] | None = None,
        boundaries: Sequence[str] | Literal["middle"] | None = None,
        inputs: Any = None,
        tied: Literal["refuse", "untie", "last"] = "refuse",
        **options: Any,
    ) -> None:
        super().__init__()
        _check(model, rule, backward, criterion)
        chosen = make_options(options)
        if isinstance(blocks, Split):
            if boundaries is not None or inputs is not None or (balance, tied) != _DEFAULTS:
                raise ValueError(
                    "blocks is a Split, so balance, boundaries, inputs and tied have no effect: "
                    "pass them to split_blocks"
                )
            split = blocks
        else:
            split = split_blocks(
                model, blocks, balance=balance, boundaries=boundaries, inputs=inputs, tied=tied
            )
        check_leaks(model, split)
        inner = without_wrappers(model)
        self.model, self.split, self.rule_name = model, split, rule
        self.backward_mode, self.criterion, self.scale_loss = backward, criterion, scale_loss
        self.seed, self.steps = seed, 0
        self.task = task or guess_task(split.output, getattr(inner, "config", None))
        causal = self.task == "tokens" and is_causal(inner, move_call(inner, split.call))
        self.targets = targets_of(split.output, self.task, causal, chosen.samples)
        self.shapes: list[FeatureShape] = [b.shape for b in split.blocks if b.shape is not None]
        setting = Setting(self.shapes, self.targets, chosen, inner, split.boundaries, split.call)
        first = next(p for p in model.parameters() if p.is_floating_point())
        self.rule = RULES[rule](setting).to(first.device, first.dtype)
        if self.targets.per_token and (self.rule.reads_target or self.rule.waits):
            _refuse_encoder(inner, split.boundaries)
        splitter = splitter_for(inner)
        self.read = (splitter.features if splitter else None) or read_output
        self._call: TrainingCall | None = None

    def forward(self, *args: Any, target: Tensor | None = None, **kwargs: Any) -> Any:
        """The model's output; in training mode with a target, a LocalOutput.

        Args:
            *args, **kwargs: arguments of the model. For transformers models `labels` is the target.
            target: (B,) classes, (B, L) tokens, (B, Y) labels or probabilities, or values.

        Raises:
            ValueError: the target does not fit, or a batch of one meets a head with BatchNorm.
            RuntimeError: gradients are off.
        """
        target = kwargs.get("labels") if target is None else target
        if target is None or not self.training:
            return self.model(*args, **kwargs)
        with self.step(target, args, kwargs):
            return self.finish(self.model(*args, **kwargs))

    @contextmanager
    def step(
        self,
        target: Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        first: int = 0,
        last: int | None = None,
    ) -> Iterator[None]:
        """Install the hooks of one training call; the block calls the model, then `finish`.

        Args:
            target: of the call.
            args, kwargs: arguments of the model.
            first, last: the blocks whose losses are computed; None for the last block.
        """
        if self._call is not None:
            raise RuntimeError("a training call of BlockLocal is running already")
        if not torch.is_grad_enabled():
            raise RuntimeError("a training call of BlockLocal needs gradients: call eval() to test")
        target = self._checked(target)
        model = without_wrappers(self.model)
        refuse_checkpointing(model)
        cuts = range(first, len(self.split.boundaries) if last is None else last + 1)
        named = named_arguments(model, args, kwargs)
        self._call = TrainingCall(
            self.split, self.rule, self.targets, self.read, self.criterion,
            self.backward_mode == "inside", self.scale_loss, self.draw, target, named,
            [None] * first, checks=self._checks(target),
        )  # fmt: skip
        try:
            with ExitStack() as stack:
                self._call.install(model, cuts, stack)
                self.rule.begin(target)
                self.draw(first)
                yield
        finally:
            self._call = None
            self.rule.end()
            self.steps += 1

    def blocks_of_parameters(self) -> list[list[nn.Parameter]]:
        """The trainable parameters of each block of the model, without heads and feedback."""
        model = without_wrappers(self.model)
        return [[model.get_parameter(n) for n in block.parameters] for block in self.split.blocks]

    def named_arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Arguments of the model by name."""
        return named_arguments(without_wrappers(self.model), args, kwargs or {})

    def head_parameters(self) -> int:
        """The number of trainable parameters of heads and feedback."""
        return sum(p.numel() for p in self.rule.parameters() if p.requires_grad)

    def last_loss(self, output: Any, target: Tensor) -> Tensor:
        """The loss of the last block, whose output is the model's."""
        return last_loss(self.targets, self.criterion, output, self._checked(target))

    def compile_parts(self, **options: Any) -> None:
        """Call `compile(**options)` on every largest module that contains no boundary. The hooks
        run between these parts, uncompiled.

        Args:
            **options: of torch.compile.
        """
        boundaries = set(self.split.boundaries)
        for name, module in without_wrappers(self.model).named_children():
            compile_part(name, module, boundaries, options)

    def get_extra_state(self) -> Tensor:
        """The number of training calls, from which random numbers are drawn."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the number of training calls."""
        self.steps = int(state)

    def draw(self, block: int) -> None:
        """Seed the random numbers of a block, if there is a seed."""
        if self.seed is not None:
            number = (self.seed * _STRIDE + self.steps) * _STRIDE + block
            torch.manual_seed(number % 2**63)

    def local_losses(self) -> tuple[Tensor | None, ...]:
        """The losses of the blocks that have ended in the present step."""
        return () if self._call is None else tuple(self._call.losses)

    def finish(self, output: Any) -> LocalOutput:
        """The losses of a call whose output is `output`.

        Raises:
            SplitError: a boundary was not reached.
        """
        assert self._call is not None
        earlier = [p for block in self.blocks_of_parameters()[:-1] for p in block]
        return self._call.finish(output, earlier)

    def _checked(self, target: Any) -> Tensor:
        if not isinstance(target, Tensor):
            raise TypeError(f"target must be a tensor, got {type(target).__name__}")
        if not target.dim():
            raise ValueError("target must have a row for each sample, got a single number")
        if self.criterion is not None and not self.rule.reads_target:
            return target  # only the criterion reads it
        return self.targets.check(target, values=self._checks(target))

    def _checks(self, target: Tensor) -> bool:
        """Whether to look at values, for which a GPU is waited for."""
        return target.device.type == "cpu" or not self.steps


def _refuse_encoder(model: nn.Module, boundaries: Sequence[str]) -> None:
    """Raise SplitError if a block ends in the encoder of an encoder-decoder, whose tokens are not
    those of the target."""
    base = base_model(model)
    if not getattr(getattr(base, "config", None), "is_encoder_decoder", False):
        return
    encoder = {id(module) for module in base.get_encoder().modules()}
    for name in boundaries:
        if id(model.get_submodule(name)) in encoder:
            raise SplitError(
                f"the block that ends after {shorten(name)} is in the encoder, whose tokens are "
                "not those of the target: pass boundaries= that are in the decoder"
            )


def _check(model: nn.Module, rule: str, backward: str, criterion: Any) -> None:
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        raise ValueError(
            f"model must not be wrapped by {type(model).__name__}, which does not support backward "
            "passes inside of the forward pass; use evenfall_blocklocal.processes"
        )
    if is_sharded(model):
        raise ValueError(
            "model must not be sharded by FSDP, which does not support backward passes inside of "
            "the forward pass; use evenfall_blocklocal.processes"
        )
    if criterion is not None and not callable(criterion):
        raise TypeError(f"criterion must be callable, got {type(criterion).__name__}")
    check_choice("rule", rule, RULES)
    check_choice("backward", backward, BACKWARDS)
    if rule == "overlap" and backward == "after":
        raise ValueError("rule 'overlap' needs backward='inside', got 'after'")
