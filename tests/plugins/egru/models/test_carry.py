"""What a call passes to the next: y and h, or only y as in the released library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")


def by_hand(model: Any, ids: torch.Tensor, window: int) -> torch.Tensor:
    """y of the last layer by the published equations, with h = 0 at the start of each window."""
    x = model.model.embed_tokens(ids)  # (B, T, E)
    for layer in model.model.layers:
        y = x.new_zeros(len(x), layer.units)
        outputs = []
        for t in range(x.shape[1]):
            if t % window == 0:
                h = torch.zeros_like(y)
            px = (x[:, t] @ layer.kernel + layer.bias).chunk(3, 1)
            py = (y @ layer.recurrent_kernel + layer.recurrent_bias).chunk(3, 1)
            z, r = torch.sigmoid(px[0] + py[0]), torch.sigmoid(px[1] + py[1])
            g = torch.tanh(px[2] + r * py[2])
            c = z * h + (1 - z) * g
            o = (c > layer.threshold.clamp(0, 1)).to(c.dtype)
            y, h = o * c, c - o * layer.threshold.clamp(0, 1)
            outputs.append(y)
        x = torch.stack(outputs, 1)
    return x


def in_windows(model: Any, ids: torch.Tensor, window: int) -> torch.Tensor:
    cache, outputs = None, []
    for piece in ids.split(window, dim=1):
        out = model.model(piece, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        outputs.append(out.last_hidden_state)
    return torch.cat(outputs, 1)


@torch.no_grad()
@pytest.mark.parametrize("window", [1, 5, 17])
def test_output_carry_is_the_released_protocol(
    make_egru: Callable[..., Any], ids: torch.Tensor, window: int
) -> None:
    model = make_egru(carry="output", threshold_mean=0.2)
    want = by_hand(model, ids, window)
    assert 0.02 < float((want != 0).float().mean()) < 0.98
    torch.testing.assert_close(in_windows(model, ids, window), want, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_full_carry_does_not_depend_on_the_window(
    make_egru: Callable[..., Any], ids: torch.Tensor
) -> None:
    model = make_egru(threshold_mean=0.2)
    want = by_hand(model, ids, ids.shape[1])
    torch.testing.assert_close(in_windows(model, ids, 5), want, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(by_hand(model, ids, 5), want, atol=1e-4)
