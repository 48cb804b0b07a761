"""From a clean clone to a user's machine: build every wheel, install them elsewhere, use them.

Third-party packages are not downloaded again. A new environment sees, through symbolic links, the
distributions that the wheels declare a need for, and no others: a need that is not declared fails.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pip
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="the environments are made of symbolic links"),
]

REPOSITORY = Path(__file__).resolve().parents[2]
CARD = REPOSITORY / "hub_cards" / "egru-ptb-small"
CLOUDS = REPOSITORY / "hub_cards" / "stream-modelnet10-small"
PACKAGES = {
    "evenfall-core": "evenfall",
    "evenfall-kernels": "evenfall_kernels",
    "evenfall-blocklocal": "evenfall_blocklocal",
    "evenfall-egru": "evenfall_egru",
    "evenfall-mamba": "evenfall_mamba",
    "evenfall-sparsity": "evenfall_sparsity",
    "evenfall-spinnaker2": "evenfall_spinnaker2",
    "evenfall-stream": "evenfall_stream",
}
FOLDERS = {
    "evenfall": REPOSITORY,
    "evenfall-core": REPOSITORY / "core",
    "evenfall-kernels": REPOSITORY / "kernels",
    "evenfall-blocklocal": REPOSITORY / "plugins" / "blocklocal",
    "evenfall-egru": REPOSITORY / "plugins" / "egru",
    "evenfall-mamba": REPOSITORY / "plugins" / "mamba",
    "evenfall-sparsity": REPOSITORY / "plugins" / "sparsity",
    "evenfall-spinnaker2": REPOSITORY / "plugins" / "spinnaker2",
    "evenfall-stream": REPOSITORY / "plugins" / "stream",
}
REPOSITORY_PAGE = yaml.safe_load(
    re.sub(r"!!python\S+", "", (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
)["repo_url"]
ADDRESSES = [
    f"Repository, {REPOSITORY_PAGE}",
    f"Documentation, {REPOSITORY_PAGE}/tree/main/docs",
    f"Changelog, {REPOSITORY_PAGE}/blob/main/CHANGELOG.md",
    f"Issues, {REPOSITORY_PAGE}/issues",
]
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
SOURCES = {package: FOLDERS[name] / "src" for name, package in PACKAGES.items()}


def _call(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    hidden = {"PYTHONPATH", "PYTHONHOME", "EVENFALL_PLUGINS", "EVENFALL_BLOCK", "EVENFALL_STRICT"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | {"HF_HUB_OFFLINE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=3600,  # against a hang alone
    )


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    done = _call(*command, cwd=cwd)
    assert done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def _pip(*arguments: str | Path, python: str | Path = sys.executable) -> str:
    return _run(python, "-m", "pip", *arguments)


def _wheel(wheels: Path, name: str) -> zipfile.ZipFile:
    (path,) = wheels.glob(f"{name.replace('-', '_')}-*.whl")
    return zipfile.ZipFile(path)


def _metadata(archive: zipfile.ZipFile) -> Message:
    (path,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
    return message_from_bytes(archive.read(path))


def _needs(lines: list[str], extras: frozenset[str]) -> list[Requirement]:
    declared = [Requirement(line) for line in lines]
    environments = [{"extra": extra} for extra in {"", *extras}]
    return [
        need
        for need in declared
        if need.marker is None or any(need.marker.evaluate(one) for one in environments)
    ]


def _third_party(name: str, wheels: Path) -> dict[str, Distribution]:
    """Return every distribution from elsewhere that `name` needs, directly or through others."""
    pending: list[tuple[str, frozenset[str]]] = [(name, frozenset())]
    seen: set[tuple[str, frozenset[str]]] = set()
    found: dict[str, Distribution] = {}
    while pending:
        entry = pending.pop()
        if entry in seen:
            continue
        seen.add(entry)
        if entry[0] in FOLDERS:
            with _wheel(wheels, entry[0]) as archive:
                lines = _metadata(archive).get_all("Requires-Dist", [])
        else:
            found[entry[0]] = distribution(entry[0])
            lines = found[entry[0]].requires or []
        for need in _needs(lines, entry[1]):
            pending.append((canonicalize_name(need.name), frozenset(need.extras)))
    return found


def _link_files(found: Distribution, into: Path) -> None:
    """Link the top-level folders and files of one installed distribution into a folder."""
    for top in {file.parts[0] for file in found.files or []}:
        link = into / top
        if top in {"..", "__pycache__"} or top.endswith(".pth") or link.exists():
            continue
        link.symlink_to(Path(str(found.locate_file(top))))


def _share_bytecode(packages: Path) -> None:
    """Let installed folders that equal those of the checkout keep their bytecode in these.

    It is valid for a source's size and time of change. Machine code is shared by its content.
    """
    for folder in {file.parent for file in packages.glob("evenfall*/**/*.py")}:
        relative = folder.relative_to(packages)
        ours = SOURCES[relative.parts[0]] / relative
        names = [file.name for file in folder.glob("*.py")]
        if filecmp.cmpfiles(folder, ours, names, shallow=False)[0] == names:
            for name in names:
                shutil.copystat(ours / name, folder / name)
            (ours / "__pycache__").mkdir(exist_ok=True)
            (folder / "__pycache__").symlink_to(ours / "__pycache__", target_is_directory=True)


def _environment(root: Path, name: str, wheels: Path, *, share: bool = True) -> Path:
    """Make an environment with `name` installed from the wheels; return its folder of programs."""
    venv.create(root / "venv", symlinks=True)
    programs = root / "venv" / "bin"
    linked = root / "third_party"
    linked.mkdir()
    for found in _third_party(name, wheels).values():
        _link_files(found, linked)
    (linked / "pip").symlink_to(Path(pip.__file__).parent)
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(_run(programs / "python", "-c", query).strip())
    (packages / "third_party.pth").write_text(f"{linked}\n", encoding="utf-8")
    options = ("--no-index", "--no-compile", "--find-links", wheels)
    _pip("install", *options, name, python=programs / "python")
    _pip("check", python=programs / "python")
    if share:
        _share_bytecode(packages)
    return programs


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel of every distribution, built in one call."""
    folder = tmp_path_factory.mktemp("wheels")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder)
    _pip("wheel", *options, *FOLDERS.values())
    return folder


@pytest.fixture(scope="module")
def sdists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the source archive of every distribution."""
    folder = tmp_path_factory.mktemp("sdists")
    for source in FOLDERS.values():
        options = ("--target", "sdist", "--directory", folder)
        _run(sys.executable, "-m", "hatchling", "build", *options, cwd=source)
    return folder


@pytest.fixture(scope="module")
def wheels_of_sdists(sdists: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheels that pip builds from the source archives."""
    folder = tmp_path_factory.mktemp("wheels_of_sdists")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder)
    _pip("wheel", *options, *sorted(sdists.glob("*.tar.gz")))
    return folder


def test_every_distribution_has_the_licence_as_a_file() -> None:
    for name, folder in FOLDERS.items():
        licence = folder / "LICENSE"
        assert not licence.is_symlink(), f"{name}: a link leaves the sdist"
        assert licence.read_bytes() == (REPOSITORY / "LICENSE").read_bytes(), name
    assert {path.parent for path in REPOSITORY.glob("plugins/*/pyproject.toml")} <= {
        *FOLDERS.values()
    }


@pytest.mark.parametrize("name", FOLDERS)
def test_sdist_has_the_licence_and_no_links(sdists: Path, name: str) -> None:
    (path,) = sdists.glob(f"{name.replace('-', '_')}-*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        top = path.name.removesuffix(".tar.gz")
        stored = archive.extractfile(f"{top}/LICENSE")
        assert stored is not None
        assert stored.read() == (REPOSITORY / "LICENSE").read_bytes()
    assert [one.name for one in members if not one.isreg() and not one.isdir()] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_wheel_of_the_sdist_is_the_wheel(wheels: Path, wheels_of_sdists: Path, name: str) -> None:
    """To the byte, so a wheel can be made again from its source archive."""
    with _wheel(wheels, name) as direct, _wheel(wheels_of_sdists, name) as built:
        assert sorted(built.namelist()) == sorted(direct.namelist())
        for one in direct.namelist():
            assert built.read(one) == direct.read(one), one
        (licence,) = (one for one in built.namelist() if one.endswith("licenses/LICENSE"))
        assert built.read(licence) == (REPOSITORY / "LICENSE").read_bytes()
        paths = Path(str(direct.filename)), Path(str(built.filename))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_source_archive_has_the_same_bytes_at_another_time(sdists: Path, tmp_path: Path) -> None:
    """Neither the time nor the place of the checkout is in it."""
    checkout = tmp_path / "elsewhere"
    copy = checkout / "plugins" / "spinnaker2"
    shutil.copytree(REPOSITORY / "plugins" / "spinnaker2", copy, copy_function=shutil.copyfile)
    shutil.copyfile(REPOSITORY / ".gitignore", checkout / ".gitignore")
    (checkout / ".git").mkdir()
    _run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=copy)
    (made,) = tmp_path.glob("*.tar.gz")
    assert made.read_bytes() == (sdists / made.name).read_bytes()


@pytest.mark.parametrize("name", FOLDERS)
def test_metadata_and_licence(wheels: Path, name: str) -> None:
    with _wheel(wheels, name) as archive:
        metadata = _metadata(archive)
        (licence,) = (one for one in archive.namelist() if one.endswith("licenses/LICENSE"))
        assert archive.read(licence) == (REPOSITORY / "LICENSE").read_bytes()
    assert metadata["Name"] == name
    assert metadata["Version"] == VERSION
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("Project-URL") == ADDRESSES


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_wheel_holds_one_typed_package_and_no_tests(wheels: Path, name: str, package: str) -> None:
    with _wheel(wheels, name) as archive:
        files = [one for one in archive.namelist() if ".dist-info/" not in one]
    assert f"{package}/py.typed" in files
    assert {one.partition("/")[0] for one in files} == {package}
    assert [one for one in files if "/tests/" in one or "/test_" in one] == []
    assert [one for one in files if "__pycache__" in one] == []


def test_nothing_needs_matplotlib_but_the_extra_pictures(wheels: Path) -> None:
    """Pictures are all it is for."""
    for name in PACKAGES:
        with _wheel(wheels, name) as archive:
            lines = _metadata(archive).get_all("Requires-Dist", [])
        needs = [line for line in lines if line.startswith("matplotlib")]
        assert all(line.endswith("extra == 'pictures'") for line in needs), (name, needs)


def test_umbrella_wheel_is_metadata_only(wheels: Path) -> None:
    with _wheel(wheels, "evenfall") as archive:
        assert [one for one in archive.namelist() if ".dist-info/" not in one] == []
        assert _metadata(archive).get_all("Requires-Dist", [])[0] == "evenfall-core==0.1.*"


def test_core_alone_answers_without_torch(wheels: Path, tmp_path: Path) -> None:
    programs = _environment(tmp_path, "evenfall-core", wheels)
    probe = "import importlib.util as util; print(util.find_spec('torch'))"
    assert _run(programs / "python", "-c", probe, cwd=tmp_path).strip() == "None"
    assert _run(programs / "evenfall", "plugins", cwd=tmp_path).strip()
    listed = json.loads(_run(programs / "evenfall", "plugins", "--json", cwd=tmp_path))
    assert {row["name"] for row in listed}.isdisjoint({"egru", "kernels"})


def test_uninstalling_leaves_nothing_to_import(wheels: Path, tmp_path: Path) -> None:
    """A folder without sources would be an empty namespace, which imports without an error."""
    programs = _environment(tmp_path, "evenfall-kernels", wheels, share=False)
    script = """
        import torch
        from evenfall_kernels import event_matmul

        print(float(event_matmul(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0], [3.0]]))))
    """
    output = _run(programs / "python", "-c", textwrap.dedent(script), cwd=tmp_path)
    assert output.splitlines()[-1] == "6.0"
    _pip("uninstall", "--yes", "evenfall-kernels", "evenfall-core", python=programs / "python")
    for name in ("evenfall_kernels", "evenfall"):
        gone = _call(programs / "python", "-c", f"import {name}", cwd=tmp_path)
        assert f"ModuleNotFoundError: No module named '{name}'" in gone.stderr


def test_model_generates_where_only_its_plugin_is_installed(wheels: Path, tmp_path: Path) -> None:
    programs = _environment(tmp_path, "evenfall-egru", wheels)
    script = f"""
        import torch
        import evenfall_egru
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained({str(CARD)!r})
        prompt = torch.tensor([[1, 2, 3]])
        tokens = model.generate(prompt, min_new_tokens=5, max_new_tokens=5, do_sample=False)
        print(evenfall_egru.__file__)
        print(tokens.shape[1])
    """
    output = _run(programs / "python", "-c", textwrap.dedent(script), cwd=tmp_path)
    where, length = output.splitlines()[-2:]
    assert Path(where).is_relative_to(tmp_path)
    assert length == "8"
    listed = json.loads(_run(programs / "evenfall", "plugins", "--json", cwd=tmp_path))
    assert {row["name"]: row["status"] for row in listed} == {"egru": "ok", "kernels": "ok"}


def test_mamba_runs_patched_where_only_its_plugin_is_installed(
    wheels: Path, tmp_path: Path
) -> None:
    programs = _environment(tmp_path, "evenfall-mamba", wheels)
    script = """
        import evenfall
        import torch
        from transformers import MambaConfig, MambaForCausalLM

        model = MambaForCausalLM(MambaConfig(vocab_size=9, hidden_size=16, num_hidden_layers=1))
        ids = torch.tensor([[1, 2, 3]])
        want = model(ids).logits
        with evenfall.patch("mamba"):
            print(float((model(ids).logits - want).abs().max()) < 1e-5)
    """
    output = _run(programs / "python", "-c", textwrap.dedent(script), cwd=tmp_path)
    assert output.splitlines()[-1] == "True"
    listed = json.loads(_run(programs / "evenfall", "plugins", "--json", cwd=tmp_path))
    assert {row["name"]: row["status"] for row in listed} == {"kernels": "ok", "mamba": "ok"}


def test_stream_classifies_and_predicts_without_its_extras(wheels: Path, tmp_path: Path) -> None:
    programs = _environment(tmp_path, "evenfall-stream", wheels)
    script = f"""
        import importlib.util

        import torch
        from evenfall_stream import StreamClassifier

        model = StreamClassifier.from_pretrained({str(CLOUDS)!r})
        for name in ("accelerate", "timm", "transformers", "matplotlib"):
            print(importlib.util.find_spec(name))
        print(tuple(model(torch.rand(200, 3)).shape))
    """
    output = _run(programs / "python", "-c", textwrap.dedent(script), cwd=tmp_path)
    assert output.splitlines()[-5:] == [*["None"] * 4, "(1, 10)"]
    listed = json.loads(_run(programs / "evenfall", "plugins", "--json", cwd=tmp_path))
    assert {row["name"]: row["status"] for row in listed} == {"kernels": "ok", "stream": "ok"}

    rows = "\n".join(f"{x} {y} {x * y}" for x in range(9) for y in range(9))
    (tmp_path / "saddle.xyz").write_text(rows, encoding="utf-8")
    stream = (programs / "evenfall", "stream")
    told = _run(*stream, "predict", CLOUDS, "saddle.xyz", "--json", cwd=tmp_path)
    assert len(json.loads(told)[0]["probabilities"]) == 10
    done = _call(*stream, "train", "modelnet10", "--data", ".", "--output", "run", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: evenfall stream train needs accelerate and timm; install the extra 'train': "
        "pip install 'evenfall-stream[train]'"
    )
    assert "Traceback" not in done.stderr
