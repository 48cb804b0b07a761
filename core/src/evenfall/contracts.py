"""What a backend of an operation must offer, and whether one offers it.

An operation is registered by `evenfall_register_operations` as a reference to an `Operation`. Its
contract is a Protocol: a backend has every function of it, which takes the positional arguments of
the Protocol's, and every attribute. So a backend is a module or an object; if the Protocol has only
`__call__`, it is a function. A contract is held against a backend when it is first taken.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, get_type_hints

from evenfall.errors import ContractError, shorten

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Operation:
    """What the hook `evenfall_register_operations` registers a reference to.

    Attributes:
        contract: the Protocol of the operation's backends. The backend "reference" is the
            definition and need not fit.
        example: a tiny call of the public function on a device and in a torch dtype, the same
            values at each call; returns its results. `evenfall doctor` and
            `evenfall plugins --check` compare the results of each backend with the reference's.
    """

    contract: type
    example: Callable[[str, Any], Sequence[Any]] | None = None


def draw(device: str, dtype: Any, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Tensors for an example: the same normal numbers at each call, in any dtype."""
    import torch

    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)
        for shape in shapes
    ]


def check_contract(target: object, contract: type, what: str) -> None:
    """Check that `target` has what the Protocol `contract` states.

    Raises:
        ContractError: something is missing, or takes other arguments. The message begins with
            `what` and names the Protocol.
    """
    where = f"see {contract.__module__}.{contract.__qualname__}"
    for name, wanted in _functions(contract):
        is_call = name == "__call__"
        found = target if is_call else getattr(target, name, None)
        arguments = f"({', '.join(_names(wanted))})"
        must = (
            f"be a function of {arguments}" if is_call else f"have the function {name}{arguments}"
        )
        if found is None or (is_call and not callable(found)):
            got = _kind(target)
        elif not callable(found):
            got = f"{name} = {shorten(found)}"
        elif not _accepts(found, wanted):
            got = f"{'one of ' if is_call else name}{inspect.signature(found)}"
        else:
            continue
        raise ContractError(f"{what} must {must}, got {got}; {where}")
    for name, hint in get_type_hints(contract).items():
        if not hasattr(target, name):
            raise ContractError(f"{what} must have {name}, got {_kind(target)}; {where}")
        value = getattr(target, name)
        if isinstance(hint, type) and not isinstance(value, hint):
            raise ContractError(
                f"{what}: {name} must be a {hint.__name__}, got {shorten(value)}; {where}"
            )


def _functions(contract: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for base in contract.__mro__:
        if base in (object, Protocol, Generic):
            continue
        for name, value in vars(base).items():
            if inspect.isfunction(value) and (name == "__call__" or not name.startswith("_")):
                yield name, value


def _wanted(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())[1:]  # without self


def _accepts(found: Callable[..., Any], wanted: Callable[..., Any]) -> bool:
    """Whether a call with the arguments of `wanted` is possible."""
    parameters = _wanted(wanted)
    by_name = {one.name: None for one in parameters if one.kind is one.KEYWORD_ONLY}
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(one.kind in kinds for one in parameters)
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # of a function in C: unknown
        return True
    try:
        signature.bind(*[None] * count, **by_name)
    except TypeError:
        return False
    return True


def _names(function: Callable[..., Any]) -> list[str]:
    return [one.name + "=" * (one.kind is one.KEYWORD_ONLY) for one in _wanted(function)]


def _kind(target: object) -> str:
    if inspect.ismodule(target):
        return f"the module {target.__name__} without it"
    name = getattr(target, "__qualname__", None)
    return f"the {type(target).__name__} {name}" if name else f"a {type(target).__name__}"
