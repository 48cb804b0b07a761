"""Products with counted weights outside of their modules, which no counter sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_PRODUCTS = frozenset(
    [
        "linear",
        "matmul",
        "__matmul__",
        "__rmatmul__",
        "mm",
        "bmm",
        "mv",
        "dot",
        "vdot",
        "inner",
        "einsum",
        "tensordot",
        "multi_dot",
        "chain_matmul",
        "addmm",
        "addbmm",
        "addmv",
        "baddbmm",
        "bilinear",
        "embedding_bag",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "convolution",
    ]
)
"""Names of torch's functions that multiply matrices."""


@contextmanager
def watch_products(
    counted: Iterable[Any], others: Mapping[str, Any], found: list[str]
) -> Iterator[None]:
    """In the block, add to `found` the name of each module that multiplies a counted weight itself.

    A language model whose head is `hidden @ self.embedding.weight.T` does so.

    Args:
        counted: the modules that have a counter; products inside of them are theirs.
        others: by name, the modules that have none.
        found: the names; each is added once.
    """
    import torch
    from torch.nn.parameter import is_lazy
    from torch.overrides import TorchFunctionMode

    counted = list(counted)
    matrices = [w for module in counted for w in module.parameters() if not is_lazy(w)]
    weights = {_place(matrix) for matrix in matrices if matrix.dim() > 1}
    weights.discard(None)
    calls: list[str | None] = []  # the modules that run now, the innermost last; None: counted

    class Watch(TorchFunctionMode):  # type: ignore[misc]  # torch gives no type
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = calls[-1] if calls and None not in calls else None
            if name is not None and name not in found and _name(function) in _PRODUCTS:
                tensors = _tensors([*args, *(kwargs or {}).values()])
                if any(_place(tensor) in weights for tensor in tensors if tensor.dim() > 1):
                    found.append(name)
            return function(*args, **(kwargs or {}))

    def end(*_: Any) -> None:
        calls.pop()

    hooks = []
    try:
        for name, module in [*((None, module) for module in counted), *others.items()]:
            if isinstance(module, torch.jit.ScriptModule):
                continue  # it takes no hooks
            hooks.append(module.register_forward_pre_hook(_begin(calls, name)))
            hooks.append(module.register_forward_hook(end))
        with Watch():
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _begin(calls: list[str | None], name: str | None) -> Any:
    return lambda *_: calls.append(name)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", ""))


def _tensors(values: Iterable[Any]) -> Iterator[Any]:
    import torch

    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _place(tensor: Any) -> int | None:
    """Where the numbers of a tensor are; equal for a weight and its transpose."""
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (NotImplementedError, RuntimeError):  # sparse, or a subclass without storage
        return None
