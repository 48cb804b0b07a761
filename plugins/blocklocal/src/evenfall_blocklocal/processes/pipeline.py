"""BlockPipeline: the blocks of one model on several ranks of torch.distributed.

Every rank has the model and gets the same batches. It computes only its own blocks: modules before
them are replaced by stubs, its first block starts from the received activations, and its last one
sends its detached output and ends the pass. Random numbers are drawn for each block from (seed,
step, block), so the parameters are bit-equal to those of one process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from evenfall.checks import check_integer, check_number
from evenfall.counting import without_wrappers

from ..local import BlockLocal
from ..splitting.trial import record
from .plan import find_buffers, make_plan


class DeadRankError(RuntimeError):
    """Another rank has ended or does not answer."""


@dataclass(frozen=True)
class PipelineOutput:
    """What a step of a BlockPipeline returns.

    Attributes:
        losses: of this rank's blocks, detached; None for a block without one.
        output: of the model, on the last stage; else None.
    """

    losses: tuple[Tensor | None, ...]
    output: Any


class _Stop(Exception):
    """Ends the forward pass after the last block of a rank."""


class BlockPipeline:
    """Train the blocks of `local` on all ranks of the default process group.

        dist.init_process_group("gloo")                 # under torchrun
        pipeline = BlockPipeline(local)
        optimizer = torch.optim.AdamW(pipeline.parameters())
        for x, y in loader:                             # the same batches on every rank
            pipeline(x, target=y)
            optimizer.step()
            optimizer.zero_grad()
        pipeline.gather()                               # all ranks have the whole model

    Args:
        local: with the same weights on every rank, and a `seed` if the model draws random numbers.
        replicas: ranks that share each stage; replica d of every stage gets the same batches, other
            replicas other ones, and gradients are averaged over the replicas of a stage.
        timeout: seconds after which a silent neighbour counts as dead.
        ahead: steps by which a stage may be ahead of the next one.

    Raises:
        ValueError: the blocks cannot be split over these ranks, which `explain_plan` says
            beforehand; timeout or ahead is out of range.
    """

    def __init__(
        self, local: BlockLocal, *, replicas: int = 1, timeout: float = 60.0, ahead: int = 4
    ) -> None:
        check_number("timeout", timeout, above=True)
        check_integer("ahead", ahead, 0)
        self.local, self.timeout, self.ahead = local, timeout, ahead
        self.plan = make_plan(local, dist.get_world_size(), replicas)
        self.rank = dist.get_rank()
        self._with_buffers = find_buffers(local)
        self.stage, self.replica = self.plan.stage_of(self.rank)
        self.first, self.last = self.plan.stages[self.stage]
        self.is_last = self.stage == len(self.plan.stages) - 1
        if self.replica and local.seed is not None:
            local.seed += self.replica  # replicas draw different numbers
        limit = timedelta(seconds=timeout)
        self._group = dist.new_group(timeout=limit)
        peers = [
            dist.new_group([s * replicas + d for d in range(replicas)], timeout=limit)
            for s in range(len(self.plan.stages))
        ]
        self._peers = peers[self.stage]
        self._stubs: dict[Any, tuple[dict[str, Any], Any]] = {}
        self._sent: deque[tuple[list[Any], list[Tensor]]] = deque()

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of this rank's blocks, with their heads and feedback."""
        return [p for index in range(self.first, self.last + 1) for p in self._owned(index)]

    def __call__(self, *args: Any, target: Tensor, **kwargs: Any) -> PipelineOutput:
        """Run this rank's blocks forward, each with its backward pass. Step the optimizer next.

        Raises:
            DeadRankError: a neighbour has ended or does not answer.
            RuntimeError: the model is not in training mode.
        """
        local, output = self.local, None
        if not local.training:
            raise RuntimeError(
                "a pipeline only trains: to test, call gather(), then the model itself"
            )
        model = without_wrappers(local.model)
        cut = None if self.is_last else self.last
        before = self._before(model, args, kwargs) if self.first else None
        with ExitStack() as stack:
            stack.enter_context(local.step(target, args, kwargs, self.first, cut))
            if before is not None:
                self._enter(model, *before, stack)
            if not self.is_last:
                name = local.split.boundaries[self.last]
                hook = model.get_submodule(name).register_forward_hook(self._leave)
                stack.callback(hook.remove)
            try:
                result = local.finish(local.model(*args, **kwargs))
            except _Stop:
                losses = local.local_losses()
            else:
                scaled = result.losses[-1]
                self._last_backward(result.loss)
                losses, output = (*local.local_losses(), scaled), result.output
        if self.plan.replicas > 1:
            self._average()
        return PipelineOutput(losses[self.first :], output)

    def gather(self) -> None:
        """Send every block's weights and statistics to all ranks, so that each has the whole model.

        Raises:
            DeadRankError: a rank has ended or does not answer.
        """
        self._settle(0)
        for index in range(len(self.local.split.blocks)):
            stage = next(s for s, (a, b) in enumerate(self.plan.stages) if a <= index <= b)
            owner = stage * self.plan.replicas
            for tensor in self._state(index):
                with self._watched(f"rank {owner}"):
                    dist.broadcast(tensor.data, owner, group=self._group)

    def wait_for_all(self) -> None:
        """Return when every rank has called it.

        Raises:
            DeadRankError: a rank has ended or does not answer.
        """
        with self._watched("a rank"):
            dist.barrier(group=self._group)

    def _owned(self, index: int) -> list[nn.Parameter]:
        local = self.local
        inside = local.blocks_of_parameters()[index]
        parts = local.rule.parts(index) if index < len(local.split.boundaries) else []
        return [*inside, *(p for part in parts for p in part.parameters())]

    def _state(self, index: int) -> list[Tensor]:
        """Parameters and buffers of a block, in a fixed order."""
        model, local = without_wrappers(self.local.model), self.local
        modules = [model.get_submodule(name) for name in self._with_buffers[index]]
        parts = local.rule.parts(index) if index < len(local.split.boundaries) else []
        buffers = [b for m in modules for b in m.buffers(recurse=False)]
        return [*self._owned(index), *buffers, *(b for part in parts for b in part.buffers())]

    def _last_backward(self, loss: Tensor) -> None:
        scale = self.local.scale_loss
        (loss if scale is None else scale(loss)).backward()

    def _before(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[dict[str, Any], Any]:
        """The outputs of the modules before this rank's first block, and what it receives; found by
        a call of the whole model when inputs have new shapes."""
        shapes = [tuple(x.shape) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        key = (tuple(shapes), self.local.training)
        if key not in self._stubs:
            entry = self.local.split.boundaries[self.first - 1]
            self._stubs[key] = _outputs_before(model, entry, args, kwargs)
        return self._stubs[key]

    def _enter(
        self, model: nn.Module, outputs: dict[str, Any], received: Any, stack: ExitStack
    ) -> None:
        """Put stubs in the place of everything before this rank's first block."""

        def receive(*_: Any, **__: Any) -> Any:
            value = self._receive(received)
            self.local.draw(self.first)
            return value

        entry = self.local.split.boundaries[self.first - 1]
        stack.enter_context(_replaced(model.get_submodule(entry), receive))
        for name, output in outputs.items():
            stack.enter_context(_replaced(model.get_submodule(name), _returning(output)))

    def _receive(self, like: Any) -> Any:
        leaves, tree = tree_flatten(like)
        source = (self.stage - 1) * self.plan.replicas + self.replica
        found = []
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                arrived = torch.empty_like(leaf, memory_format=torch.contiguous_format)
                with self._watched(f"rank {source}"):
                    dist.recv(arrived, source, group=self._group)
                leaf = torch.empty_like(leaf).copy_(arrived)  # channels_last, if it was so
            found.append(leaf)
        return tree_unflatten(found, tree)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        target = (self.stage + 1) * self.plan.replicas + self.replica
        tensors = [x.contiguous() for x in tree_leaves(output) if isinstance(x, Tensor)]
        with self._watched(f"rank {target}"):
            works = [dist.isend(tensor, target, group=self._group) for tensor in tensors]
        self._sent.append((works, tensors))
        self._settle(self.ahead)
        raise _Stop

    def _settle(self, ahead: int) -> None:
        """Wait until at most `ahead` steps are on their way."""
        while len(self._sent) > ahead:
            works, _ = self._sent.popleft()
            with self._watched("the next rank"):
                for work in works:
                    work.wait()

    def _average(self) -> None:
        for parameter in self.parameters():
            if parameter.grad is not None:
                with self._watched("a replica"):
                    dist.all_reduce(parameter.grad, group=self._peers)
                parameter.grad /= self.plan.replicas

    @contextmanager
    def _watched(self, whom: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise DeadRankError(
                f"rank {self.rank} lost {whom}: it has ended, or did not answer for "
                f"{self.timeout:.0f} s. Start all ranks again from the last checkpoint"
            ) from error


def _outputs_before(
    model: nn.Module, entry: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[str, Any], Any]:
    """Outputs of the largest modules that end before `entry` does, and the output of `entry`."""
    trial = record(model, (args, kwargs))
    position = next(i for i, point in enumerate(trial.points) if point.name == entry)
    ended = {point.name: point.output for point in trial.points[:position]}
    inside = [name for name in ended if any(name.startswith(f"{o}.") for o in (*ended, entry))]
    for name in inside:
        del ended[name]
    return ended, trial.points[position].output


def _returning(output: Any) -> Any:
    """A forward that returns zeros of the shapes of `output`."""
    return lambda *_, **__: tree_map_only(Tensor, torch.zeros_like, output)


@contextmanager
def _replaced(module: nn.Module, forward: Any) -> Iterator[None]:
    """The module with another forward."""
    had = "forward" in vars(module)
    before = module.forward
    module.forward = forward
    try:
        yield
    finally:
        if had:
            module.forward = before
        else:
            del module.forward
