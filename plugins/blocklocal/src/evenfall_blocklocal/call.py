"""One training call: hooks that compute the local losses while the model runs, and its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from evenfall.errors import shorten

from .features import Features
from .outputs import LocalOutput, main_tensor, width_of
from .rules import Fa, Overlap
from .rules.base import Rule
from .splitting import Split, SplitError
from .splitting.trial import detach
from .targets import Targets


@dataclass
class TrainingCall:
    """What one training call knows, from the target to the losses.

    Attributes:
        split, rule, targets: of the BlockLocal.
        read: (inputs, output, named arguments) -> (features, graphs) of a boundary.
        criterion: (output, target) -> loss of the last block; None for the usual one.
        inside: the backward pass of a block runs in its hook.
        scale_loss: applied to each local loss before its backward pass.
        draw: seeds the random numbers of a block.
        target: of the call.
        named: arguments of the model by name.
        losses: of the blocks that have ended.
        waiting: features whose losses need the error of the output.
        checks: whether to look at values, for which a GPU is waited for.
        has_learned: whether a block has had its backward pass.
    """

    split: Split
    rule: Rule
    targets: Targets
    read: Callable[..., tuple[Tensor, Tensor | None]]
    criterion: Callable[[Any, Tensor], Tensor] | None
    inside: bool
    scale_loss: Callable[[Tensor], Tensor] | None
    draw: Callable[[int], None]
    target: Tensor
    named: dict[str, Any]
    losses: list[Tensor | None]
    waiting: list[Features] = field(default_factory=list)
    checks: bool = True
    has_learned: bool = False

    def install(self, model: nn.Module, cuts: range, stack: ExitStack) -> None:
        """Put the hooks of these boundaries into the model until the stack ends."""
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
        name = self.split.boundaries[index]
        if len(self.losses) != index:
            raise SplitError(
                f"module {shorten(name)} is called twice, or not in the order of the split"
            )
        features = self._features(inputs, output)
        if isinstance(self.rule, Overlap):
            self.rule.open_gate(index - 1)
        loss = self.rule.loss(index, features, self.target)
        if loss is not None and self.inside:
            self._backward(loss, keep=isinstance(self.rule, Overlap))
            loss = loss.detach()
        self.losses.append(loss)
        if self.rule.waits:
            self.waiting.append(features)
        self.draw(index + 1)
        return self._passed_on(index, name, output, features)

    def _passed_on(self, index: int, name: str, output: Any, features: Features) -> Any:
        if isinstance(self.rule, Overlap):
            rule, is_changed = self.rule, name in self.split.cloned

            def close(tensor: Tensor) -> Tensor:
                if not tensor.requires_grad:
                    return tensor
                gated = rule.gate(index, tensor)
                return gated.clone() if is_changed else gated

            return tree_map_only(Tensor, close, output)
        if not self.rule.detaches:
            return output
        keeps_graph = not self.inside or self.rule.waits
        copies = keeps_graph and name in self.split.cloned

        def isolate(tensor: Tensor) -> Tensor:
            if not tensor.requires_grad:
                return tensor
            alone = tensor.detach().clone() if copies else tensor.detach()
            if tensor is features.values:
                alone = self.rule.pass_on(index, alone, self.target)
            return alone

        return tree_map_only(Tensor, isolate, output)

    def finish(self, output: Any, earlier: list[nn.Parameter]) -> LocalOutput:
        """The losses of a call whose output is `output`.

        Args:
            output: of the model.
            earlier: parameters whose gradients must be there until the last backward pass.

        Raises:
            SplitError: a boundary was not reached.
        """
        missing = len(self.split.boundaries) - len(self.losses)
        if missing:
            raise SplitError(
                f"{missing} of the boundaries {list(self.split.boundaries)} were not reached"
            )
        final = last_loss(self.targets, self.criterion, output, self.target)
        if isinstance(self.rule, Overlap):
            self.rule.open_gate(len(self.split.boundaries) - 1)
        if self.waiting:
            self.losses = self._late_losses(output, final)
        losses = (*self.losses, final)
        total = final
        for loss in self.losses:
            if loss is not None:
                total = total + loss
        if self.has_learned and not total.requires_grad:
            total.requires_grad_()  # the last block is frozen, so nothing is left to learn
        if self.inside and total.requires_grad:
            total.register_hook(_refuse_cleared(earlier))
        if self.has_learned and self.checks:
            total.register_hook(_refuse_scaled(self._factor(total)))
        # of a loss that needs the error, only the gradient means something
        shown = (*[None] * len(self.waiting), final) if self.waiting else losses
        return LocalOutput(total, output, tuple(x if x is None else x.detach() for x in shown))

    def _late_losses(self, output: Any, final: Tensor) -> list[Tensor | None]:
        logits = main_tensor(output)
        if not logits.requires_grad:
            raise ValueError("the error of the output needs a last block that is not frozen")
        (error,) = torch.autograd.grad(final, logits, retain_graph=True)
        losses: list[Tensor | None] = []
        for index, features in enumerate(self.waiting):
            loss = self.rule.late_loss(index, features, error)
            if loss is not None and self.inside:
                self._backward(loss)
                loss = None
            losses.append(loss if loss is None else loss - loss.detach())
        return losses

    def _check_samples(self, values: Tensor, graphs: Tensor | None) -> None:
        rows = len(self.target)
        if graphs is None:
            _check_rows(len(values), rows)
        elif graphs.device.type == "cpu" and len(graphs):  # a GPU would be waited for
            _check_rows(max(int(graphs.max()) + 1, rows), rows)  # later graphs may be empty

    def _features(self, inputs: tuple[Any, ...], output: Any) -> Features:
        values, graphs = self.read(inputs, output, self.named)
        mask = self.named.get("attention_mask")
        features = Features(values, graphs, len(self.target), mask)
        if not self.targets.per_token:
            self._check_samples(values, graphs)
        if len(self.target) == 1 and any(
            isinstance(m, nn.BatchNorm1d) for m in self.rule.modules()
        ):
            raise ValueError(
                "a batch of one sample gives BatchNorm of the heads no variance: use a larger "
                "batch (drop_last=True) or head_depth=1"
            )
        return features

    def _factor(self, loss: Tensor) -> float:
        """What `scale_loss` multiplies a loss by."""
        one = torch.ones((), device=loss.device)
        return 1.0 if self.scale_loss is None else float(self.scale_loss(one))

    def _backward(self, loss: Tensor, keep: bool = False) -> None:
        if not loss.requires_grad:
            return  # block and head are frozen
        self.has_learned = True
        scaled = loss if self.scale_loss is None else self.scale_loss(loss)
        with torch.autocast(loss.device.type, enabled=False):
            scaled.backward(retain_graph=keep)


def last_loss(
    targets: Targets, criterion: Callable[[Any, Tensor], Tensor] | None, output: Any, target: Tensor
) -> Tensor:
    """The loss of the last block: of the criterion, of the model itself, or that of the targets.

    Raises:
        TypeError: the criterion returns no single number.
        ValueError: the output does not fit the targets.
    """
    if criterion is not None:
        loss = criterion(output, target)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"criterion must return a tensor with one number, got {got}")
        return loss
    width = width_of(output)
    if width != targets.outputs:
        raise ValueError(
            f"the model has {width} outputs now, but had {targets.outputs} when BlockLocal was "
            "made: make it anew"
        )
    loss = getattr(output, "loss", None)
    if isinstance(loss, Tensor):
        return loss
    logits = main_tensor(output)
    _check_rows(len(logits), len(target))
    return targets.loss(*targets.rows(logits, target))


def _check_rows(rows: int, targets: int) -> None:
    if rows != targets:
        raise ValueError(f"target has {targets} rows, but the model has {rows} samples")


def _refuse_scaled(factor: float) -> Callable[[Tensor], None]:
    """A hook of the returned loss: it must be scaled as the local losses were."""

    def hook(gradient: Tensor) -> None:
        got = float(gradient)
        if math.isfinite(got) and abs(got - factor) > 0.01 * abs(factor):
            raise RuntimeError(
                f"the loss was multiplied by {got:g} before backward(), but the losses of the "
                f"blocks before the last by {factor:g}: set local.scale_loss to what scales it"
            )

    return hook


def _refuse_cleared(earlier: list[nn.Parameter]) -> Callable[[Tensor], None]:
    """A hook of the returned loss: the gradients that the blocks have now must still be there."""
    having = [p for p in earlier if p.grad is not None]

    def hook(gradient: Tensor) -> None:
        if any(p.grad is None for p in having):
            raise RuntimeError(
                "gradients were cleared between the forward pass, which computes those of all but "
                "the last block, and loss.backward(): call optimizer.zero_grad() after the step or "
                "before the forward pass"
            )

    return hook
