"""BlockLocalTask: block-local learning as a task of timm."""

from __future__ import annotations

from typing import Any

import torch
from timm.task import TrainingTask
from torch import Tensor, nn

from ..local import BlockLocal


class BlockLocalTask(TrainingTask):
    """A timm TrainingTask around a BlockLocal.

    The optimizer, clipping and the moving average see the model and its heads. The state_dict of a
    checkpoint is the plain model's; the heads are in its task state.

    Args:
        local: the blocks.
        device, dtype, verbose: as in TrainingTask.
    """

    def __init__(
        self,
        local: BlockLocal,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        verbose: bool = True,
    ) -> None:
        super().__init__(device=device, dtype=dtype, verbose=verbose)
        self.trainable_module = local

    def forward(self, input: Tensor, target: Tensor) -> dict[str, Tensor]:
        """{"loss", "output"}; in training, the blocks before the last one have had their backward
        pass. In eval mode, the loss is that of the last block."""
        result = self.trainable_module(input, target=target)
        if not self.trainable_module.training:
            return {"loss": self.trainable_module.last_loss(result, target), "output": result}
        return {"loss": result.loss, "output": result.output}

    def prepare_distributed(self, device_ids: Any = None, **kwargs: Any) -> BlockLocalTask:
        """Refused: DistributedDataParallel cannot wrap backward passes in its forward pass.

        Raises:
            NotImplementedError: always; `evenfall_blocklocal.processes` trains with several.
        """
        raise NotImplementedError(
            "DistributedDataParallel does not support backward passes inside of the forward pass; "
            "use evenfall_blocklocal.processes for several processes"
        )

    def compile(self, backend: str = "inductor", mode: str | None = None, **options: Any) -> None:
        """Compile the model part by part, so that backward passes stay between the parts."""
        self.trainable_module.compile_parts(backend=backend, mode=mode, **options)

    def get_eval_model(self, module: nn.Module | None = None, ema: bool = False) -> Any:
        """The plain model, for validation and checkpoints; after `compile_ema` the compiled one."""
        found = super().get_eval_model(module, ema)
        found = getattr(found, "module", found)  # timm's moving average wraps it
        return found.model if isinstance(found, BlockLocal) else found

    def get_task_state(self, module: nn.Module | None = None, ema: bool = False) -> dict[str, Any]:
        """Heads, feedback and the number of steps."""
        local = self._local(module, ema)
        return {"rule": local.rule.state_dict(), "steps": local.steps}

    def load_task_state(
        self,
        state: dict[str, Any] | None,
        strict: bool = True,
        module: nn.Module | None = None,
        ema: bool = False,
    ) -> None:
        """Load what `get_task_state` returned."""
        if state is not None:
            local = self._local(module, ema)
            local.rule.load_state_dict(state["rule"], strict=strict)
            local.steps = int(state["steps"])

    def _local(self, module: nn.Module | None, ema: bool) -> BlockLocal:
        found: Any = self.get_trainable_module(ema) if module is None else module
        return getattr(found, "module", found)
