"""The operations of Mamba's mixers, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import evenfall
from evenfall.counting import count_operations, list_matrices

NAMES = ["in_proj", "conv1d", "x_proj", "dt_proj", "out_proj"]


@pytest.fixture
def model() -> Any:
    config = transformers.MambaConfig(
        vocab_size=16, hidden_size=8, state_size=4, num_hidden_layers=1, conv_kernel=3,
        time_step_rank=2,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.MambaForCausalLM(config).eval()


def test_operations_with_and_without_the_patch(model: Any) -> None:
    ids = torch.tensor([[1, 2, 3, 4, 5]])
    inner = 16
    want = 8 * 2 * inner + 3 * inner + inner * (2 + 8) + 2 * inner + inner * 8
    for patched in (False, True):
        if patched:
            with evenfall.patch("mamba"):
                count = count_operations(model.backbone, ids)
        else:
            count = count_operations(model.backbone, ids)
        mixer = count.modules["layers.0.mixer"]
        assert mixer.dense_macs == mixer.effective_macs == 5 * want
        assert "layers.0.mixer" not in count.unknown


def test_matrices_belong_to_the_parts_of_a_mixer(model: Any) -> None:
    found = [one for one in list_matrices(model.backbone) if one.module == "layers.0.mixer"]
    assert [one.name for one in found] == [f"layers.0.mixer.{name}.weight" for name in NAMES]
    mixer = model.backbone.layers[0].mixer
    assert [one.holder for one in found] == [getattr(mixer, name) for name in NAMES]


def test_zero_weights_are_skipped(model: Any) -> None:
    with torch.no_grad():
        model.backbone.layers[0].mixer.x_proj.weight[:5] = 0
    count = count_operations(model.backbone, torch.tensor([[1, 2]]))
    (product,) = count.products["layers.0.mixer.x_proj.weight"]
    assert product.operations.effective_macs * 2 == product.operations.dense_macs


def test_adapter_inside_a_mixer_is_no_silent_figure(model: Any) -> None:
    class Adapted(torch.nn.Linear):
        pass

    model.backbone.layers[0].mixer.in_proj = Adapted(8, 32)
    with pytest.raises(ValueError, match="its in_proj is a Adapted, such as an adapter"):
        count_operations(model.backbone, torch.tensor([[1, 2]]))
