"""The mapping of `kernels` while the patch is applied: ours are in it, and afterwards they are not.

Everything runs against a stand-in, and against the package where it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from transformers.utils import import_utils

import evenfall
from evenfall.errors import PatchError
from evenfall_mamba import FAMILIES, check, hub_mapping
from evenfall_mamba.hub_kernels import DEVICES, OPERATIONS, Repository
from evenfall_mamba.hub_mapping import REGISTRATION

STAND_IN = Path(__file__).parent / "kernels_standin.py"


@dataclass(frozen=True)
class Theirs:
    """A repository of somebody else's."""

    name: str

    def load(self) -> Any:
        raise FileNotFoundError(self.name)


@dataclass(frozen=True)
class Package:
    """The stand-in or the package, and where it looks the capability of the device up."""

    module: Any
    use_capability: Callable[[int], None]

    @property
    def variable(self) -> Any:
        return self.module.register_kernel_mapping.__globals__["_KERNEL_MAPPING"]

    def device(self, low: int, high: int) -> Any:
        properties = self.module.CUDAProperties(min_capability=low, max_capability=high)
        return self.module.Device(type="cuda", properties=properties)

    def register(self, mapping: dict[str, dict[Any, Any]], **options: Any) -> None:
        self.module.register_kernel_mapping(mapping, **options)

    def look(self) -> dict[tuple[str, str, int], Any]:
        """(operation, device, capability) -> the repositories that `kernelize` chooses from."""
        found = {}
        for capability in (80, 90):
            self.use_capability(capability)
            for name, devices in self.variable.get().items():
                for device, entries in devices.items():
                    repositories = entries.repos
                    found[name, device, capability] = repositories and dict(repositories)
        return found

    def objects(self) -> dict[str, dict[str, Any]]:
        return {name: dict(devices) for name, devices in self.variable.get().items()}


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Package:
    spec = importlib.util.spec_from_file_location("kernels", STAND_IN)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "kernels", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(
        hub_mapping, "version", lambda name: "0.18.2" if name == "kernels" else version(name)
    )
    return Package(module, lambda capability: setattr(module, "CAPABILITY", capability))


def real(monkeypatch: pytest.MonkeyPatch) -> Package:
    try:
        found = Version(version("kernels"))
    except PackageNotFoundError:
        pytest.skip("kernels is not installed")
    if found < Version("0.16.2"):
        pytest.skip(f"kernels {found} is installed, want 0.16.2 or later")
    module = importlib.import_module("kernels")
    repos = importlib.import_module("kernels.layer.repos")
    return Package(
        module,
        lambda capability: monkeypatch.setattr(repos, "_find_capability", lambda: capability),
    )


def open_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_utils, "is_kernels_available", lambda: True)


@pytest.fixture(params=[stand_in, real], ids=["stand-in", "package"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """With an empty mapping, fit for transformers."""
    open_gate(monkeypatch)
    found = request.param(monkeypatch)
    token = found.variable.set({})
    yield found
    found.variable.reset(token)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Package:
    open_gate(monkeypatch)
    return stand_in(monkeypatch)


def patch() -> Any:
    return evenfall.patch("mamba", targets=["transformers"])


def ours(package: Package) -> dict[str, Any]:
    return {name: {package.module.Mode.FALLBACK: Repository(name)} for name in OPERATIONS}


def before(package: Package) -> None:
    """What somebody registered before us."""
    mode = package.module.Mode
    package.register(
        {
            "selective_scan_fn": {
                "cuda": {mode.INFERENCE: Theirs("wide")},
                package.device(90, 90): Theirs("narrow"),
                "cpu": Theirs("cpu"),
            },
            "their_norm": {"cpu": Theirs("norm")},
        }
    )


def between(package: Package) -> None:
    """What somebody registers while the patch is applied."""
    package.register(
        {
            "selective_scan_fn": {package.device(80, 89): Theirs("later"), "xpu": Theirs("xpu")},
            "causal_conv1d_fn": {"cpu": Theirs("convolution")},
            "their_mlp": {"cuda": Theirs("mlp")},
        }
    )


def test_ours_are_there_inside_and_gone_after(package: Package) -> None:
    with patch():
        assert REGISTRATION.reason is None
        assert package.look() == {
            (name, device, capability): repositories
            for name, repositories in ours(package).items()
            for device in DEVICES
            for capability in (80, 90)
        }
    assert package.variable.get() == {} and REGISTRATION.reason == "the patch is not applied"
    with pytest.raises(ZeroDivisionError), patch():
        1 / 0  # noqa: B018
    assert package.variable.get() == {}


def test_what_stood_there_comes_back(package: Package) -> None:
    before(package)
    objects, seen = package.objects(), package.look()
    for _ in range(2):
        with patch():
            inside, own = package.look(), ours(package)["selective_scan_fn"]
            assert inside["selective_scan_fn", "cuda", 80] == own
            assert inside["selective_scan_fn", "cpu", 80] == own
            narrow = {package.module.Mode.FALLBACK: Theirs("narrow")}
            assert inside["selective_scan_fn", "cuda", 90] == narrow
        after = package.objects()
        assert after.keys() == objects.keys() and package.look() == seen
        for name, devices in objects.items():
            assert after[name].keys() == devices.keys()
            assert all(after[name][device] is devices[device] for device in devices)


@pytest.mark.parametrize("first", [before, lambda package: None], ids=["onto others", "alone"])
def test_strangers_entries_stay_as_if_we_had_not_been_there(
    package: Package, first: Callable[[Package], None]
) -> None:
    token = package.variable.set({})
    first(package)
    between(package)
    expected = package.look()
    package.variable.reset(token)
    first(package)
    with patch():
        between(package)
        inside = package.look()
        assert inside["causal_conv1d_fn", "cpu", 80] != ours(package)["causal_conv1d_fn"]
        assert inside["causal_conv1d_update", "cpu", 80] == ours(package)["causal_conv1d_update"]
    assert package.look() == expected
    assert not any("evenfall" in str(type(entries)) for entries in package.objects().values())


def test_stranger_who_starts_afresh_is_left_alone(package: Package) -> None:
    token = package.variable.set({})
    before(package)
    with patch():
        package.register({"selective_scan_fn": {"cpu": Theirs("fresh")}}, inherit_mapping=False)
        seen = package.look()
        assert set(seen) == {("selective_scan_fn", "cpu", 80), ("selective_scan_fn", "cpu", 90)}
    assert package.look() == seen
    package.variable.reset(token)


def test_stranger_who_replaces_the_object_is_left_alone(package: Package) -> None:
    before(package)
    standing = package.variable.get()["selective_scan_fn"]
    with patch():
        theirs = standing["cpu"] = object()
    assert standing["cpu"] is theirs and set(standing) == {"cuda", "cpu"}


def test_block_inside_the_patch_keeps_what_is_its_own(package: Package) -> None:
    before(package)
    seen, handle = package.look(), patch().apply()
    with package.module.use_kernel_mapping({"causal_conv1d_fn": {"cpu": Theirs("inner")}}):
        package.register({"selective_scan_fn": {"cpu": Theirs("inner")}})
        inside = package.look()
        handle.revert()
        assert package.look() == inside
    assert package.look() == seen


@pytest.mark.parametrize("inside", [True, False], ids=["reverted inside", "reverted after"])
def test_patch_inside_a_block_registers_for_that_block(package: Package, inside: bool) -> None:
    before(package)
    seen, handle = package.look(), patch()
    with package.module.use_kernel_mapping({"causal_conv1d_fn": {"cpu": Theirs("outer")}}):
        outer = package.look()
        handle.apply()
        assert package.look() != outer
        if inside:
            handle.revert()
            assert package.look() == outer
    assert package.look() == seen
    if not inside:
        handle.revert()
        assert package.look() == seen


def test_patching_twice_is_refused_and_changes_nothing(package: Package) -> None:
    with patch():
        inside = package.objects()
        with pytest.raises(PatchError, match="applied already"):
            patch().apply()
        assert package.objects() == inside and REGISTRATION.reason is None
    assert package.variable.get() == {}


def test_refused_patch_registers_nothing(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    host = importlib.import_module(FAMILIES[-1].module)
    monkeypatch.setattr(host, "mamba_selective_scan", lambda u, initial_state: u)
    with pytest.raises(PatchError, match="takes"):
        patch().apply()
    assert package.variable.get() == {} and REGISTRATION.reason is not None


def test_command_says_that_it_registers(package: Package) -> None:
    assert check.unregistered() is None
    with patch():
        assert check.unregistered() is None
    assert package.variable.get() == {}


def not_installed(name: str) -> str:
    raise PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, r"kernels is not installed"),
        ("0.17.2", r"kernels 0\.17\.2 is installed, transformers 5.* wants kernels>=0\.\d+.*,<0\."),
    ],
)
def test_without_a_fitting_version_the_package_is_not_imported(
    found: str | None,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(import_utils, "is_kernels_available", lambda: False)
    monkeypatch.setitem(sys.modules, "kernels", None)  # so that importing it fails
    monkeypatch.setattr(
        hub_mapping,
        "version",
        lambda name: version(name) if name != "kernels" else found or not_installed(name),
    )
    with caplog.at_level(logging.INFO, logger="evenfall_mamba"), patch() as handle:
        assert handle.applied and re.match(reason, str(REGISTRATION.reason))
    start = "patch 'mamba', target 'transformers': not registered with kernels: "
    (said,) = caplog.messages
    assert said.startswith(start) and re.match(reason, said.removeprefix(start))
    assert re.match(reason, str(check.unregistered()))


def without_function(module: Any) -> None:
    del module.register_kernel_mapping


def without_variable(module: Any) -> None:
    module._KERNEL_MAPPING = {}


def other_variable(module: Any) -> None:
    module.register_kernel_mapping = lambda mapping, inherit_mapping: None


def other_content(module: Any) -> None:
    module._KERNEL_MAPPING.set({"their_norm": [Theirs("norm")]})


def other_devices(module: Any) -> None:
    device = module.Device
    module.KINDS["gpu"] = module.Single
    module.Device = lambda type: device("gpu")


def fewer_devices(module: Any) -> None:
    del module.KINDS["rocm"]


class Sealed:
    """Entries that nothing can be noted on."""

    __slots__ = ()


class Failing:
    """Entries that take no others."""

    def insert(self, device: Any, repos: Any) -> None:
        raise RuntimeError("full")


def sealed_entries(module: Any) -> None:
    module._KERNEL_MAPPING.set({"selective_scan_fn": {"rocm": Sealed()}})


def failing_entries(module: Any) -> None:
    module._KERNEL_MAPPING.set({"selective_scan_fn": {"rocm": Failing()}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_function, "no attribute 'register_kernel_mapping'"),
        (without_variable, "uses no context variable _KERNEL_MAPPING"),
        (other_variable, "uses no context variable _KERNEL_MAPPING"),
        (other_content, "does not hold a dictionary of dictionaries"),
        (other_devices, "does not file by operation and type of device"),
        (fewer_devices, "'rocm'"),
        (sealed_entries, "no attribute 'since'"),
        (failing_entries, "full"),
    ],
)
def test_package_of_another_make_is_left_alone(
    fake: Package,
    change: Callable[[Any], None],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    variable = fake.module._KERNEL_MAPPING
    token = variable.set({})
    change(fake.module)
    mapping = variable.get()
    copied = {name: devices.copy() for name, devices in mapping.items()}
    with patch() as handle:
        assert handle.applied and variable.get() is mapping and mapping == copied
        assert words in str(REGISTRATION.reason)
    (said,) = caplog.messages
    assert "not registered with kernels: kernels 0.18.2 is not as expected: " in said
    assert words in said and mapping == copied
    variable.reset(token)
