"""Convert checkpoints of the released EvNN library to an EGRU model for transformers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from evenfall.corpora import SPLITS, read_split
from evenfall.errors import shorten
from evenfall.reading import reading
from evenfall.recipes import read_yaml

from ..models.configuration_egru import EgruConfig
from ..models.modeling_egru import EgruForCausalLM
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
    """Convert a checkpoint to a folder with config, safetensors, word tokenizer and code.

    Args:
        file: the state_dict, saved by torch.
        corpus: folder or archive with train, valid and test, to rebuild the vocabulary: words in
            order of first occurrence.
        output: the folder to make.
        config: the run's config.yaml, which must agree with the weights, or None.
        carry: "full", or "output" for the published protocol, where h restarts at each call.

    Raises:
        FileNotFoundError: no such file, corpus or split.
        FileExistsError: `output` exists.
        ValueError: an unreadable file, missing or unexpected keys, wrong shapes, NaN or infinity,
            or a vocabulary of another size.
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
            f"corpus {corpus} has {len(tokenizer)} words with <eos> and <unk>, but the "
            f"checkpoint's vocabulary has {size}; pass the corpus that it was trained on"
        )
    model.config.bos_token_id = model.config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.bos_token_id = tokenizer.eos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return save_for_hub(model, tokenizer, output)


def read_state(file: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a saved state_dict, in float32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read, is not a dictionary of tensors, or contains NaN or infinity.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"file {file} does not exist")
    with reading(file, "state_dict"):
        state = torch.load(file, weights_only=True, map_location="cpu")
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"file {file} must contain a state_dict, a dictionary of tensors")
    bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise ValueError(f"file {file} contains values that are not finite, in {bad}")
    return {name: tensor.float() for name, tensor in state.items()}


def model_from_state(state: dict[str, Tensor], *, carry: str = "full") -> EgruForCausalLM:
    """An EGRU language model with the weights of an EvNN state_dict, layout v0.1 or v0.2.

    v0.2 stores thresholds as `thr`, v0.1 as `thr_reparam`, with thr = sigmoid(thr_reparam).

    Raises:
        ValueError: missing or unexpected keys, wrong shapes, layers with different surrogates, or
            a projection although the last layer is as wide as the embedding.
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
        raise ValueError(f"all layers must have the same dampening and support, got {scalars}")
    weights = {
        "model.embed_tokens.weight": embedding,
        "lm_head.weight": decoder,
        "lm_head.bias": bias,
    }
    for index, layer in enumerate(layers):
        weights |= {f"model.layers.{index}.{name}": tensor for name, tensor in layer.items()}
    for name in ("weight", "bias"):
        if f"decoder.projection.{name}" in rest:
            weights[f"projection.{name}"] = rest.pop(f"decoder.projection.{name}")
    if rest:
        raise ValueError(f"state_dict has unexpected keys {sorted(rest)}")
    if embedding.dim() != 2 or any(layer["threshold"].dim() != 1 for layer in layers):
        raise ValueError("state_dict must contain a 2-D embedding and 1-D thresholds")
    config = EgruConfig(
        vocab_size=embedding.shape[0],
        embedding_size=embedding.shape[1],
        hidden_sizes=[layer["threshold"].numel() for layer in layers],
        tie_word_embeddings=torch.equal(embedding, decoder),
        carry=carry,
        **scalars[0],
    )
    return _load(EgruForCausalLM(config), weights)


def _take(state: dict[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise ValueError(f"state_dict lacks {shorten(name)}")
    return state.pop(name)


def _threshold(state: dict[str, Tensor], prefix: str) -> Tensor:
    if prefix + "thr_reparam" in state:
        return torch.sigmoid(state.pop(prefix + "thr_reparam"))
    return _take(state, prefix + "thr")


def _scalar(state: dict[str, Tensor], name: str) -> float:
    tensor = _take(state, name)
    if tensor.numel() != 1:
        raise ValueError(f"{name} must contain one number, got shape {tuple(tensor.shape)}")
    return float(tensor)


def _load(model: EgruForCausalLM, weights: dict[str, Tensor]) -> EgruForCausalLM:
    own = model.state_dict()
    if set(own) != set(weights):
        missing, extra = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
        raise ValueError(
            f"state_dict does not match the model: missing {missing}, unexpected {extra}"
        )
    wrong = [
        f"{name} {tuple(tensor.shape)}, want {tuple(own[name].shape)}"
        for name, tensor in weights.items()
        if tensor.shape != own[name].shape
    ]
    if wrong:
        raise ValueError(f"state_dict has wrong shapes: {'; '.join(wrong)}")
    model.load_state_dict(weights)
    return model.eval()


def check_run_config(path: str | Path, config: EgruConfig) -> None:
    """Compare a run's config.yaml with the sizes of its weights.

    Raises:
        FileNotFoundError: no such file.
        ValueError: invalid YAML, another kind of network, or another size.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"config {path} does not exist")
    values = read_yaml(path, "config")
    if str(values.get("rnn_type", "egru")).lower() != "egru":
        raise ValueError(
            f"config {path}: rnn_type must be 'egru', got {shorten(values['rnn_type'])}"
        )
    sizes = {
        "layers": config.num_hidden_layers,
        "emb_dim": config.embedding_size,
        "pseudo_derivative_width": config.support,
    }
    if config.num_hidden_layers > 1:  # in that library, a single layer is as wide as the embedding
        sizes["hidden_dim"] = config.hidden_sizes[0]
    for name, size in sizes.items():
        value = values.get(name, size)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"config {path}: {name} must be a number, got {shorten(value)}")
        if abs(value - size) > 1e-4 * abs(size):
            raise ValueError(f"config {path}: {name} is {value}, but the weights have {size:g}")
