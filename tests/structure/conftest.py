"""The parsed sources of every distribution: imports, and public names of packages."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(
    [ROOT / "core", ROOT / "kernels", *(path for path in (ROOT / "plugins").iterdir())]
)


@dataclass
class Module:
    """One module; a package is the module of its `__init__`."""

    name: str
    path: Path
    is_package: bool
    tree: ast.Module = field(repr=False)

    def absolute(self, node: ast.ImportFrom) -> str:
        """The full name of what `from X import ...` imports from."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".") if self.is_package else self.name.split(".")[:-1]
        above = parts[: len(parts) - node.level + 1]
        return ".".join([*above, *([node.module] if node.module else [])])

    def imports(self, nodes: Iterable[ast.AST] | None = None) -> Iterator[tuple[str, str, int]]:
        """(module, name in it or "", line) of every import at any depth, including imports inside
        functions, for type checkers, and `import_module("a.b")`."""
        for node in ast.walk(self.tree) if nodes is None else nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, "", node.lineno
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield self.absolute(node), alias.name, node.lineno
            elif isinstance(node, ast.Call) and _called(node) == "import_module" and node.args:
                argument = node.args[0]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, "", node.lineno


def _called(node: ast.Call) -> str:
    function = node.func
    return getattr(function, "attr", "") or getattr(function, "id", "")


@dataclass
class Distribution:
    """The modules of one distribution, by name."""

    package: str
    modules: dict[str, Module]

    def target(self, module: str, name: str) -> str | None:
        """The module of this distribution that `from module import name` imports, if any."""
        for candidate in ([f"{module}.{name}"] if name else []) + [module]:
            if candidate in self.modules:
                return candidate
        return None

    def edges(self) -> Iterator[tuple[str, str]]:
        """(importer, imported) of every import within the distribution."""
        for module in self.modules.values():
            for imported, name, _ in module.imports():
                target = self.target(imported, name)
                if target is not None and target != module.name:
                    yield module.name, target


def _read(folder: Path) -> Distribution:
    (root,) = (path for path in (folder / "src").iterdir() if (path / "__init__.py").is_file())
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        inside = [root.parent.joinpath(*parts[:depth]) for depth in range(1, len(parts))]
        if not all((above / "__init__.py").is_file() for above in inside):
            continue  # a file that is copied elsewhere; it is not part of the package
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        modules[name] = Module(name, path, is_package, tree)
    return Distribution(root.name, modules)


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Every group of nodes that reach each other; the groups and the list are sorted (Tarjan)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            at = stack.index(node)
            group = sorted(stack[at:])
            del stack[at:]
            if len(group) > 1 or node in graph.get(node, ()):
                found.append(group)

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return sorted(found)


@pytest.fixture(scope="session")
def distributions() -> dict[str, Distribution]:
    """Every distribution of the repository, by the name of its package."""
    read = (_read(folder) for folder in FOLDERS if (folder / "src").is_dir())
    return {found.package: found for found in read}


@pytest.fixture
def make_module() -> Callable[..., Module]:
    """Make a module from its source."""

    def make(name: str, source: str, is_package: bool = False) -> Module:
        return Module(name, Path(name), is_package, ast.parse(source))

    return make
