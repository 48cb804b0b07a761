"""An EGRU model becomes a graph that computes what it computes, or is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from evenfall.errors import LoweringError
from evenfall.exporting import lower
from evenfall.graph import Dense, Egru, Embedding, Graph, Input, Readout
from evenfall_egru import (
    EgruConfig,
    EgruForCausalLM,
    EgruForSequenceClassification,
    EgruModel,
    RnnConfig,
    RnnForCausalLM,
)


def config(**changes: Any) -> EgruConfig:
    return EgruConfig(**{"vocab_size": 11, "embedding_size": 6, "hidden_sizes": [9, 6]} | changes)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def run(graph: Graph, steps: np.ndarray) -> np.ndarray:
    """What the graph states, in float64: steps are tokens (T,) or values (T, I)."""
    x = steps
    for name in graph.order():
        layer = graph.layers[name]
        if isinstance(layer, Embedding):
            x = layer.weight.astype(np.float64)[x]
        elif isinstance(layer, Dense):
            x = x @ layer.weight.T.astype(np.float64) + (0 if layer.bias is None else layer.bias)
        elif isinstance(layer, Egru):
            x = run_egru(layer, x)
        else:
            assert isinstance(layer, Input | Readout)
    return x


def run_egru(layer: Egru, x: np.ndarray) -> np.ndarray:
    y = h = np.zeros(len(layer.threshold))
    out = []
    for step in x:
        z, r, g = np.split(step @ layer.kernel.astype(np.float64) + layer.bias, 3)
        sz, sr, sg = np.split(
            y @ layer.recurrent_kernel.astype(np.float64) + layer.recurrent_bias, 3
        )
        z, r = sigmoid(z + sz), sigmoid(r + sr)
        c = z * h + (1 - z) * np.tanh(g + r * sg)
        c = layer.zoneout * h + (1 - layer.zoneout) * c
        fired = c > layer.threshold
        y, h = fired * c, c - fired * layer.threshold
        out.append(y)
    return np.array(out)


@pytest.mark.parametrize(
    "changes", [{}, {"hidden_sizes": [9, 7]}, {"zoneout": 0.2}], ids=["tied", "projection", "zone"]
)
def test_language_model_computes_the_same(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = EgruForCausalLM(config(**changes)).eval()
    with torch.no_grad():
        model.model.layers[0].kernel[:, ::2] = 0  # pruned
        model.model.layers[0].threshold[0] = -0.5  # clamped to 0 in forward
    tokens = torch.randint(0, 11, (40,))
    with torch.no_grad():
        wanted = model(tokens[None]).logits[0].numpy()
    graph = lower(model)
    np.testing.assert_allclose(run(graph, tokens.numpy()), wanted, atol=1e-5)
    assert graph.metadata["name"] == "EgruForCausalLM"


@pytest.mark.parametrize("vocabulary", [0, 1])
def test_classifier_reads_the_last_step_and_keeps_its_labels(vocabulary: int) -> None:
    torch.manual_seed(0)
    labels = {0: "no", 1: "yes", 2: "maybe"}
    model = EgruForSequenceClassification(config(vocab_size=vocabulary, id2label=labels)).eval()
    x = torch.randn(12, 6)
    with torch.no_grad():
        wanted = model(inputs_embeds=x[None]).logits[0].numpy()
    graph = lower(model)
    assert graph.layers["model.inputs_embeds"].content == "values"
    assert graph.layers["logits"].steps == "last"
    assert graph.layers["logits"].labels == ("no", "yes", "maybe")
    np.testing.assert_allclose(run(graph, x.double().numpy())[-1], wanted, atol=1e-5)


def test_bare_model_reads_out_its_last_layer() -> None:
    assert lower(EgruModel(config())).sources("last_hidden_state") == ["layers.1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "paper"}, "variant 'paper' multiplies r and y before the product"),
        ({"carry": "output"}, "carry 'output' resets h at each call"),
    ],
)
def test_what_cannot_be_exported_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        lower(EgruForCausalLM(config(**changes)))


def test_replaced_head_is_refused() -> None:
    model = EgruForCausalLM(config())
    model.lm_head = torch.nn.Sequential(torch.nn.Linear(6, 11))
    want = "lm_head is a Sequential, want Linear or EgruDecoder"
    with pytest.raises(LoweringError, match=want):
        lower(model)


def test_nan_weight_is_refused() -> None:
    model = EgruForCausalLM(config())
    with torch.no_grad():
        model.model.layers[1].recurrent_kernel[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"Egru.recurrent_kernel: 1 of 108 values are NaN"):
        lower(model)


def test_other_cells_are_refused() -> None:
    sizes = {"vocab_size": 11, "embedding_size": 6, "hidden_sizes": [9, 6]}
    with pytest.raises(LoweringError, match=r"EGRU: layers.0 is a RnnLayer, want EgruLayer"):
        lower(RnnForCausalLM(RnnConfig(**sizes)))
    with pytest.raises(LoweringError, match=r"embed_tokens.weight is on the device 'meta'"):
        lower(EgruForCausalLM(config()).to("meta"))
