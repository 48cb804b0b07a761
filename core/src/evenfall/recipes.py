"""Recipes: dataclasses read from YAML files, with errors that name the file and the key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import EvenfallError, shorten
from .reading import reading

T = TypeVar("T")
MOST_VALUES = 100_000
"""Most values of a recipe. An alias of YAML counts as all that it stands for: a file of a few lines
can stand for more values than any memory holds."""


def read_recipe(path: str | Path, kind: type[T], what: str = "recipe") -> T:
    """Read the dataclass `kind` from a YAML mapping.

    Values must have the types of the fields; true and false are no numbers. A field annotated
    `float`, `float | None` or `tuple[float, ...]` accepts 1e-3, which YAML reads as a word because
    it has no point. Error messages begin with `what` and the path.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML, not a mapping, more than `MOST_VALUES` values, an unknown key (the
            message lists the known ones), a value of another type than that of its field, or one
            that `kind` refuses.
    """
    return make_recipe(read_yaml(path, what), kind, f"{what} {path}")


def bundled_files(package: str, *folders: str) -> dict[str, Path]:
    """The YAML files in a folder of a package, by name."""
    folder = Path(str(files(package))).joinpath(*folders)
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def find_file(
    source: str | Path, bundled: Mapping[str, Path], one: str = "recipe", many: str = "recipes"
) -> Path:
    """A file, or a bundled one by its name, with or without ".yaml". A file of that name wins.

    Raises:
        FileNotFoundError: neither; the message lists the bundled ones.
    """
    name = str(source).removesuffix(".yaml")
    if Path(source).is_file():
        return Path(source)
    if name not in bundled:
        raise FileNotFoundError(
            f"{one} {source} not found; bundled {many}: {', '.join(sorted(bundled))}"
        )
    return bundled[name]


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
        def compose_mapping_node(self, anchor: Any) -> Any:
            """Later, a mapping also has the keys of those that it merges."""
            node, seen = super().compose_mapping_node(anchor), set()
            for key, _ in node.value:
                name = key.tag, str(key.value)
                if name in seen and not key.tag.endswith(":merge"):
                    raise yaml.composer.ComposerError(
                        None, None, f"key {shorten(key.value)} is there twice", key.start_mark
                    )
                seen.add(name)
            return node

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

    def convert(**values: Any) -> dict[str, Any]:
        try:
            return {name: _as(hints[name], name, value) for name, value in values.items()}
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None

    numbers = {name: value for name, value in values.items() if _has_floats(hints[name])}
    values = {**values, **convert(**numbers)}
    try:
        recipe = kind(**values)  # its own checks say more than the type
    except EvenfallError:
        raise
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        convert(**values)
        raise ValueError(f"{source} has a value of the wrong type: {error}") from error
    convert(**values)
    return recipe


def refuse_flags(make: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Check that no option of a recipe is true or false where a number is wanted, which Python
    would take for 1 or 0.

    Args:
        make: a class or function, whose annotations say what it wants.
        options: keyword arguments for it.

    Raises:
        ValueError: one is; the message begins with its name.
    """
    call: Any = getattr(make, "func", make)  # of a partial
    call = getattr(call, "__init__") if isinstance(call, type) else call  # noqa: B009 - mypy's rule
    try:
        hints = get_type_hints(call)
    except Exception:  # a name that only type checkers see
        return
    for name, value in options.items():
        flags = [one for one in (value if isinstance(value, list | tuple) else [value])
                 if isinstance(one, bool)]  # fmt: skip
        if flags and _wants_numbers(hints.get(name)):
            raise ValueError(f"{name} must be a number, got {shorten(value)}")


def _wants_numbers(hint: Any) -> bool:
    """Whether the type has numbers and neither flags nor anything."""
    parts = _parts(hint)
    return bool({int, float} & parts) and not {bool, object, Any} & parts


def _parts(hint: Any) -> set[Any]:
    arguments = [one for one in get_args(hint) if one.__hash__ is not None]
    return {hint}.union(*map(_parts, arguments)) if arguments else {hint}


def dump_recipe(recipe: Any) -> str:
    """The dataclass as YAML: every field, in order."""
    import yaml

    return str(yaml.safe_dump(_plain(asdict(recipe)), sort_keys=False))


def changed_keys(before: Any, after: Any) -> list[str]:
    """The fields in which two recipes of one type differ; a list equals a tuple."""
    old, new = _plain(asdict(before)), _plain(asdict(after))
    return [name for name in new if new[name] != old[name]]


_KINDS: dict[Any, tuple[tuple[type, ...], str, str]] = {
    bool: ((bool,), "true or false", "flags"),
    int: ((int,), "an integer", "integers"),
    float: ((int, float, str), "a number", "numbers"),
    str: ((str,), "a string", "strings"),
    dict: ((dict,), "a mapping", "mappings"),
    list: ((list, tuple), "a list", "lists"),
    tuple: ((list, tuple), "a list", "lists"),
}
"""Type of a field -> the types of its values, what one of them is called, and several."""


def _has_floats(hint: Any) -> bool:
    return hint is float or any(map(_has_floats, get_args(hint)))


def _as(hint: Any, name: str, value: Any) -> Any:
    """The value in the type of its field; a field of another kind of type takes anything.

    Raises:
        ValueError: it has another type; the message names it.
    """
    try:
        return _convert(hint, value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be {_describe(hint)}, got {shorten(value)}") from None


def _convert(hint: Any, value: Any) -> Any:
    kind: Any = get_origin(hint) or hint
    arguments = get_args(hint)
    if kind in (Union, UnionType):
        others = [one for one in arguments if one is not NoneType]
        if len(others) > 1 or (value is None and len(others) < len(arguments)):
            return value
        return _convert(others[0], value)
    if kind not in _KINDS:
        return value
    types: tuple[Any, ...] = _KINDS[kind][0]
    if not isinstance(value, types) or (kind is not bool and isinstance(value, bool)):
        raise TypeError
    if kind is float:
        return float(value)
    if kind in (list, tuple):
        items = [_convert(arguments[0], one) if arguments else one for one in value]
        return tuple(items) if kind is tuple else items
    return value


def _describe(hint: Any) -> str:
    """What a value of this type is called."""
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        named = [_describe(one) for one in arguments if one is not NoneType]
        return " or ".join(named + ["null"] * (len(named) < len(arguments)))
    words = _KINDS[kind][1]
    if kind in (list, tuple) and arguments and arguments[0] in _KINDS:
        return f"{words} of {_KINDS[arguments[0]][2]}"
    return words


def _plain(value: Any) -> Any:
    """The value with lists for tuples: safe YAML has no tuples."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
