"""StreamBlock: residual branches, drop path per graph."""

from __future__ import annotations

import copy

import pytest
import torch

from evenfall_stream import StreamBlock, StreamConv

X, POS = torch.randn(9, 6), torch.rand(9, 3)
BATCH = torch.tensor([0] * 4 + [2] * 5)


def test_equals_its_parts() -> None:
    block = StreamBlock(6, mlp_ratio=2.0, d_state=4)
    x = X + block.conv(block.norm(X), POS, BATCH)
    expected = x + block.mlp(block.mlp_norm(x))
    torch.testing.assert_close(block(X, POS, BATCH), expected)
    order = block.conv.serialize(POS, BATCH)
    torch.testing.assert_close(block(X, POS, BATCH, order), expected)


def test_drop_path_leaves_out_whole_graphs() -> None:
    torch.manual_seed(0)
    block = StreamBlock(6, drop_path=0.5)
    whole = block.eval()(X, POS, BATCH) - X
    block.train()
    patterns = set()
    for turn in range(20):
        branch = block(X, POS, BATCH.byte() if turn % 2 else BATCH) - X
        pattern = [bool(branch[rows].any()) for rows in (slice(0, 4), slice(4, 9))]
        expected = (
            torch.tensor(pattern).repeat_interleave(torch.tensor([4, 5]))[:, None] * 2 * whole
        )
        torch.testing.assert_close(branch, expected, rtol=1e-4, atol=1e-5)
        patterns.add(tuple(pattern))
    assert len(patterns) == 4
    assert block(X[:0], POS[:0], BATCH[:0]).shape == (0, 6)
    assert block(X, POS).shape == (9, 6)


def test_reset_parameters_and_width() -> None:
    block = StreamBlock(6, mlp_ratio=0.1)
    before = copy.deepcopy(block.state_dict())
    block.reset_parameters()
    assert not torch.equal(before["mlp.fc1.weight"], block.mlp.fc1.weight)
    assert not torch.equal(before["conv.in_proj.weight"], block.conv.in_proj.weight)
    assert isinstance(block.conv, StreamConv)


def test_options_out_of_range() -> None:
    for options in ({"drop_path": 1.0}, {"drop_path": -0.1}, {"mlp_ratio": -1.0}):
        with pytest.raises(
            ValueError, match=r"drop_path must be in \[0, 1\) and mlp_ratio at least 0"
        ):
            StreamBlock(6, **options)
