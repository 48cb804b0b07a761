"""Modules that read the weight of a submodule themselves: a stored matrix cannot take its place."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from types import FunctionType
from typing import Any

from torch import nn

_HARMLESS = ("device", "dtype")  # a stored matrix has them, too


def weight_readers(model: nn.Module) -> dict[int, str]:
    """id of a submodule -> class of a module whose forward method reads its `weight`.

    Mamba's mixer, for one, computes `self.dt_proj.weight @ x`. The code of forward is searched, and
    of the methods and the functions of its file that it calls.
    """
    found: dict[int, str] = {}
    for module in model.modules():
        kind: Any = type(module)
        for path in _paths_read(_forward(module), kind):
            try:
                child = module.get_submodule(path)
            except AttributeError:  # of another object
                continue
            found.setdefault(id(child), kind.__name__)
    return found


def _forward(module: nn.Module) -> Any:
    """The function that runs, also if the module's own was replaced."""
    own = vars(module).get("forward", type(module).forward)
    return getattr(own, "__func__", own)


@cache
def _paths_read(function: Any, kind: type) -> frozenset[str]:
    """Paths below a module of a class, such as "dt_proj", whose weight its forward reads."""
    paths: set[str] = set()
    seen: set[FunctionType] = set()
    waiting = [function]
    while waiting:
        one = waiting.pop()
        one = inspect.unwrap(one) if callable(one) else one
        if not isinstance(one, FunctionType) or one in seen:
            continue
        seen.add(one)
        tree = _tree(one)
        if tree is not None:
            paths.update(_weights(tree))
            waiting += _called(tree, one, kind)
    return frozenset(paths)


def _tree(function: FunctionType) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # no source
        return None


def _weights(tree: ast.AST) -> Iterator[str]:
    """The path in each `name.path.weight`, unless only its type, dtype or device is asked for."""
    harmless: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _HARMLESS:
            harmless.add(id(node.value))
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            harmless.add(id(node.args[0]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "weight" and id(node) not in harmless:
            path, root = [], node.value
            while isinstance(root, ast.Attribute):
                path.append(root.attr)
                root = root.value
            if path and isinstance(root, ast.Name):
                yield ".".join(reversed(path))


def _called(tree: ast.AST, function: FunctionType, kind: type) -> Iterator[Any]:
    """Methods of the class, and functions of the same file, that the code names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self":
            yield inspect.getattr_static(kind, node.attr, None)
        elif isinstance(node, ast.Name):
            named = function.__globals__.get(node.id)
            if getattr(named, "__module__", None) == function.__module__:
                yield named
