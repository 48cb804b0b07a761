"""EGRU models in int8, bfloat16 and float16: results, saving, loading, memory, and errors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import prune
from transformers import AutoModel, AutoModelForCausalLM

from evenfall.counting import count_operations
from evenfall.exporting import lower
from evenfall_egru import (
    EgruForSequenceClassification,
    EgruModel,
    EgruQuantizationConfig,
    RnnConfig,
    RnnForCausalLM,
    quantize,
)
from evenfall_egru.evaluation.macs import count_macs
from evenfall_egru.publish.folder import save_for_hub
from evenfall_egru.quantization import StoredEmbedding
from evenfall_kernels import StoredMatrix, quantize_rows

Make = Callable[..., Any]
LAYERS = [f"model.layers.{n}.{kind}" for n in (0, 1) for kind in ("kernel", "recurrent_kernel")]
BYTES = {"int8": 1, "bfloat16": 2, "float16": 2}


@pytest.fixture
def make(make_egru: Make) -> Make:
    """A function that makes an EGRU whose units fire."""

    def make(*kind: type, **settings: Any) -> Any:
        model = make_egru(*kind, **settings)
        with torch.no_grad():
            model.base_model.embed_tokens.weight.mul_(4)
        return model

    return make


def logits(model: Any, ids: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(ids).logits
    return found


def text(model: Any, ids: Tensor) -> list[list[int]]:
    return model.generate(ids, max_new_tokens=8, do_sample=False).tolist()


def rounded(weights: str, matrix: Tensor) -> Tensor:
    """The weights (inputs, outputs) that a matrix stands for once it is stored."""
    if weights == "int8":
        values, scale = quantize_rows(matrix)
        return values.float() * scale[:, None]
    return matrix.to(getattr(torch, weights)).float()


def rounded_model(make: Make, weights: str, **settings: Any) -> Any:
    """Ordinary parameters with the values that the stored ones have."""
    model = make(**settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if name in LAYERS:
                parameter.copy_(rounded(weights, parameter))
            elif name.endswith("weight"):  # rounding twice changes nothing more
                parameter.copy_(rounded(weights, parameter.t()).t())
    return model


@pytest.mark.parametrize("weights", ["int8", "bfloat16", "float16"])
@pytest.mark.parametrize("tied", [True, False])
def test_prompts_tokens_and_batches_compute_with_the_rounded_weights(
    make: Make, ids: Tensor, weights: str, tied: bool
) -> None:
    want = rounded_model(make, weights, tie_word_embeddings=tied)
    model = quantize(make(tie_word_embeddings=tied), weights)
    torch.testing.assert_close(logits(model, ids), logits(want, ids), rtol=1e-4, atol=1e-4)
    assert text(model, ids[:1]) == text(want, ids[:1])
    assert model._token_step._prepared is not None  # the one compiled call ran
    assert text(model, ids) == text(want, ids)


@pytest.mark.parametrize("weights", ["int8", "bfloat16"])
def test_the_loss_of_padding_and_events(make: Make, ids: Tensor, weights: str) -> None:
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    options = {"attention_mask": mask, "labels": ids, "output_events": True}
    with torch.no_grad():
        want = rounded_model(make, weights)(ids, **options)
        got = quantize(make(), weights)(ids, **options)
        summed = quantize(make(), weights)(ids, skip_logits=True, **options)
    torch.testing.assert_close((got.loss, got.activity), (want.loss, want.activity))
    torch.testing.assert_close(summed.loss, want.loss)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("weights", ["int8", "bfloat16"])
def test_a_folder_has_small_files_and_loads_by_automodel(
    make: Make, ids: Tensor, tmp_path: Path, weights: str, tied: bool
) -> None:
    model = quantize(make(tie_word_embeddings=tied), weights)
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    stored = {n: t for n, t in tensors.items() if n.endswith(".values")}
    assert len(stored) == (5 if tied else 6)
    assert {t.dtype for t in stored.values()} == {getattr(torch, weights)}
    matrices = 12 * 60 + 20 * 60 + 20 * 36 + 12 * 36 + 12 * 41 * (1 if tied else 2)
    assert sum(t.nbytes for t in stored.values()) == BYTES[weights] * matrices
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again, ids), logits(model, ids))
    assert text(again, ids[:1]) == text(model, ids[:1])
    again.save_pretrained(tmp_path / "twice")
    assert load_file(tmp_path / "twice/model.safetensors").keys() == tensors.keys()


def test_from_pretrained_quantises_and_needs_nothing_else(
    make: Make, ids: Tensor, tmp_path: Path
) -> None:
    make().save_pretrained(tmp_path)
    config = EgruQuantizationConfig("int8")
    model = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config)
    assert torch.equal(logits(model, ids), logits(quantize(make()), ids))
    assert model.is_quantized
    config = {"quant_method": "evenfall-egru", "weights": "int8"}
    model = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config)
    assert torch.equal(logits(model, ids), logits(quantize(make()), ids))


def test_memory_has_no_copy_of_the_weights(make: Make, ids: Tensor) -> None:
    model = quantize(make())
    text(model, ids[:1])
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.lm_head._by_unit._saved is None
    assert {n for n, _ in model.named_parameters() if n.endswith(("kernel", "weight"))} == set()
    assert len([m for m in model.modules() if isinstance(m, StoredMatrix)]) == 5


def test_copies_are_independent(make: Make, ids: Tensor) -> None:
    model = quantize(make())
    want = text(model, ids[:1])
    other = copy.deepcopy(model)
    assert other.lm_head.weight is other.model.embed_tokens.weight
    assert other.lm_head.weight is not model.lm_head.weight
    other.model.embed_tokens.weight.values.zero_()
    assert text(model, ids[:1]) == want


@pytest.mark.parametrize("tied", [True, False])
def test_dequantize_gives_trainable_parameters_back(
    make: Make, ids: Tensor, tmp_path: Path, tied: bool
) -> None:
    want = rounded_model(make, "int8", tie_word_embeddings=tied)
    model = quantize(make(tie_word_embeddings=tied)).dequantize()
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert model.state_dict().keys() == want.state_dict().keys()
    torch.testing.assert_close(model.state_dict(), want.state_dict())
    model.train()(ids, labels=ids).loss.backward()
    model.save_pretrained(tmp_path)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(again, ids), logits(want, ids))
    assert not quantize(model).training  # and again


def test_base_model_and_classifier(make: Make, ids: Tensor, tmp_path: Path) -> None:
    quantize(make()).save_pretrained(tmp_path)
    base = AutoModel.from_pretrained(tmp_path)
    assert isinstance(base, EgruModel)
    assert isinstance(base.embed_tokens, StoredEmbedding)
    model = make(EgruForSequenceClassification, num_labels=3)
    want = logits(model, ids)
    quantize(model).save_pretrained(tmp_path / "classifier")
    again = EgruForSequenceClassification.from_pretrained(tmp_path / "classifier")
    assert torch.equal(logits(again, ids), logits(model, ids))
    assert 0 < (logits(model, ids) - want).abs().max() < 0.1
    frames = make_frames_model(make)
    with torch.no_grad():
        assert frames(inputs_embeds=torch.randn(1, 5, 12)).last_hidden_state.shape == (1, 5, 12)


def make_frames_model(make: Make) -> Any:
    """A quantised model without an embedding."""
    from evenfall_egru import EgruConfig

    sizes = {"embedding_size": 12, "hidden_sizes": [20, 12]}
    return quantize(EgruModel(EgruConfig(vocab_size=0, **sizes)).eval())


@pytest.mark.parametrize(
    ("skipped", "left"),
    [
        (["lm_head"], {"embed_tokens", "lm_head"}),  # they are tied
        (["model.embed_tokens"], {"embed_tokens", "lm_head"}),
        (["model.layers.0"], {"0"}),
        (["model.layers"], {"0", "1"}),
        (["layers"], {"0", "1"}),
        (["layers.1"], {"1"}),
        ([r"model\.layers\.[0-9]"], {"0", "1"}),
        (["head"], {"embed_tokens", "lm_head"}),  # as elsewhere in transformers
        (["model"], {"0", "1", "embed_tokens", "lm_head"}),
    ],
)
def test_modules_that_are_left_as_they_are(
    make: Make, ids: Tensor, tmp_path: Path, skipped: list[str], left: set[str]
) -> None:
    model = quantize(make(), modules_to_not_convert=skipped)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    kept = {n.split(".")[-2] for n in parameters if n.endswith(("kernel", "weight"))}
    assert kept == left
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again, ids), logits(model, ids))
    assert text(again, ids[:1]) == text(model, ids[:1])
    base = AutoModel.from_pretrained(tmp_path)
    with torch.no_grad():
        got, want = base(ids).last_hidden_state, model.model(ids).last_hidden_state
    assert torch.equal(got, want)


def test_untied_modules_are_left_alone(make: Make) -> None:
    model = make(tie_word_embeddings=False)
    quantize(model, modules_to_not_convert=["lm_head"])
    assert isinstance(model.lm_head.weight, nn.Parameter)
    assert isinstance(model.model.embed_tokens, StoredEmbedding)


def test_weights_that_were_untied_by_hand_stay_two(make: Make, ids: Tensor, tmp_path: Path) -> None:
    model = make()
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach() * 0.5)
    want = logits(model, ids)
    quantize(model).save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again, ids), logits(model, ids))
    assert (logits(model, ids) - want).abs().max() < 0.1


def test_scales_are_float32_in_a_model_loaded_in_bfloat16(
    make: Make, ids: Tensor, tmp_path: Path
) -> None:
    quantize(make()).save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert model.lm_head.bias.dtype == torch.bfloat16
    assert {m.scale.dtype for m in model.modules() if isinstance(m, StoredMatrix)} == {
        torch.float32
    }
    torch.testing.assert_close(logits(model, ids), logits(quantize(make()), ids), rtol=0, atol=0.02)


def test_a_folder_for_the_hub_keeps_the_stored_weights(make: Make, tmp_path: Path) -> None:
    class Tokenizer:
        def save_pretrained(self, folder: Path) -> None:
            """Nothing to save."""

    model = quantize(make())
    with pytest.raises(ValueError, match="must be None for a quantised model"):
        save_for_hub(model, Tokenizer(), tmp_path / "no", dtype=torch.bfloat16)
    save_for_hub(model, Tokenizer(), tmp_path / "hub")
    assert load_file(tmp_path / "hub/model.safetensors").keys() == model.state_dict().keys()


def test_other_words_need_parameters(make: Make) -> None:
    model = quantize(make())
    with pytest.raises(ValueError, match="call dequantize"):
        model.resize_token_embeddings(50)
    with pytest.raises(ValueError, match="not supported for quantized"):
        model.half()
    assert model.dequantize().resize_token_embeddings(50).num_embeddings == 50


class Logits(nn.Module):
    """A model as tracers take it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.model(ids, use_cache=False).logits
        return found


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_recorded_graphs_hold_for_other_words(make: Make, ids: Tensor) -> None:
    model = quantize(make())
    with torch.no_grad():
        traced = torch.jit.trace(Logits(model), ids[:1], check_trace=False)
        exported = torch.export.export(Logits(model), (ids[:1],)).module()
        for graph in (traced, exported):
            torch.testing.assert_close(graph(ids[1:2]), logits(model, ids[1:2]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [1, 5])  # few vectors are multiplied by another operation
def test_onnx_file_gives_the_same(make: Make, ids: Tensor, tmp_path: Path, steps: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model, inputs, file = Logits(quantize(make())).eval(), ids[:1, :steps], tmp_path / "model.onnx"
    torch.onnx.export(model, (inputs,), file, dynamo=False, input_names=["ids"])
    (got,) = runtime.InferenceSession(file).run(None, {"ids": inputs.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), logits(model.model, inputs))


def test_training_is_refused(make: Make, ids: Tensor) -> None:
    with pytest.raises(ValueError, match="a quantised or compressed model cannot be trained"):
        quantize(make()).train()(ids, labels=ids)


def prune_by_torch(model: Any) -> None:
    prune.l1_unstructured(model.model.layers[0], "kernel", 0.5)


def replace_decoder(model: Any) -> None:
    model.lm_head = nn.Linear(12, 41)


def spoil(model: Any) -> None:
    model.lm_head.bias.data[3] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (quantize, "compressed or quantised already"),
        (prune_by_torch, r"layers.0.kernel is computed from other parameters"),
        (replace_decoder, "lm_head must be EgruDecoder, got Linear; an adapter must"),
        (spoil, r"not finite, in \['lm_head.bias'\]"),
    ],
)
def test_models_that_cannot_be_quantised(make: Make, change: Any, message: str) -> None:
    model = make()
    change(model)
    before = [name for name, _ in model.named_modules()]
    with pytest.raises(ValueError, match=message):
        quantize(model)
    assert [name for name, _ in model.named_modules()] == before


def test_other_models_and_settings_are_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="must be an EGRU model of transformers, got Linear"):
        quantize(nn.Linear(3, 4))
    rnn = RnnForCausalLM(RnnConfig(vocab_size=41, embedding_size=12, hidden_sizes=[20, 12]))
    with pytest.raises(TypeError, match="must be an EGRU model of transformers, got RnnForCausalL"):
        quantize(rnn)
    with pytest.raises(ValueError, match=r"weights must be one of int8, .*, got 'int4'"):
        quantize(make(), "int4")
    with pytest.raises(TypeError, match="must be a list of names, got 'lm_head'"):
        quantize(make(), modules_to_not_convert="lm_head")
    with pytest.raises(ValueError, match=r"no module 'layers\.2'. Closest: 'model.layers"):
        quantize(make(), modules_to_not_convert=["layers.2"])
    with pytest.raises(ValueError, match=r"'\[' is not a regular expression"):
        quantize(make(), modules_to_not_convert=["["])
    with pytest.raises(ValueError, match="quant_method must be 'evenfall-egru', got 'gptq'"):
        EgruQuantizationConfig(quant_method="gptq")


def test_names_are_found_when_a_folder_is_quantised(make: Make, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    config = EgruQuantizationConfig(modules_to_not_convert=["layers.1"])
    model = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config)
    assert model.config.quantization_config.modules_to_not_convert == ["model.layers.1"]
    assert config.modules_to_not_convert == ["layers.1"]  # the argument is not changed
    config = EgruQuantizationConfig(modules_to_not_convert=["layers.7"])
    with pytest.raises(ValueError, match=r"no module 'layers\.7'"):
        AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"quant_method": "gptq"}, "method 'gptq' quantises torch.nn.Linear"),
        ({"quant_method": "evenfall-egr"}, "unknown quant_method 'evenfall-egr'"),
        ({"weights": "int8"}, "unknown quant_method None"),
        ([1], r"quantization_config must be a mapping, got \[1\]"),
    ],
)
def test_other_methods_are_refused(make: Make, tmp_path: Path, config: Any, message: str) -> None:
    make().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"{message}.*EgruQuantizationConfig"):
        AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("buffers", [False, True])
def test_a_folder_on_disk_is_quantised_a_module_at_a_time(
    make: Make, ids: Tensor, tmp_path: Path, buffers: bool
) -> None:
    make().save_pretrained(tmp_path / "dense")
    options = {"offload_folder": tmp_path / "offload", "offload_buffers": buffers}
    maps = {"": "disk"}, {"model.layers": "disk", "model.embed_tokens": "cpu", "lm_head": "cpu"}
    want = quantize(make())
    for device_map in maps:
        model = AutoModelForCausalLM.from_pretrained(
            tmp_path / "dense", device_map=device_map, quantization_config=EgruQuantizationConfig(),
            **options,
        )  # fmt: skip
        assert any(weight.is_meta for weight in model.parameters())
        assert torch.equal(logits(model, ids), logits(want, ids))
        assert text(model, ids[:1]) == text(want, ids[:1])
        with pytest.raises(ValueError, match="parts of the model are offloaded"):
            model.dequantize()
    model.save_pretrained(tmp_path / "stored")
    assert torch.equal(
        logits(AutoModelForCausalLM.from_pretrained(tmp_path / "stored"), ids), logits(want, ids)
    )


def test_stored_matrices_are_not_offloaded(make: Make, tmp_path: Path) -> None:
    quantize(make()).save_pretrained(tmp_path / "stored")
    with pytest.raises(ValueError, match="cannot be offloaded; use offload_buffers=False"):
        AutoModelForCausalLM.from_pretrained(
            tmp_path / "stored", device_map={"": "disk"}, offload_buffers=True,
            offload_folder=tmp_path,
        )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "stored", device_map="meta")
    assert model.lm_head.weight.device.type == "meta"
    with pytest.raises(ValueError, match="model is on the meta device"):
        quantize(make().to("meta"))


def test_damaged_folders(make: Make, tmp_path: Path) -> None:
    quantize(make()).save_pretrained(tmp_path)
    file, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    tensors = load_file(file)
    scale = "model.layers.0.kernel.scale"
    spoiled = {**tensors, scale: torch.full_like(tensors[scale], float("nan"))}
    save_file(spoiled, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"{scale} contains values that are not finite"):
        AutoModelForCausalLM.from_pretrained(tmp_path)
    del spoiled[scale]
    save_file(spoiled, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"have no {scale}"):
        AutoModelForCausalLM.from_pretrained(tmp_path)
    save_file(tensors, file, metadata={"format": "pt"})
    settings = json.loads(config.read_text())
    settings["quantization_config"]["version"] = 2
    config.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="version must be 1, got 2"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


def test_counts_of_operations_are_those_of_the_rounded_model(make: Make, ids: Tensor) -> None:
    want = count_operations(rounded_model(make, "int8"), ids)
    got = count_operations(quantize(make()), ids)
    assert (got.total, got.unknown, got.not_called) == (want.total, want.unknown, want.not_called)
    assert count_macs(quantize(make()), [0.1, 0.2]) == count_macs(
        rounded_model(make, "int8"), [0.1, 0.2]
    )


@pytest.mark.parametrize("tied", [True, False])
def test_graphs_have_the_rounded_weights(make: Make, tied: bool) -> None:
    want = lower(rounded_model(make, "int8", tie_word_embeddings=tied))
    got = lower(quantize(make(tie_word_embeddings=tied)))
    assert got.layers.keys() == want.layers.keys()
    for name, layer in want.layers.items():
        for field, value in vars(layer).items():
            other = getattr(got.layers[name], field)
            is_array = isinstance(value, np.ndarray)
            assert np.allclose(other, value, atol=1e-7) if is_array else other == value
