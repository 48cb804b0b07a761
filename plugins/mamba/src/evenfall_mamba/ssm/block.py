"""mamba_ssm's Mamba-2 blocks: packing and adapters, which its fused path ignores."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch

from .called import calling, is_plain


def respecting_its_parts(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the forward of `Mamba2` or `Mamba2Simple`.

    The fused path reads the weights of `conv1d`, `norm` and `out_proj` instead of calling them, so
    adapters and hooks would have no effect: the block then leaves that path. A block that is given
    `cu_seqlens` without `seq_idx` would mix the sequences of its row: `seq_idx` then follows from
    `cu_seqlens`.
    """
    signature = inspect.signature(forward)

    @functools.wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        binding = signature.bind(self, *args, **kwargs)
        bounds = binding.arguments.get("cu_seqlens")
        if bounds is not None and binding.arguments.get("seq_idx") is None:
            numbers = torch.arange(bounds.numel() - 1, device=bounds.device, dtype=torch.int32)
            binding.arguments["seq_idx"] = numbers.repeat_interleave(bounds.diff())[None]
        parts = self.conv1d, self.out_proj, getattr(self, "norm", None)
        if all(part is None or is_plain(part) for part in parts):
            return forward(*binding.args, **binding.kwargs)
        fused, self.use_mem_eff_path = self.use_mem_eff_path, False
        try:
            with calling(None if is_plain(self.conv1d) else self.conv1d):
                return forward(*binding.args, **binding.kwargs)
        finally:
            self.use_mem_eff_path = fused

    return wrapper


def stepping_its_parts(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `Mamba2.step`, which calls every layer but `conv1d`."""

    @functools.wraps(step)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        with calling(None if is_plain(self.conv1d) else self.conv1d):
            return step(self, *args, **kwargs)

    return wrapper
