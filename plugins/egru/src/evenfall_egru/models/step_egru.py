"""One token of a whole EGRU model in one compiled call, where nothing needs to see its parts.

Dimensions: B batch, V vocabulary, H units of a layer.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules import module as hooks
from transformers.cache_utils import Cache

from .cache_egru import EgruCacheLayer, EgruStaticCacheLayer
from .copies_egru import WeightCopy
from .layer_egru import PLAIN, EgruDecoder, EgruLayer

try:
    from evenfall.backends import select
    from evenfall_kernels import EgruStack, EgruWeights, StoredMatrix, egru_step, input_table
    from evenfall_kernels.common.dispatch import runs_as_written
except ImportError:  # a published folder without the kernels
    egru_step = input_table = None  # type: ignore[assignment]

_MOST_SEQUENCES = 2  # for more, dense products, which read the weights once, are faster
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_CACHES = (EgruCacheLayer, EgruStaticCacheLayer)
_HOOKS = itemgetter(
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
)
_NAMES = ("kernel", "recurrent_kernel", "bias", "recurrent_bias", "threshold")

# What a class of modules computes, as far as it is known here; modeling_egru adds its own.
FORWARD: dict[type, Any] = {
    nn.Embedding: nn.Embedding.forward,
    EgruLayer: EgruLayer.forward,
    EgruDecoder: EgruDecoder.forward,
}
if egru_step is not None:
    FORWARD[StoredMatrix] = StoredMatrix.forward  # a compressed model has it in place of a weight


class _Prepared(NamedTuple):
    weights: list[Any]
    places: list[Any]  # address and layout of each weight
    by_unit: Any  # the decoder with a row per unit
    table: torch.Tensor | None
    stack: Any


class TokenStep:
    """Runs the token step of one EgruForCausalLM.

    It holds the weights laid out for `egru_step`, and checks in each call that the model still has
    them and that its modules are as expected. A copied or unpickled TokenStep is empty.
    """

    def __init__(self) -> None:
        self._prepared: _Prepared | None = None
        self._table = WeightCopy(input_table)

    def forget(self) -> None:
        """Lay out the weights again in the next call."""
        self._prepared = None
        self._table.forget()

    def forget_changed_copies(self, decoder: nn.Module) -> None:
        """Make what is derived from weights again if any of their elements has changed."""
        if egru_step is not None and runs_as_written():
            self._table.forget_changed()
            if type(decoder) is EgruDecoder:
                decoder.forget_changed_copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenStep:
        return TokenStep()

    def __reduce__(self) -> Any:
        return TokenStep, ()

    def run(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None,
        cache: Cache,
        update: bool,
    ) -> torch.Tensor | None:
        """The logits (B, 1, V) after one token, or None: the modules must be called one by one.

        Args:
            model: the EgruForCausalLM.
            input_ids: (B, 1).
            attention_mask: (B, past + 1) or None.
            position_ids: (B, 1) or None.
            cache: the state, which is not changed if the result is None.
            update: whether the cache gets the new state.
        """
        config = model.config
        if (
            egru_step is None
            or torch.is_grad_enabled()
            or model.training
            or not _is_token(input_ids)
            or not runs_as_written()
            or not _is_plain_setting(config.__dict__)
            or config.output_hidden_states
        ):
            return None
        batch = len(input_ids)
        if attention_mask is not None and not _ends_with_ones(attention_mask, batch):
            return None
        if position_ids is not None and not _has_shape(position_ids, (batch, 1)):
            return None
        states = _states(cache, batch)
        if states is None or not _uses_kernels():
            return None
        stack = self._stack(model, config)
        if stack is None or len(states) != len(stack.units):
            return None
        if config.__dict__["carry"] == "output":
            if any(layer.record_past for layer in cache.layers):
                return None
            states = [(y, torch.zeros_like(h)) for y, h in states]
        out, new = egru_step(stack, input_ids.view(batch), states)
        if update:
            for layer, state in zip(cache.layers, new, strict=True):
                layer.update(*state, steps=1)
        out = out.view(batch, 1, -1)
        return out if model.projection is None else model._logits(out)

    def _stack(self, model: Any, config: Any) -> Any:
        """The model's weights laid out; None if a module or a weight is not as expected."""
        base, decoder = model._modules["model"], None
        embedding, container = base._modules["embed_tokens"], base._modules["layers"]
        layers = list(container._modules.values())
        parts = [base, embedding, *layers]
        if model.projection is None:
            decoder = model._modules["lm_head"]
            parts.append(decoder)
        if _has_global_hooks() or not all(map(_is_as_defined, parts)):
            return None
        if any(part.training for part in parts):
            return None
        if embedding.max_norm is not None or any(p.config is not config for p in (base, *layers)):
            return None
        found, bias, by_unit, table = _weights(embedding, ("weight",)), None, None, None
        weights = [_weights(layer, _NAMES) for layer in layers]
        head = [] if decoder is None else _weights(decoder, ("weight", "bias"))
        if any(part is None for part in (found, *weights, head)):
            return None
        words = found[0]
        every = [words, *(weight for layer in weights for weight in layer), *head]
        known = self._prepared
        is_known = (
            known is not None
            and len(known.weights) == len(every)
            and all(map(_is_where_it_was, every, known.weights, known.places))
        )
        if not (is_known or all(map(_is_usable, every))):
            return None
        if decoder is not None:
            by_unit, bias = head
            by_unit = decoder.by_unit() if isinstance(by_unit, torch.Tensor) else by_unit
        kernel = weights[0][0]
        are_tensors = isinstance(words, torch.Tensor) and isinstance(kernel, torch.Tensor)
        if are_tensors and config.__dict__.get("input_table", False):
            table = self._table.get(words, kernel)
        if known is not None and is_known and known.by_unit is by_unit and known.table is table:
            return known.stack
        stack = EgruStack(words, [EgruWeights(*w) for w in weights], by_unit, bias, table)
        self._prepared = _Prepared(every, [*map(_place, every)], by_unit, table, stack)
        return stack


def _weights(module: nn.Module, names: tuple[str, ...]) -> Any:
    """The parameters of these names, or the stored matrices; None if one is absent.

    torch.nn.utils.prune, for example, replaces a parameter by an attribute.
    """
    parameters, stored = module._parameters, module._modules
    shared = module.__dict__.get("weight")  # what a tied decoder has of a stored embedding
    if shared is not None:
        parameters = {**parameters, "weight": shared}
    try:
        if not stored:
            return [parameters[name] for name in names]
        return [stored[name] if name in stored else parameters[name] for name in names]
    except KeyError:
        return None


def _is_token(ids: torch.Tensor) -> bool:
    shape = ids.shape
    return (
        type(ids) is torch.Tensor
        and ids.dtype is torch.int64
        and ids.is_cpu
        and len(shape) == 2
        and shape[1] == 1
        and 0 < shape[0] <= _MOST_SEQUENCES
        and ids.is_contiguous()
    )


def _is_plain_setting(settings: dict[str, Any]) -> bool:
    """Whether the configuration, as its __dict__, needs no more than `egru_step` does."""
    return (
        settings.get("event_driven", False)  # models of other layers have no such setting
        and settings["variant"] == "released"
        and not settings["zoneout"]
    )


def _ends_with_ones(mask: torch.Tensor, batch: int) -> bool:
    """Whether a (B, past + 1) mask says that the token is real in each row."""
    if type(mask) is not torch.Tensor or mask.ndim != 2 or not mask.is_cpu:
        return False
    rows, columns = mask.shape
    return rows == batch and columns > 0 and mask.select(1, -1).tolist() == [1] * batch


def _has_shape(tensor: torch.Tensor, shape: tuple[int, ...]) -> bool:
    return type(tensor) is torch.Tensor and tensor.shape == shape


def _states(cache: Cache, batch: int) -> list[Any] | None:
    """(y, h) of each layer; None if the cache is empty, of another kind or of another batch."""
    states = []
    for layer in cache.layers:
        if type(layer) not in _CACHES or not layer.is_initialized or layer.keys.shape[0] != batch:
            return None
        states.append((layer.keys, layer.values))
    return states


def _uses_kernels() -> bool:
    """Whether the operations that this call replaces would run on the CPU kernels."""
    return all(
        select(operation, device="cpu", dtype=torch.float32).backend == "cpu"
        for operation in ("egru_scan", "event_matmul")
    )


def _has_global_hooks() -> bool:
    return bool(
        hooks._global_forward_hooks
        or hooks._global_forward_pre_hooks
        or hooks._global_backward_hooks
        or hooks._global_backward_pre_hooks
    )


def _is_as_defined(module: nn.Module) -> bool:
    """Whether calling the module runs the forward method that is known for its class."""
    own, kind = module.__dict__, type(module)
    return (
        FORWARD.get(kind) is kind.forward
        and "forward" not in own
        and not any(_HOOKS(own))
        and own.get("_compiled_call_impl") is None
    )


def _place(weight: Any) -> Any:
    """The address and layout of a plain tensor; of a stored matrix, those of its buffers."""
    if weight is None:
        return None
    if not isinstance(weight, torch.Tensor):
        return [(id(part), _place(part)) for part in weight._buffers.values()]
    return weight.data_ptr(), weight.shape, weight.dtype, weight.is_contiguous()


def _is_where_it_was(weight: Any, before: Any, place: Any) -> bool:
    """Whether a weight has not been replaced; values may change, they are read in place."""
    if weight is not before:
        return False
    if type(weight) in PLAIN:  # no tuple is made, as this runs for each weight of each token
        address, shape, dtype, contiguous = place
        return (
            weight.data_ptr() == address and weight.shape == shape and weight.dtype is dtype
            and weight.is_contiguous() is contiguous
        )  # fmt: skip
    return weight is None or (_is_as_defined(weight) and _place(weight) == place)


def _is_usable(weight: Any) -> bool:
    if isinstance(weight, torch.Tensor):
        known = type(weight) in PLAIN and weight.is_cpu and weight.dtype in _DTYPES
        return known and weight.is_contiguous() and not weight.is_neg()
    if weight is None:
        return True
    return _is_as_defined(weight) and weight.device.type == "cpu"


__all__ = ["FORWARD", "TokenStep"]
