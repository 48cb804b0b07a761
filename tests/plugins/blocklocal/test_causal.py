"""Whether labels are shifted is what the model's own loss says, not its name."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from evenfall_blocklocal import BlockLocal, SplitError

SMALL = {"latent": 4, "hidden": 8}
IDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}


def make(name: str) -> Any:
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "BartForCausalLM": (
            "BartConfig",
            {"d_model": 8, "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 8,
             "is_encoder_decoder": False, "is_decoder": True},
        ),
        "XLNetLMHeadModel": (
            "XLNetConfig", {"d_model": 8, "n_layer": 2, "n_head": 2, "d_inner": 8},
        ),
        "ImageGPTForCausalImageModeling": (
            "ImageGPTConfig", {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16},
        ),
        "GPT2LMHeadModel": (
            "GPT2Config", {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16},
        ),
    }  # fmt: skip
    torch.manual_seed(0)
    config, options = kinds[name]
    made = getattr(transformers, config)(vocab_size=20, **IDS, **options)
    return getattr(transformers, name)(made)


@pytest.mark.parametrize(
    ("name", "causal"),
    [
        ("BartForCausalLM", False),
        ("XLNetLMHeadModel", False),
        ("ImageGPTForCausalImageModeling", True),
        ("GPT2LMHeadModel", True),
    ],
)
def test_blocks_shift_labels_as_the_model_does(name: str, causal: bool) -> None:
    model = make(name)
    local = BlockLocal(model, 2, tied="untie", **SMALL)
    assert local.targets.causal == causal


def test_adapters_do_not_hide_the_model() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True)
    local = BlockLocal(peft.get_peft_model(make("GPT2LMHeadModel"), config), 2, **SMALL)
    assert local.targets.causal
    ids = torch.randint(20, (2, 6))
    local(input_ids=ids, labels=ids).loss.backward()
    assert all(p.grad is not None for p in local.model.parameters() if p.requires_grad)


def test_tokens_of_an_encoder_have_no_target() -> None:
    config = transformers.T5Config(
        vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2,
        decoder_start_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    ids = torch.randint(20, (2, 6))
    inputs = {"input_ids": ids, "labels": ids, "use_cache": False}
    model = transformers.T5ForConditionalGeneration(config)
    options: dict[str, Any] = {"inputs": inputs, "tied": "untie", **SMALL}
    with pytest.raises(SplitError, match="is in the encoder, whose tokens are not those"):
        BlockLocal(model, boundaries=["encoder.block.0"], **options)
    local = BlockLocal(model, boundaries=["decoder.block.1"], **options)
    assert not local.targets.causal


def test_the_bias_of_a_masked_language_model_is_no_tie_between_blocks() -> None:
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=8,
    )  # fmt: skip
    local = BlockLocal(transformers.BertForMaskedLM(config), 2, tied="last", **SMALL)
    ids = torch.randint(20, (2, 6))
    local(input_ids=ids, labels=ids).loss.backward()
    head = local.model.cls.predictions
    assert head.bias.grad is not None
    assert head.transform.dense.weight.grad is not None
    assert head.decoder.weight is local.model.bert.embeddings.word_embeddings.weight
