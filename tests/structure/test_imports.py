"""Imports: no circles of modules or folders, no plugin imports another, core is light.

All imports count: at the top, inside functions, for type checkers only, and `import_module("a.b")`.
References in strings do not: a registry resolves them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import pytest

from .conftest import Distribution, Module, circles

PACKAGES = [
    "evenfall",
    "evenfall_blocklocal",
    "evenfall_egru",
    "evenfall_kernels",
    "evenfall_mamba",
    "evenfall_sparsity",
    "evenfall_spinnaker2",
    "evenfall_stream",
]
HEAVY = {
    "accelerate", "h5py", "huggingface_hub", "matplotlib", "numba", "numpy", "PIL", "safetensors",
    "timm", "torch", "torch_geometric", "transformers", "triton", "yaml",
}  # fmt: skip
HOSTS_OF_THE_KIT = "evenfall.testing"  # imported by tests alone; its batteries are written in torch


def test_every_distribution_is_checked(distributions: dict[str, Distribution]) -> None:
    assert sorted(distributions) == PACKAGES


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_form_no_circle(distributions: dict[str, Distribution], package: str) -> None:
    distribution = distributions[package]
    graph: dict[str, set[str]] = {name: set() for name in distribution.modules}
    for importer, imported in distribution.edges():
        graph[importer].add(imported)
    assert circles(graph) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_form_no_circle(distributions: dict[str, Distribution], package: str) -> None:
    """In each folder, its files are nodes, and each of its sub-folders, with all that it holds, is
    one node; those nodes form no circle.

    So two sub-folders may not import each other, even through different files, and a file that a
    sub-folder imports may not import the sub-folder. From outside, the `__init__` of a folder is
    part of the folder. From inside, it is a file like the others: the files that it imports may not
    import from it.
    """
    distribution = distributions[package]
    levels: dict[str, dict[str, set[str]]] = {}
    for importer, imported in distribution.edges():
        folder, one, other = _common_folder(distribution, importer, imported)
        level = levels.setdefault(folder, {})
        level.setdefault(one, set()).add(other)
        level.setdefault(other, set())
    assert {folder: found for folder, level in levels.items() if (found := circles(level))} == {}


def _common_folder(
    distribution: Distribution, importer: str, imported: str
) -> tuple[str, str, str]:
    """The innermost folder that holds both modules, and the node of each in it."""
    one, other = _steps(distribution, importer), _steps(distribution, imported)
    depth = next(
        at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right
    )
    return ".".join(one[:depth]), ".".join(one[: depth + 1]), ".".join(other[: depth + 1])


def _steps(distribution: Distribution, name: str) -> list[str]:
    parts = name.split(".")
    return [*parts, "__init__"] if distribution.modules[name].is_package else parts


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_know_only_those_below(
    distributions: dict[str, Distribution], package: str
) -> None:
    """Plugins import kernels and core, kernels import core, core none of them."""
    below = {"evenfall": set(), "evenfall_kernels": {"evenfall"}}
    allowed = below.get(package, {"evenfall", "evenfall_kernels"}) | {package}
    wrong = [
        f"{module.name}:{line} imports {imported}"
        for module in distributions[package].modules.values()
        for imported, _, line in module.imports()
        if (top := imported.partition(".")[0]) in PACKAGES and top not in allowed
    ]
    assert wrong == []


def test_core_imports_nothing_heavy_at_top_level(distributions: dict[str, Distribution]) -> None:
    wrong = [
        f"{module.name}:{line} imports {imported}"
        for module in distributions["evenfall"].modules.values()
        if not module.name.startswith(HOSTS_OF_THE_KIT)
        for imported, _, line in module.imports(_run_on_import(module))
        if imported.partition(".")[0] in HEAVY
    ]
    assert wrong == []


def _run_on_import(module: Module) -> Iterator[ast.AST]:
    """Every node that is executed when the module is imported."""

    def visit(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                for other in child.orelse:
                    yield other
                    yield from visit(other)
                continue
            yield child
            yield from visit(child)

    return visit(module.tree)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch.nn", ["torch.nn"]),
        ("def f():\n    import torch", []),
        ("class A:\n    import torch", ["torch"]),
        ("try:\n    import torch\nexcept ImportError:\n    pass", ["torch"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", ["typing"]),
    ],
)
def test_top_level_is_what_runs_on_import(
    make_module: Callable[..., Module], source: str, found: list[str]
) -> None:
    module = make_module("a.b", source)
    assert [imported for imported, _, _ in module.imports(_run_on_import(module))] == found


@pytest.mark.parametrize(
    ("sources", "modules", "folders"),
    [
        ({"p.a": "from . import b", "p.b": "from .c import x", "p.c": ""}, [], {}),
        (
            {"p.a": "def f():\n    from . import b", "p.b": "import p.a"},
            [["p.a", "p.b"]],
            {"p": [["p.a", "p.b"]]},
        ),
        (
            {"p.f.a": "from ..g import c", "p.g.c": "", "p.f.b": "", "p.g.d": "from ..f import b"},
            [],
            {"p": [["p.f", "p.g"]]},
        ),
        ({"p.f.a": "from ..low import x", "p.low": "", "p.top": "from .f import a"}, [], {}),
        (
            {"p.f.a": "from ..low import x", "p.low": "", "p": "from .f.a import x"},
            [],
            {},
        ),
        (
            {"p.f.a": "from .. import x", "p": "import importlib\nimportlib.import_module('p.f.b')",
             "p.f.b": ""},
            [],
            {"p": [["p.__init__", "p.f"]]},
        ),
    ],
)  # fmt: skip
def test_circles_are_found(
    make_module: Callable[..., Module],
    sources: dict[str, str],
    modules: list[list[str]],
    folders: dict[str, list[list[str]]],
) -> None:
    packages = {"p"} | {name.rpartition(".")[0] for name in sources if "." in name}
    made = {
        name: make_module(name, sources.get(name, ""), name in packages)
        for name in {*sources, *packages}
    }
    world = {"p": Distribution("p", made)}

    def check(test: Callable[..., None], want: object) -> None:
        if not want:
            test(world, "p")
            return
        with pytest.raises(AssertionError) as error:
            test(world, "p")
        assert str(want) in str(error.value)

    check(test_modules_form_no_circle, modules)
    check(test_folders_form_no_circle, folders)
