"""Checkpoints of the released EvNN library as an EGRU model for transformers.

Dimensions: V vocabulary, E embedding, H units of a layer, I its inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from ..models.configuration_egru import EgruConfig
from ..models.modeling_egru import EgruForCausalLM
from ..text.corpus import SPLITS, read_split
from ..text.tokenization import vocabulary, word_tokenizer
from .folder import save_for_hub

_LAYER = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
_SCALARS = {"dampening_factor": "dampening", "pseudo_derivative_support": "support"}


def convert(
    file: str | Path,
    corpus: str | Path,
    output: str | Path,
    *,
    config: str | Path | None = None,
    carry: str = "full",
) -> Path:
    """Write a folder with config, safetensors, word tokenizer and code.

    Args:
        file: the state_dict, as torch saved it.
        corpus: folder or archive with train, valid and test, from which the vocabulary is rebuilt:
            words in order of first occurrence.
        output: folder to be.
        config: the run's config.yaml; where given, it must agree with the weights.
        carry: "full", or "output" for the published protocol, where h restarts at each call.

    Raises:
        FileNotFoundError: no such file, corpus or split.
        FileExistsError: `output` exists.
        ValueError: an unreadable file, missing or unexpected keys, shapes that do not fit, values
            that are not finite, or a vocabulary of another size.
    """
    state = read_state(file)
    model = model_from_state(state, carry=carry)
    if config is not None:
        check_run_config(config, model.config)
    words = vocabulary(read_split(corpus, split) for split in SPLITS)
    tokenizer = word_tokenizer(words)
    size = model.config.vocab_size
    if len(tokenizer) != size:
        raise ValueError(
            f"corpus {corpus} has {len(words)} words with <eos>, {len(tokenizer)} with <unk>, "
            f"but the checkpoint's vocabulary has {size}: it was trained on another text"
        )
    model.config.bos_token_id = model.config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.bos_token_id = tokenizer.eos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return save_for_hub(model, tokenizer, output)


def read_state(file: str | Path) -> dict[str, Tensor]:
    """The tensors of a saved state_dict, in float32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read, is no dictionary of tensors, or holds NaN or infinity.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"file {file} does not exist")
    try:
        state = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever torch raises here, the file is at fault
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"file {file} cannot be read as a state_dict: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"file {file} must hold a dictionary of tensors, a state_dict")
    bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise ValueError(f"file {file} holds values that are not finite, in {bad}")
    return {name: tensor.float() for name, tensor in state.items()}


def model_from_state(state: dict[str, Tensor], *, carry: str = "full") -> EgruForCausalLM:
    """An EGRU language model with the weights of an EvNN state_dict, layout v0.1 or v0.2.

    v0.2 stores thresholds as `thr`, v0.1 as `thr_reparam`, with thr = sigmoid(thr_reparam).

    Raises:
        ValueError: missing or unexpected keys, shapes that do not fit, layers that disagree on the
            surrogate, or a projection where the last layer is as wide as the embedding.
    """
    rest = dict(state)
    embedding = _take(rest, "embeddings.weight")
    decoder, bias = _take(rest, "decoder.decoder.weight"), _take(rest, "decoder.decoder.bias")
    layers: list[dict[str, Tensor]] = []
    scalars: list[dict[str, float]] = []
    while f"rnns.{len(layers)}.kernel" in rest:
        prefix = f"rnns.{len(layers)}."
        layers.append({name: _take(rest, prefix + name) for name in _LAYER})
        layers[-1]["threshold"] = _threshold(rest, prefix)
        scalars.append({new: _scalar(rest, prefix + old) for old, new in _SCALARS.items()})
        rest.pop(prefix + "_max_norm", None)
    if not layers:
        raise ValueError(f"state_dict has no layer 'rnns.0.kernel'; it has {sorted(state)}")
    if any(scalar != scalars[0] for scalar in scalars):
        raise ValueError(f"layers must agree on dampening and support, got {scalars}")
    named = {
        "model.embed_tokens.weight": embedding,
        "lm_head.weight": decoder,
        "lm_head.bias": bias,
    }
    for index, layer in enumerate(layers):
        named |= {f"model.layers.{index}.{name}": tensor for name, tensor in layer.items()}
    for name in ("weight", "bias"):
        if f"decoder.projection.{name}" in rest:
            named[f"projection.{name}"] = rest.pop(f"decoder.projection.{name}")
    if rest:
        raise ValueError(f"state_dict has unexpected keys {sorted(rest)}")
    if embedding.dim() != 2 or any(layer["threshold"].dim() != 1 for layer in layers):
        raise ValueError("state_dict must hold a 2-D embedding and 1-D thresholds")
    config = EgruConfig(
        vocab_size=embedding.shape[0],
        embedding_size=embedding.shape[1],
        hidden_sizes=[layer["threshold"].numel() for layer in layers],
        tie_word_embeddings=torch.equal(embedding, decoder),
        carry=carry,
        **scalars[0],
    )
    return _filled(EgruForCausalLM(config), named)


def _take(state: dict[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise ValueError(f"state_dict lacks {name!r}")
    return state.pop(name)


def _threshold(state: dict[str, Tensor], prefix: str) -> Tensor:
    if prefix + "thr_reparam" in state:
        return torch.sigmoid(state.pop(prefix + "thr_reparam"))
    return _take(state, prefix + "thr")


def _scalar(state: dict[str, Tensor], name: str) -> float:
    tensor = _take(state, name)
    if tensor.numel() != 1:
        raise ValueError(f"{name} must hold one number, got shape {tuple(tensor.shape)}")
    return float(tensor)


def _filled(model: EgruForCausalLM, named: dict[str, Tensor]) -> EgruForCausalLM:
    own = model.state_dict()
    if set(own) != set(named):
        missing, extra = sorted(set(own) - set(named)), sorted(set(named) - set(own))
        raise ValueError(f"the weights do not make a model: missing {missing}, left over {extra}")
    wrong = [
        f"{name} {tuple(tensor.shape)}, want {tuple(own[name].shape)}"
        for name, tensor in named.items()
        if tensor.shape != own[name].shape
    ]
    if wrong:
        raise ValueError(f"state_dict has shapes that do not fit: {'; '.join(wrong)}")
    model.load_state_dict(named)
    return model.eval()


def check_run_config(path: str | Path, config: EgruConfig) -> None:
    """Hold a run's config.yaml against the sizes read from its weights.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML, another kind of network, or a size that differs.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"config {path} does not exist")
    try:
        values: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"config {path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"config {path} must be a mapping, got {type(values).__name__}")
    if str(values.get("rnn_type", "egru")).lower() != "egru":
        raise ValueError(f"config {path}: rnn_type is {values['rnn_type']!r}, want 'egru'")
    found = {
        "layers": config.num_hidden_layers,
        "emb_dim": config.embedding_size,
        "pseudo_derivative_width": config.support,
    }
    if config.num_hidden_layers > 1:  # a single layer is as wide as the embedding there
        found["hidden_dim"] = config.hidden_sizes[0]
    for name, value in found.items():
        stated = values.get(name, value)
        if isinstance(stated, bool) or not isinstance(stated, int | float):
            raise ValueError(f"config {path}: {name} must be a number, got {stated!r}")
        if abs(stated - value) > 1e-4 * abs(value):
            raise ValueError(f"config {path}: {name} is {stated}, but the weights have {value:g}")
