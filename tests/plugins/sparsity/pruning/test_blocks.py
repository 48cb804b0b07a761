"""How a matrix is cut into blocks: any order of its axes, gates, smaller blocks at the end."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from evenfall.counting import Matrix
from evenfall_sparsity.pruning.blocks import Grid, check_block


def make_grid(shape: tuple[int, ...], axis: int, gates: int, block: tuple[int, int]) -> Grid:
    return Grid.of(torch.empty(shape), Matrix("weight", axis, gates=gates), block, "weight")


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("block", [(1, 4), (2, 3), (3, 1)])
def test_norms_are_those_of_a_loop_over_blocks(axis: int, block: tuple[int, int]) -> None:
    inputs, gates, outputs = 5, 3, 7
    shape = (inputs, gates * outputs) if axis == 0 else (gates * outputs, inputs)
    weight = torch.randn(shape, dtype=torch.float64)
    grid = make_grid(shape, axis, gates, block)
    norms, stored = grid.norms(weight), weight if axis == 0 else weight.T
    r, c = block
    assert grid.block_shape == (-(-inputs // r), gates, -(-outputs // c), 1)
    for p in range(norms.shape[0]):
        for g in range(gates):
            for q in range(norms.shape[2]):
                columns = slice(
                    g * outputs + q * c, min(g * outputs + (q + 1) * c, (g + 1) * outputs)
                )
                part = stored[p * r : (p + 1) * r, columns]
                assert torch.allclose(norms[p, g, q, 0], part.norm())


def test_published_sizes_pad_each_gate() -> None:
    """1350 = 84 x 16 + 6."""
    grid = make_grid((1350, 4050), 0, 3, (1, 16))
    assert grid.block_shape == (1350, 3, 85, 1)
    blocks = torch.zeros(grid.block_shape, dtype=torch.bool)
    blocks[0, 0, 84] = True
    assert grid.spread(blocks)[0].nonzero().flatten().tolist() == list(range(1344, 1350))


@pytest.mark.parametrize(
    ("shape", "axis"), [((6, 10), 0), ((6, 10), 1), ((6, 4, 3), 1), ((6, 4, 3, 2), 1)]
)
def test_spread_gives_each_weight_the_value_of_its_block(shape: tuple[int, ...], axis: int) -> None:
    grid = make_grid(shape, axis, 1, (2, 4))
    numbers = torch.arange(torch.Size(grid.block_shape).numel()).reshape(grid.block_shape)
    spread = grid.spread(numbers)
    assert spread.shape == shape
    sizes = grid.sums(torch.ones(shape))
    for number, size in zip(numbers.flatten(), sizes.flatten(), strict=True):
        assert (spread == number).sum() == size
    rows = spread.movedim(axis, 0)
    assert (rows[0] == rows[1]).all()
    assert not (rows[1] == rows[2]).any()


def test_join_is_the_inverse_of_split() -> None:
    for shape, axis in (((6, 9), 0), ((9, 6), 1), ((4, 6, 3, 3), 1)):
        weight = torch.randn(shape)
        grid = make_grid(shape, axis, 1, (1, 1))
        assert torch.equal(grid.join(grid.split(weight)), weight)


@pytest.mark.parametrize("block", [(1, 8), (6, 1)])
def test_block_larger_than_the_matrix_is_an_error(block: tuple[int, int]) -> None:
    words = "does not fit weight, which has 5 inputs and 7 outputs of a gate"
    with pytest.raises(ValueError, match=words):
        make_grid((5, 21), 0, 3, block)


@pytest.mark.parametrize("block", [(0, 1), (1,), 16, (1, 2.0), "1x", "x16", "1x-6", (1, True)])
def test_block_is_two_positive_integers(block: object) -> None:
    with pytest.raises(ValueError, match="block must be two positive integers"):
        check_block(block)


def test_block_as_text() -> None:
    assert check_block("1x16") == check_block([1, 16]) == (1, 16)
