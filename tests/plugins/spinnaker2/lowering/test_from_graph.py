"""What a graph becomes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from evenfall.errors import LoweringError
from evenfall.graph import Dense, Flatten, If, Input, Readout, SumPool
from evenfall_spinnaker2.lowering.from_graph import make_network

from .. import networks


def test_a_pooling_before_the_decoder_says_where_the_decoder_fits() -> None:
    ones = np.ones((1, 2, 2))
    graph = networks.chain(
        ("input", Input((1, 2, 2), "events")), ("if", If(ones, ones, 0 * ones)),
        ("pool", SumPool((2, 2), (2, 2))), ("flat", Flatten()), ("fc", Dense(np.ones((3, 1)))),
        ("out", Readout()),
    )  # fmt: skip
    with pytest.raises(LoweringError, match=r"reads 'pool', which has no .* decoder='chip' puts"):
        make_network(graph)
    assert make_network(graph, decoder="chip").outputs[0].population == "fc"
