"""Which backend serves an operation: reference, cpu, triton or a third party's.

A backend fits when it serves the device type and the dtype, can be imported, and offers what the
contract of its operation states (`evenfall.contracts`). The fitting backend with the highest
priority is chosen; backends marked slow come last. One that breaks its contract is left out, with a
warning that names its plugin. `use_backend` and
EVENFALL_BACKEND force one instead:

    with use_backend("reference"): ...                          every operation, in this block
    EVENFALL_BACKEND=egru_scan=reference,event_matmul=cpu       these operations, in this process

The innermost `use_backend` for an operation wins, then the environment. A forced backend that
cannot serve the call is an error, never a silent change. Select in the forward pass: autograd runs
some backward passes in other threads, which do not see the block.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evenfall import registry
from evenfall.contracts import check_contract
from evenfall.entries import Entry
from evenfall.errors import (
    BackendError,
    BackendWarning,
    ContractError,
    EvenfallError,
    ReferenceImportError,
    closest,
    shorten,
    warn_user,
)
from evenfall.references import import_reference

VARIABLE = "EVENFALL_BACKEND"
REFERENCE = "reference"
"""The name of the backend that defines an operation."""

_Forced = tuple[tuple[str | None, str], ...]

_forced: ContextVar[_Forced] = ContextVar("evenfall_forced_backends", default=())
_cache: dict[tuple[Any, ...], Kernel] = {}
_warned: set[tuple[str, ...]] = set()
_lock = threading.RLock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # the thread that held the lock is not in the child
    os.register_at_fork(after_in_child=_renew_lock)


@dataclass(frozen=True)
class Kernel:
    """A backend of an operation. `devices` are torch device types and `dtypes` torch dtype names;
    "*" means any."""

    operation: str
    backend: str
    reference: str
    devices: tuple[str, ...] = ("cpu",)
    dtypes: tuple[str, ...] = ("float32",)
    priority: int = 0
    slow: bool = False
    owner: str = "unknown"

    def load(self) -> Any:
        """Import the function or module that `reference` names; later calls cost nothing.

        Raises:
            ReferenceImportError: it cannot be imported; the cause is chained.
            ContractError: it does not offer what the contract of the operation states.
        """
        return self._target

    def fits(self, device: str, dtype: str) -> bool:
        """Whether it serves this device type and dtype, for example "cuda" and "bfloat16"."""
        return bool({device, "*"} & set(self.devices)) and bool({dtype, "*"} & set(self.dtypes))

    def problem(self) -> str | None:
        """Why it cannot be used: it cannot be imported or breaks its contract. None if it can."""
        return None if self._failure is None else str(self._failure)

    def cause(self) -> str:
        """The error behind `problem`, which several backends can share; empty if there is none."""
        return "" if self._failure is None else repr(self._failure.__cause__ or self._failure)

    def breaks_contract(self) -> bool:
        """Whether it can be imported and does not offer what its operation's contract states."""
        return isinstance(self._failure, ContractError)

    @cached_property
    def _target(self) -> object:
        what = f"backend {self.backend!r} of {self.operation!r} (plugin {self.owner!r})"
        target = import_reference(self.reference, what)
        if self.backend != REFERENCE and self.operation in registry.operations:
            contract = registry.operations.get(self.operation).contract
            check_contract(target, contract, f"{what}: {self.reference!r}")
        return target

    @cached_property
    def _failure(self) -> EvenfallError | None:
        try:
            self.load()
        except (ReferenceImportError, ContractError) as error:
            return error
        return None

    def __str__(self) -> str:
        return f"{self.backend} ({'/'.join(self.devices)}; {'/'.join(self.dtypes)})"


def operations() -> list[str]:
    """Every operation that has a backend, sorted."""
    return sorted(_table())


def candidates(operation: str) -> list[Kernel]:
    """The backends of `operation` in the order in which they are tried.

    Raises:
        BackendError: no plugin registers the operation.
    """
    table = _table()
    if operation not in table:
        advice = "" if table else " No kernel is registered: is evenfall-kernels installed?"
        raise BackendError(f"unknown operation {operation!r}.{closest(operation, table)}{advice}")
    return list(table[operation])


def select(operation: str, *, device: Any = "cpu", dtype: Any = "float32") -> Kernel:
    """The backend that serves `operation`. The answer is cached.

    Args:
        operation: such as "egru_scan".
        device: a torch.device or its name; only the type counts, "cuda:1" is "cuda".
        dtype: a torch.dtype or its name, "float32" or "torch.float32".

    Raises:
        BackendError: the operation is unknown, or no backend (or not the forced one) serves the
            call. The message names the operation, the device, the dtype and the backends.
        ReferenceImportError, ContractError: the forced backend cannot be used.

    Warns:
        BackendWarning: a backend marked slow is chosen without being forced; once for each
            operation, device type and dtype, or once for all that lack the same module. Or a
            backend that would be chosen breaks its contract. The warning points at the user's line.
    """
    environment = os.environ.get(VARIABLE, "")
    key = (operation, device, dtype, _forced.get(), environment, registry.kernels.generation)
    kernel = _cache.get(key)
    if kernel is None:
        kernel = _choose(
            operation, str(device).partition(":")[0], str(dtype).removeprefix("torch.")
        )
        key = (*key[:-1], registry.kernels.generation)  # it changes when plugins load
        _cache[key] = kernel
    return kernel


@contextmanager
def use_backend(name: str, operation: str | None = None) -> Iterator[None]:
    """Force the backend `name` for `operation`, or for every operation, in this thread or task.

    Raises:
        BackendError: no operation (or not this one) has a backend of that name.
    """
    _check_known(name, operation, "use_backend")
    token = _forced.set((*_forced.get(), (operation, name)))
    try:
        yield
    finally:
        _forced.reset(token)


def _choose(operation: str, device: str, dtype: str) -> Kernel:
    kernels = candidates(operation)
    forced = forced_backend(operation)
    if forced is not None:
        return _load_forced(kernels, *forced, device, dtype)
    failed: list[Kernel] = []
    for kernel in kernels:
        if not kernel.fits(device, dtype):
            continue
        problem = kernel.problem()
        if problem is None:
            if kernel.slow:
                _warn_slow(kernel, device, dtype, failed)
            return kernel
        failed.append(kernel)
        if kernel.breaks_contract():
            _warn_once((operation, kernel.backend), f"{problem}. It is not used.")
    raise BackendError(_nothing_fits(kernels, device, dtype, failed))


def _load_forced(kernels: list[Kernel], name: str, by: str, device: str, dtype: str) -> Kernel:
    operation = kernels[0].operation
    matches = [kernel for kernel in kernels if kernel.backend == name]
    if not matches:
        hint = closest(name, [kernel.backend for kernel in kernels])
        raise BackendError(f"{operation} has no backend {name!r}, which {by} asks for.{hint}")
    kernel = matches[0]
    if not kernel.fits(device, dtype):
        raise BackendError(
            f"{operation}: {by} asks for {kernel}, which does not serve {device} {dtype}. "
            + _available(kernels)
        )
    kernel.load()
    return kernel


def forced_backend(operation: str) -> tuple[str, str] | None:
    """The name of the forced backend and what forces it; None if none is forced."""
    for target, name in reversed(_forced.get()):
        if target is None or target == operation:
            return name, "use_backend"
    by_operation = dict(_parse(os.environ.get(VARIABLE, "")))
    name = by_operation.get(operation, by_operation.get(None, ""))
    return (name, VARIABLE) if name else None


def _parse(text: str) -> _Forced:
    """Read "reference" or "egru_scan=reference,event_matmul=cpu"; None stands for every
    operation."""
    pairs: list[tuple[str | None, str]] = []
    for item in filter(None, (word.strip() for word in text.split(","))):
        left, equals, right = (part.strip() for part in item.partition("="))
        if equals and not (left and right):
            got = shorten(item)
            raise BackendError(f"{VARIABLE}: got {got}, want a backend or operation=backend")
        pairs.append((left, right) if equals else (None, left))
    for target, name in pairs:
        _check_known(name, target, VARIABLE)
    return tuple(pairs)


def _check_known(name: str, operation: str | None, by: str) -> None:
    kernels = [kernel for backends in _table().values() for kernel in backends]
    if operation is not None:
        kernels = candidates(operation)
    names = {kernel.backend for kernel in kernels}
    if name not in names:
        whose = f"{operation} has" if operation is not None else "there is"
        raise BackendError(f"{by}: {whose} no backend {name!r}.{closest(name, names)}")


def _warn_slow(kernel: Kernel, device: str, dtype: str, failed: list[Kernel]) -> None:
    """Warn once for each operation, or once for a cause that several operations share."""
    text = f"{kernel.operation} on {device} {dtype} uses the slow backend {kernel.backend!r}."
    case: tuple[str, ...] = (kernel.operation, kernel.backend)
    if failed:
        text += (
            f" {' '.join(map(_reason, failed))}. Other operations may be slow for this reason, too."
        )
        case = tuple(one.cause() for one in failed)
    else:
        text += f" No faster backend serves {device} {dtype}."
    _warn_once((*case, device, dtype), text)


def _reason(kernel: Kernel) -> str:
    return kernel.problem() or ""


def _warn_once(case: tuple[str, ...], text: str) -> None:
    with _lock:
        if case in _warned:
            return
        _warned.add(case)
    warn_user(text, BackendWarning)


def _nothing_fits(kernels: list[Kernel], device: str, dtype: str, failed: list[Kernel]) -> str:
    failures = f" Backends that cannot be used: {' '.join(map(_reason, failed))}" if failed else ""
    return (
        f"{kernels[0].operation}: no backend serves {device} {dtype}. "
        f"{_available(kernels)}{failures}"
    )


def _available(kernels: list[Kernel]) -> str:
    return f"Available: {', '.join(str(kernel) for kernel in kernels)}."


_tables: dict[int, dict[str, list[Kernel]]] = {}


def _table() -> dict[str, list[Kernel]]:
    """The kernels by operation, each list in the order in which it is tried; rebuilt when plugins
    change."""
    entries = registry.kernels.entries()
    generation = registry.kernels.generation
    with _lock:
        if generation not in _tables:
            _tables.clear()
            _cache.clear()
            _tables[generation] = _build(entries)
        return _tables[generation]


def _build(entries: list[Entry]) -> dict[str, list[Kernel]]:
    table: dict[str, list[Kernel]] = {}
    for entry in entries:
        metadata = dict(entry.metadata)
        kernel = Kernel(
            operation=metadata["operation"],
            backend=metadata["backend"],
            reference=entry.reference,
            devices=tuple(metadata["devices"]),
            dtypes=tuple(metadata["dtypes"]),
            priority=metadata["priority"],
            slow=metadata["slow"],
            owner=entry.owner.name,
        )
        table.setdefault(kernel.operation, []).append(kernel)
    for kernels in table.values():
        kernels.sort(key=lambda kernel: (kernel.slow, -kernel.priority, kernel.backend))
    return table
