"""The ways in which transformers and accelerate make a model: dtypes, meta device, offloading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
accelerate = pytest.importorskip("accelerate")

from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from evenfall_egru import EgruConfig, EgruForCausalLM, RnnConfig, RnnForCausalLM

SIZES = {"vocab_size": 41, "embedding_size": 12, "hidden_sizes": [20, 12]}
SOME_ON_DISK = {
    "model.embed_tokens": "cpu", "model.layers.0": "disk", "model.layers.1": "disk",
    "lm_head": "cpu",
}  # fmt: skip
MAPS = [SOME_ON_DISK, {"model": "disk", "lm_head": "disk"}, {"": "disk"}]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def saved(make_egru: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model and the folder that it was saved to."""
    folder, model = tmp_path_factory.mktemp("saved"), make_egru()
    model.save_pretrained(folder)
    return model, folder


@torch.no_grad()
def assert_same(model: Any, want: Any) -> None:
    """Check logits and generated tokens."""
    ids = torch.arange(9)[None]
    assert torch.equal(model(ids).logits, want(ids).logits)
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(model.generate(ids, **options), want.generate(ids, **options))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, "bfloat16"])
@pytest.mark.parametrize(
    "auto",
    [
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
    ],
)
def test_a_new_model_has_the_dtype_that_is_asked_for(auto: Any, dtype: Any) -> None:
    torch.manual_seed(0)
    sizes = {"embedding_size": 12, "hidden_sizes": [300, 12]}
    model = auto.from_config(EgruConfig(vocab_size=41, **sizes, threshold_mean=0.2), dtype=dtype)
    kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    for name, weight in model.state_dict().items():
        assert weight.dtype == kind, name
        assert bool(torch.isfinite(weight).all()), name
        if name.endswith("layers.0.threshold"):
            assert bool(((weight >= 0) & (weight <= 1)).all())
            assert float(weight.double().mean()) == pytest.approx(0.2, abs=0.05)
    assert bool(torch.isfinite(model.eval()(torch.arange(6)[None])[0]).all())


def test_from_pretrained_takes_its_arguments_by_name(saved: Any) -> None:
    want, folder = saved
    for loader in (EgruForCausalLM, AutoModelForCausalLM):
        assert_same(loader.from_pretrained(pretrained_model_name_or_path=folder), want)
    weights = want.state_dict()
    assert_same(EgruForCausalLM.from_pretrained(None, config=want.config, state_dict=weights), want)


def test_models_on_the_meta_device(saved: Any) -> None:
    want, folder = saved
    with torch.device("meta"):
        model = EgruForCausalLM(want.config)
        assert AutoModelForCausalLM.from_config(want.config, dtype=torch.float16).device.type == (
            "meta"
        )
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    model.to_empty(device="cpu").load_state_dict(want.state_dict())
    model.tie_weights()
    assert_same(model.eval(), want)
    on_meta = EgruForCausalLM.from_pretrained(folder, device_map="meta")
    assert on_meta.device.type == "meta"


def test_init_empty_weights(saved: Any) -> None:
    want, folder = saved
    with accelerate.init_empty_weights():
        model = EgruForCausalLM(want.config)
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    model.tie_weights()
    assert_same(accelerate.load_checkpoint_and_dispatch(model, folder, device_map="auto"), want)


@pytest.mark.parametrize("device_map", MAPS)
def test_weights_may_stay_on_disk(saved: Any, device_map: Any, tmp_path: Path) -> None:
    want, folder = saved
    model = AutoModelForCausalLM.from_pretrained(
        folder, device_map=device_map, offload_folder=tmp_path / "offload"
    )
    assert any(weight.is_meta for weight in model.parameters())
    assert_same(model, want)
    model.save_pretrained(tmp_path / "again")
    assert_same(AutoModelForCausalLM.from_pretrained(tmp_path / "again"), want)


def test_weights_of_a_baseline_may_stay_on_disk(tmp_path: Path) -> None:
    torch.manual_seed(0)
    want = RnnForCausalLM(RnnConfig(**SIZES)).eval()
    want.save_pretrained(tmp_path / "saved")
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path / "saved", device_map=SOME_ON_DISK, offload_folder=tmp_path / "offload"
    )
    assert_same(model, want)


def test_what_does_not_fit_in_memory_stays_on_disk(saved: Any, tmp_path: Path) -> None:
    want, folder = saved
    model = AutoModelForCausalLM.from_pretrained(
        folder, device_map="auto", max_memory={"cpu": 5000}, offload_folder=tmp_path
    )
    assert "disk" in model.hf_device_map.values()
    assert_same(model, want)


@pytest.mark.parametrize("device_map", [None, "cpu", *MAPS])
def test_values_that_are_not_finite_are_found_wherever_they_are(
    saved: Any, device_map: Any, tmp_path: Path
) -> None:
    want, folder = saved
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.kernel"][3, 5] = torch.nan
    want.config.save_pretrained(tmp_path)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"not finite, in \['model.layers.1.kernel'\]"):
        AutoModelForCausalLM.from_pretrained(
            tmp_path, device_map=device_map, offload_folder=tmp_path / "offload"
        )


def test_initial_weights_of_gate_z_and_of_the_first_kernel_are_scaled() -> None:
    made = []
    for changes in ({}, {"input_gain": 4.0, "chrono_init": 100}):
        torch.manual_seed(0)
        made.append(EgruForCausalLM(EgruConfig(**{**SIZES, **changes})).model.layers)
    (plain, _), (layer, second) = made
    torch.testing.assert_close(layer.kernel, 4 * plain.kernel)
    assert second.kernel.std() < 2 * (2 / sum(second.kernel.shape)) ** 0.5
    for one in (layer, second):
        steps = one.bias[: one.units].exp()
        assert 1 <= steps.min() < steps.max() <= 99
        assert steps.max() > 50
        assert not one.bias[one.units :].any()
    assert not plain.bias.any()
