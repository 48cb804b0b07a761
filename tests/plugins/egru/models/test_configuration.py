"""EgruConfig: impossible values raise errors that name them; JSON files keep all values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from transformers import AutoConfig

from evenfall_egru import EgruConfig, EgruModel, RnnConfig

IMPOSSIBLE = [
    ({"vocab_size": -1}, "vocab_size must be an integer of at least 0, got -1"),
    ({"embedding_size": -3}, "embedding_size must be an integer of at least 1, got -3"),
    (
        {"hidden_sizes": []},
        r"hidden_sizes must be a non-empty list of integers of at least 1, got \[\]",
    ),
    ({"hidden_sizes": [8, 0]}, r"list of integers of at least 1, got \[8, 0\]"),
    ({"variant": "gru"}, "variant must be 'released' or 'paper', got 'gru'"),
    ({"carry": "none"}, "carry must be 'full' or 'output', got 'none'"),
    ({"threshold_mean": 1.0}, r"threshold_mean must lie in \(0, 1\), got 1.0"),
    ({"zoneout": 1.0}, r"zoneout must lie in \[0, 1\), got 1.0"),
    ({"dropconnect": -0.1}, r"dropconnect must lie in \[0, 1\), got -0.1"),
    ({"word_dropout": 2.0}, r"word_dropout must lie in \[0, 1\), got 2.0"),
    ({"vocab_size": "many"}, "vocab_size must be an integer of at least 0, got 'many'"),
    (
        {"hidden_sizes": 20},
        "hidden_sizes must be a non-empty list of integers of at least 1, got 20",
    ),
    ({"hidden_sizes": ["20"]}, r"hidden_sizes .* got \['20'\]"),
    ({"vocab_size": 2**40}, "must have at most 2147483647 rows, got 1099511627776"),
    ({"hidden_sizes": [8, 10**5000]}, "rows, got <an integer of 16610 bits>"),
    ({"hidden_sizes": ["a" * 500] * 500}, r"at least 1, got \['aaa[^b]{,500}$"),
    ({"dampening": []}, r"dampening must be finite and not negative, got \[\]"),
    ({"support": float("nan")}, "support must be finite and not negative, got nan"),
    ({"embedding_range": float("inf")}, "embedding_range must be finite and not negative, got inf"),
    ({"activity_regularization": -1.0}, "activity_regularization must be finite and not negative"),
    ({"input_gain": -2.0}, "input_gain must be finite and not negative, got -2.0"),
    ({"chrono_init": 1}, "chrono_init must be an integer of at least 2 or None, got 1"),
    ({"event_driven": "yes"}, "event_driven must be True or False, got 'yes'"),
    ({"cell_regularization": -1.0}, "cell_regularization must be finite and not negative"),
    ({"output_regularization": float("nan")}, "output_regularization must be finite"),
    ({"slowness_regularization": True}, "slowness_regularization must be finite .* got True"),
    ({"dtype": "float99"}, "dtype must be one of torch's, such as 'float32', got 'float99'"),
    ({"dtype": "nn"}, "dtype must be one of torch's"),
    ({"torch_dtype": ["x"]}, r"dtype must be one of torch's, .* got \['x'\]"),
    ({"quantization_config": [1]}, r"quantization_config must be a mapping, got \[1\]"),
    ({"threshold_mean": "x"}, "threshold_mean must lie in"),
    ({"zoneout": "none"}, r"zoneout must lie in \[0, 1\), got 'none'"),
]


@pytest.mark.parametrize(("settings", "words"), IMPOSSIBLE)
def test_impossible_values_are_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EgruConfig(**settings)


def test_hosts_values_of_a_baseline_are_named() -> None:
    with pytest.raises(ValueError, match="dtype must be one of torch's"):
        RnnConfig(dtype="float99")


@pytest.mark.parametrize("pad", [41, 999, -1])
def test_padding_must_be_a_word(pad: int) -> None:
    config = EgruConfig(vocab_size=41, embedding_size=4, hidden_sizes=[4], pad_token_id=pad)
    with pytest.raises(ValueError, match=f"the vocabulary of 41 words, from 0, or None, got {pad}"):
        EgruModel(config)


def test_defaults_are_the_published_language_model() -> None:
    config = EgruConfig()
    assert (config.vocab_size, config.embedding_size) == (10000, 750)
    assert config.hidden_sizes == [1350, 1350, 750]
    assert (config.hidden_size, config.num_hidden_layers) == (750, 3)
    assert EgruConfig().hidden_sizes is not config.hidden_sizes


def test_json_round_trip(tmp_path: Path) -> None:
    config = EgruConfig(
        vocab_size=41,
        hidden_sizes=[20, 12],
        variant="paper",
        carry="output",
        dropconnect=0.3,
        support=1.5,
        eos_token_id=[1, 2],
        threshold_trainable=False,
        tie_word_embeddings=False,
    )
    config.save_pretrained(tmp_path)
    for loaded in (EgruConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert type(loaded) is EgruConfig
        assert loaded.to_diff_dict() == config.to_diff_dict()
        assert loaded.layer_types == ["egru", "egru"]


def test_a_broken_file_is_refused_on_loading(tmp_path: Path) -> None:
    EgruConfig().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace('"released"', '"relased"'))
    with pytest.raises(ValueError, match=r"variant must be .* got 'relased'"):
        EgruConfig.from_pretrained(tmp_path)
