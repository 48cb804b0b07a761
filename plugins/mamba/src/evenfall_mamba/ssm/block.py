"""The forward of mamba_ssm's Mamba-2 blocks: packing and adapters that its fused path ignores."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch

from .parts import is_plain


def respecting_its_parts(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the forward of `Mamba2` or `Mamba2Simple`.

    The fused path reads the weight of `out_proj` instead of calling it, so adapters and hooks would
    have no effect: the block then leaves that path. A block that is given `cu_seqlens` without
    `seq_idx` would mix the sequences of its row: `seq_idx` then follows from `cu_seqlens`.
    """
    signature = inspect.signature(forward)

    @functools.wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        binding = signature.bind(self, *args, **kwargs)
        bounds = binding.arguments.get("cu_seqlens")
        if bounds is not None and binding.arguments.get("seq_idx") is None:
            numbers = torch.arange(bounds.numel() - 1, device=bounds.device, dtype=torch.int32)
            binding.arguments["seq_idx"] = numbers.repeat_interleave(bounds.diff())[None]
        if not self.use_mem_eff_path or is_plain(self.out_proj):
            return forward(*binding.args, **binding.kwargs)
        self.use_mem_eff_path = False
        try:
            return forward(*binding.args, **binding.kwargs)
        finally:
            self.use_mem_eff_path = True

    return wrapper
