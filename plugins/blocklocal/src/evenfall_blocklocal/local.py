"""BlockLocal: a model that learns block by block while its forward pass runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from evenfall.counting import without_wrappers
from evenfall.errors import shorten
from evenfall.splitters import splitter_for

from .compiling import compile_part
from .features import Features, FeatureShape, read_output
from .outputs import LocalOutput, guess_task, main_tensor, targets_of
from .rules import RULES, Fa, Overlap, Setting, make_options, make_rule
from .splitting import Split, SplitError, check_leaks, split_blocks
from .splitting.inputs import named_arguments
from .splitting.split import refuse_checkpointing
from .splitting.trial import detach
from .targets import Task

BACKWARDS = ("inside", "after")
_STRIDE = 1_000_003
_DEFAULTS = (None, "refuse")  # of balance and tied


@dataclass
class _Step:
    """What one training call knows."""

    target: Tensor
    named: dict[str, Any]
    losses: list[Tensor | None]
    waiting: list[Features]


class BlockLocal(nn.Module):
    """Train `model` in blocks between which no gradient flows.

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
            `lambda loss: loss / steps` to accumulate gradients. Scale the returned loss alike.
        seed: if given, random numbers such as dropout's are drawn anew for each block from (seed,
            step, block), so that several processes draw the same.
        balance, boundaries, inputs, tied: as in `split_blocks`.
        **options: as in `RuleOptions`: family, feedback, latent, hidden, head_depth and others.

    Raises:
        SplitError: the model cannot be split so, or a parameter would learn from two losses.
        ValueError: an unknown option, or the model is wrapped for data parallelism.

    Source: Kappel et al., arXiv 2305.14974. The head and the normalisation over classes, without
    which the rule collapses, are Evenfall's.
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
        _check(model, rule, backward)
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
        self.targets = targets_of(type(inner).__name__, split.output, self.task)
        self.shapes: list[FeatureShape] = [b.shape for b in split.blocks if b.shape is not None]
        setting = Setting(self.shapes, self.targets, chosen, inner, split.boundaries, split.call)
        first = next(p for p in model.parameters() if p.is_floating_point())
        self.rule = make_rule(rule, setting).to(first.device, first.dtype)
        splitter = splitter_for(inner)
        self.read = (splitter.features if splitter else None) or read_output
        self._step: _Step | None = None

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
        if self._step is not None:
            raise RuntimeError("a training call of BlockLocal is running already")
        if not torch.is_grad_enabled():
            raise RuntimeError("a training call of BlockLocal needs gradients: call eval() to test")
        target = self._checked(target)
        model = without_wrappers(self.model)
        refuse_checkpointing(model)
        cuts = range(first, len(self.split.boundaries) if last is None else last + 1)
        named = named_arguments(model, args, kwargs)
        self._step = _Step(target, named, [None] * first, [])
        try:
            with ExitStack() as stack:
                self._install(model, cuts, stack)
                self.rule.begin(target)
                self.draw(first)
                yield
        finally:
            self._step = None
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

    def _install(self, model: nn.Module, cuts: range, stack: ExitStack) -> None:
        if isinstance(self.rule, Fa):
            for handle in self.rule.hooks():
                stack.callback(handle.remove)
        for name in self.split.detached:
            hook = model.get_submodule(name).register_forward_hook(lambda m, a, out: detach(out))
            stack.callback(hook.remove)
        for index in cuts:
            name = self.split.boundaries[index]
            hook = model.get_submodule(name).register_forward_hook(self._hook(index))
            stack.callback(hook.remove)

    def _hook(self, index: int) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            return self._at_boundary(index, args, output)

        return hook

    def _at_boundary(self, index: int, inputs: tuple[Any, ...], output: Any) -> Any:
        step = self._step
        name = self.split.boundaries[index]
        if step is None or len(step.losses) != index:
            raise SplitError(
                f"module {shorten(name)} is called twice, or not in the order of the split"
            )
        features = self._features(inputs, output, step)
        if isinstance(self.rule, Overlap):
            self.rule.open_gate(index - 1)
        loss = self.rule.loss(index, features, step.target)
        if loss is not None and self.backward_mode == "inside":
            self._backward(loss, keep=isinstance(self.rule, Overlap))
            loss = loss.detach()
        step.losses.append(loss)
        if self.rule.waits:
            step.waiting.append(features)
        self.draw(index + 1)
        return self._passed_on(index, name, output, features, step)

    def _passed_on(
        self, index: int, name: str, output: Any, features: Features, step: _Step
    ) -> Any:
        if isinstance(self.rule, Overlap):
            rule = self.rule
            return tree_map_only(
                Tensor, lambda t: rule.gate(index, t) if t.grad_fn is not None else t, output
            )
        if not self.rule.detaches:
            return output
        keeps_graph = self.backward_mode == "after" or self.rule.waits
        copies = keeps_graph and name in self.split.cloned

        def isolate(tensor: Tensor) -> Tensor:
            if tensor.grad_fn is None and not tensor.requires_grad:
                return tensor
            alone = tensor.detach().clone() if copies else tensor.detach()
            if tensor is features.values:
                alone = self.rule.pass_on(index, alone, step.target)
            return alone

        return tree_map_only(Tensor, isolate, output)

    def draw(self, block: int) -> None:
        """Seed the random numbers of a block, if there is a seed."""
        if self.seed is not None:
            number = (self.seed * _STRIDE + self.steps) * _STRIDE + block
            torch.manual_seed(number % 2**63)

    def local_losses(self) -> tuple[Tensor | None, ...]:
        """The losses of the blocks that have ended in the present step."""
        return () if self._step is None else tuple(self._step.losses)

    def finish(self, output: Any) -> LocalOutput:
        """The losses of a call whose output is `output`.

        Raises:
            SplitError: a boundary was not reached.
        """
        step = self._step
        assert step is not None
        missing = len(self.split.boundaries) - len(step.losses)
        if missing:
            raise SplitError(
                f"{missing} of the boundaries {list(self.split.boundaries)} were not reached"
            )
        final = self._final_loss(output, step.target)
        if isinstance(self.rule, Overlap):
            self.rule.open_gate(len(self.split.boundaries) - 1)
        if step.waiting:
            step.losses = self._late_losses(output, final, step)
        losses = (*step.losses, final)
        total = final
        for loss in step.losses:
            if loss is not None:
                total = total + loss
        if self.backward_mode == "inside" and total.requires_grad:
            total.register_hook(_refuse_cleared(self.blocks_of_parameters()[:-1]))
        return LocalOutput(total, output, tuple(x if x is None else x.detach() for x in losses))

    def _late_losses(self, output: Any, final: Tensor, step: _Step) -> list[Tensor | None]:
        logits = main_tensor(output)
        (error,) = torch.autograd.grad(final, logits, retain_graph=True)
        losses: list[Tensor | None] = []
        for index, features in enumerate(step.waiting):
            loss = self.rule.late_loss(index, features, error)
            if loss is not None and self.backward_mode == "inside":
                self._backward(loss)
                loss = None  # only its gradient means something
            losses.append(loss)
        return losses

    def _checked(self, target: Any) -> Tensor:
        if not isinstance(target, Tensor):
            raise TypeError(f"target must be a tensor, got {type(target).__name__}")
        if not target.dim():
            raise ValueError("target must have a row for each sample, got a single number")
        if self.criterion is not None and self.rule_name in ("backprop", "frozen"):
            return target  # only the criterion reads it
        return self.targets.check(target, values=target.device.type == "cpu" or not self.steps)

    def _final_loss(self, output: Any, target: Tensor) -> Tensor:
        if self.criterion is not None:
            return self.criterion(output, target)
        loss = getattr(output, "loss", None)
        if isinstance(loss, Tensor):
            return loss
        logits = main_tensor(output)
        self._check_rows(len(logits), len(target))
        return self.targets.loss(*self.targets.rows(logits, target))

    def _check_rows(self, rows: int, targets: int) -> None:
        if rows != targets:
            raise ValueError(f"target has {targets} rows, but the model has {rows} samples")

    def _features(self, inputs: tuple[Any, ...], output: Any, step: _Step) -> Features:
        values, graphs = self.read(inputs, output, step.named)
        mask = step.named.get("attention_mask")
        features = Features(values, graphs, len(step.target), mask)
        if graphs is None and not self.targets.per_token:
            self._check_rows(len(values), len(step.target))
        if len(step.target) == 1 and any(
            isinstance(m, nn.BatchNorm1d) for m in self.rule.modules()
        ):
            raise ValueError(
                "a batch of one sample gives BatchNorm of the heads no variance: use a larger "
                "batch (drop_last=True) or head_depth=1"
            )
        return features

    def _backward(self, loss: Tensor, keep: bool = False) -> None:
        scaled = loss if self.scale_loss is None else self.scale_loss(loss)
        with torch.autocast(loss.device.type, enabled=False):
            scaled.backward(retain_graph=keep)


def _check(model: nn.Module, rule: str, backward: str) -> None:
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        raise ValueError(
            f"model must not be wrapped by {type(model).__name__}, which does not support backward "
            "passes inside of the forward pass; use evenfall_blocklocal.processes"
        )
    if rule not in RULES:
        raise ValueError(f"rule must be one of {tuple(RULES)}, got {shorten(rule)}")
    if backward not in BACKWARDS:
        raise ValueError(f"backward must be one of {BACKWARDS}, got {shorten(backward)}")
    if rule == "overlap" and backward == "after":
        raise ValueError("rule 'overlap' needs backward='inside', got 'after'")


def _refuse_cleared(blocks: list[list[nn.Parameter]]) -> Callable[[Tensor], None]:
    """A hook of the returned loss: the gradients that the blocks have now must still be there."""
    having = [p for block in blocks for p in block if p.grad is not None]

    def hook(gradient: Tensor) -> None:
        if any(p.grad is None for p in having):
            raise RuntimeError(
                "gradients were cleared between the forward pass, which computes those of all but "
                "the last block, and loss.backward(): call optimizer.zero_grad() after the step or "
                "before the forward pass"
            )

    return hook
