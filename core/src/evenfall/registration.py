"""Register one plugin: check its API version and its hooks, then call each hook."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from typing import Any

import pluggy

from evenfall.entries import Registry
from evenfall.errors import PluginError, RegistryError, shorten
from evenfall.hookspecs import API_VERSION, Register, RegisterKernel
from evenfall.owners import Owner

_PREFIX = "evenfall_register_"


def check_api(plugin: object, owner: Owner) -> None:
    """Compare the plugin's EVENFALL_API with the core's.

    Raises:
        PluginError: it is missing, not an integer, or another version; the message says what to
            upgrade.
    """
    version = getattr(plugin, "EVENFALL_API", None)
    if type(version) is not int:
        got = "nothing" if version is None else repr(version)
        raise PluginError(
            f"EVENFALL_API: got {got}, want an integer such as EVENFALL_API = {API_VERSION}"
        )
    if version > API_VERSION:
        raise PluginError(
            f"needs core API {version}, this core has {API_VERSION}: upgrade evenfall-core"
        )
    if version < API_VERSION:
        raise PluginError(
            f"was written for core API {version}, this core has {API_VERSION}: "
            f"upgrade {owner.distribution}"
        )


def check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Find hooks that would never be called, without an error.

    Raises:
        PluginError: a function with the decorator is not a hook (the message has the closest
            names), a hook lacks the decorator, or it is a generator, a coroutine, a wrapper, or a
            function without the argument `register`.
    """
    hooks = [name for name in vars(manager.hook) if name.startswith(_PREFIX)]
    specified = [name for name in hooks if getattr(manager.hook, name).has_spec()]
    callers = manager.get_hookcallers(plugin) or []
    unknown = [caller.name for caller in callers if not caller.has_spec()]
    if unknown:
        matches = [
            match for name in unknown for match in difflib.get_close_matches(name, specified, n=1)
        ]
        hint = f"; closest: {', '.join(matches)}" if matches else ""
        raise PluginError(f"no such hook: {', '.join(unknown)}{hint}")
    for caller in callers:
        for implementation in caller.get_hookimpls():
            if implementation.plugin is plugin:
                _check_hook(implementation)
    implemented = {caller.name for caller in callers}
    for name in specified:
        if name not in implemented and callable(getattr(plugin, name, None)):
            raise PluginError(f"{name} lacks the decorator @evenfall.hookimpl")


def _check_hook(hook: pluggy.HookImpl) -> None:
    name = hook.function.__name__
    if hook.wrapper or hook.hookwrapper:
        raise PluginError(f"{name} is a hook wrapper, want a function that calls register(...)")
    if "register" not in hook.argnames:
        raise PluginError(f"{name} must take the argument `register`, got {hook.argnames}")
    if _runs_later(hook.function):
        raise PluginError(
            f"{name} is a generator or async function, so its body never runs; want a function "
            "that calls register(...)"
        )


def _runs_later(function: Callable[..., object]) -> bool:
    return (
        inspect.isgeneratorfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
    )


def register_with(
    manager: pluggy.PluginManager,
    plugin: object,
    owner: Owner,
    registries: Mapping[str, Registry[Any]],
) -> None:
    """Call the hooks of this plugin alone.

    Raises:
        Exception: any error that the plugin raises; the caller removes what it registered before.
    """
    others = [other for other in manager.get_plugins() if other is not plugin]
    for kind, registry in registries.items():
        hook = manager.subset_hook_caller(_PREFIX + kind, others)
        results = hook(
            register=_kernel_callback(registry, owner)
            if kind == "kernels"
            else _callback(registry, owner)
        )
        for result in results:
            _refuse_unfinished(_PREFIX + kind, result)


def _refuse_unfinished(hook: str, result: object) -> None:
    """A decorated hook can return a generator or coroutine without being such a function."""
    if isinstance(result, Generator | Coroutine):
        result.close()  # a coroutine would warn that it was never awaited
    elif not isinstance(result, AsyncGenerator):
        return
    raise PluginError(
        f"{hook} returned a {type(result).__name__}, so its body did not run; want a function that "
        "calls register(...)"
    )


def _callback(registry: Registry[Any], owner: Owner) -> Register:
    def register(name: str, reference: str, **metadata: Any) -> None:
        registry.claim(name, reference, owner, **metadata)

    return register


def _kernel_callback(registry: Registry[Callable[..., Any]], owner: Owner) -> RegisterKernel:
    def register(
        operation: str,
        backend: str,
        reference: str,
        *,
        devices: tuple[str, ...] = ("cpu",),
        dtypes: tuple[str, ...] = ("float32",),
        priority: int = 0,
        slow: bool = False,
    ) -> None:
        name = f"{operation}/{backend}"
        if name.count("/") != 1 or name.startswith("/") or name.endswith("/"):
            raise RegistryError(
                f"operation and backend: got {shorten(operation)} and {shorten(backend)}, "
                "want two names without '/'"
            )
        if type(priority) is not int:
            got = shorten(priority)
            raise RegistryError(f"priority of kernel {name!r}: got {got}, want an int")
        registry.claim(
            name,
            reference,
            owner,
            operation=operation,
            backend=backend,
            devices=_words("devices", name, devices),
            dtypes=_words("dtypes", name, dtypes),
            priority=priority,
            slow=bool(slow),
        )

    return register


def _words(argument: str, kernel: str, value: object) -> list[str]:
    if isinstance(value, tuple | list) and value and all(isinstance(word, str) for word in value):
        return list(value)
    got = shorten(value)
    raise RegistryError(f"{argument} of kernel {kernel!r}: got {got}, want a tuple of names")
