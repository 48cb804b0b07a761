"""Recipes: dataclasses read from YAML files, with errors that name the file and the key."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import EvenfallError, shorten
from .reading import reading

T = TypeVar("T")
MOST_VALUES = 100_000
"""Most values of a recipe. An alias of YAML counts as all that it stands for: a file of a few lines
can stand for more values than any memory holds."""


def read_recipe(path: str | Path, kind: type[T], what: str = "recipe") -> T:
    """Read the dataclass `kind` from a YAML mapping.

    A field annotated `float`, `float | None` or `tuple[float, ...]` accepts 1e-3, which YAML reads
    as a word because it has no point. Error messages begin with `what` and the path.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML, not a mapping, more than `MOST_VALUES` values, an unknown key (the
            message lists the known ones), or a value that `kind` refuses.
    """
    return make_recipe(read_yaml(path, what), kind, f"{what} {path}")


def read_yaml(path: str | Path, what: str = "") -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not UTF-8, not YAML, not a mapping, or more than `MOST_VALUES` values.
    """
    import yaml

    with reading(path, what):
        text = Path(path).read_text(encoding="utf-8")
        try:
            values = yaml.load(text, unique_loader())
        except yaml.YAMLError as error:
            raise ValueError(f"{what} {path} is not valid YAML: {error}".lstrip()) from None
        if not isinstance(values, dict):
            got = type(values).__name__
            raise ValueError(f"{what} {path} must be a mapping, got {got}".lstrip())
        if _count(values, {}) > MOST_VALUES:
            raise ValueError(f"it stands for more than {MOST_VALUES:,} values")
    return values


def unique_loader() -> type[Any]:
    """PyYAML's SafeLoader, but a key that a mapping has twice is an error, not the last one's."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[tuple[str, str]] = set()
            for key, _ in node.value:
                name = key.tag, str(key.value)
                if name in seen and not key.tag.endswith(":merge"):
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {shorten(key.value)} is there twice", key.start_mark
                    )
                seen.add(name)
            return super().construct_mapping(node, deep)

    return Loader


def _count(value: Any, known: dict[int, float]) -> float:
    """The number of values that a value of YAML stands for; infinite if it contains itself."""
    if not isinstance(value, dict | list | set | tuple):
        return 1
    if id(value) not in known:
        known[id(value)] = float("inf")
        items = [*value, *value.values()] if isinstance(value, dict) else [*value]
        known[id(value)] = 1 + sum(_count(item, known) for item in items)
    return known[id(value)]


def make_recipe(values: dict[str, Any], kind: type[T], source: str = "recipe") -> T:
    """The dataclass `kind` from a mapping; error messages begin with `source`.

    Raises:
        ValueError: as read_recipe.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # T is a dataclass
    unknown = sorted(str(name) for name in set(values) - set(known))
    if unknown:
        raise ValueError(f"{source} has unknown keys {shorten(unknown)}; known are {known}")
    hints = get_type_hints(kind)
    try:
        return kind(**{name: _as(hints[name], name, value) for name, value in values.items()})
    except EvenfallError:
        raise
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"{source} has a value of the wrong type: {error}") from error


def dump_recipe(recipe: Any) -> str:
    """The dataclass as YAML: every field, in order."""
    import yaml

    return str(yaml.safe_dump(_plain(asdict(recipe)), sort_keys=False))


def changed_keys(before: Any, after: Any) -> list[str]:
    """The fields in which two recipes of one type differ; a list equals a tuple."""
    old, new = _plain(asdict(before)), _plain(asdict(after))
    return [name for name in new if new[name] != old[name]]


def _as(hint: Any, name: str, value: Any) -> Any:
    if hint is float:
        return _number(name, value)
    arguments = get_args(hint)
    if get_origin(hint) in (Union, UnionType) and float in arguments:
        return value if value is None else _number(name, value)
    if get_origin(hint) is tuple and float in arguments:
        return tuple(_number(name, one) for one in value)
    return value


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(f"{name} must be a number, got {shorten(value)}") from None


def _plain(value: Any) -> Any:
    """The value with lists for tuples: safe YAML has no tuples."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
