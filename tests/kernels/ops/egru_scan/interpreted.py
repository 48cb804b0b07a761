"""Run in its own process with TRITON_INTERPRET=1: print the errors of Triton's egru_scan.

Buffers are poisoned with NaN.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from conftest import make_inputs

from evenfall import use_backend
from evenfall.testing.memory import poisoned_memory
from evenfall_kernels import egru_scan

CASES = {
    "odd": ({"batch": 3, "time": 7}, {}),
    "wide": ({"batch": 2, "time": 3, "units": 300}, {}),
    "one step": ({"batch": 1, "time": 1}, {}),
    "no step": ({"batch": 2, "time": 0}, {}),
    "no sequence": ({"batch": 0, "time": 3}, {}),
    "zoneout": ({"batch": 3, "time": 5}, {"zoneout": 0.3}),
    "zoneout mask": ({"batch": 3, "time": 5}, {"zoneout": 0.3, "training": True}),
    "strided": ({"batch": 3, "time": 5, "strided": True}, {}),
    "packed": ({"batch": 1, "time": 12, "sequences": 4}, {"cu_seqlens": [0, 3, 3, 9, 12]}),
}


def _strided(tensor: torch.Tensor) -> torch.Tensor:
    """The same values as every second column of a wider tensor."""
    return torch.stack([tensor, tensor + 9], -1)[..., 0].detach().requires_grad_()


def _run(dtype: torch.dtype, backend: str, sizes: dict, options: dict) -> list[torch.Tensor]:
    sizes = dict(sizes)
    strided = sizes.pop("strided", False)
    p = make_inputs(dtype, **sizes)
    if strided:
        p = {k: _strided(v) if isinstance(v, torch.Tensor) else v for k, v in p.items()}
    options = {k: torch.tensor(v) if isinstance(v, list) else v for k, v in options.items()}
    torch.manual_seed(1)
    with use_backend(backend):
        out = egru_scan(**p, **options, support=3.6, return_events=True, return_cells=True)
    outputs = [out.y, *out.state, out.events, out.cells]
    generator = torch.Generator().manual_seed(2)
    loss = sum((o * torch.randn(o.shape, generator=generator).to(dtype)).sum() for o in outputs)
    leaves = [t for t in p.values() if isinstance(t, torch.Tensor)]
    grads = torch.autograd.grad(
        loss, [*leaves, *p["initial_state"]], allow_unused=True, materialize_grads=True
    )
    return [*outputs, *grads]


def _error(got: torch.Tensor, want: torch.Tensor) -> float:
    if want.numel() == 0:
        return float(got.shape != want.shape)
    return float((got.double() - want).abs().max() / want.abs().max().clamp_min(1e-9))


def main() -> None:
    errors = {}
    for name, (sizes, options) in CASES.items():
        with poisoned_memory():
            got = _run(torch.float32, "triton", sizes, options)
        want = _run(torch.float64, "reference", sizes, options)
        errors[name] = max(_error(a, b) for a, b in zip(got, want, strict=True))
    json.dump(errors, sys.stdout)


if __name__ == "__main__":
    main()
