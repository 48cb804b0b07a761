"""Backends: which one serves a call, how to force one, and the error messages."""

from __future__ import annotations

import importlib
import sys
import threading
import warnings
from functools import partial
from types import ModuleType

import pytest

from evenfall import backends, registry, use_backend
from evenfall.backends import candidates, operations, select
from evenfall.errors import BackendError, BackendWarning, ReferenceImportError
from evenfall.owners import Owner

KERNELS = """
    @hookimpl
    def evenfall_register_kernels(register):
        register("scan", "reference", "json:loads", devices=("*",), dtypes=("*",), slow=True)
        register("scan", "cpu", "json:dumps", dtypes=("float32", "float64"), priority=10)
        register("scan", "vendor", "json:dump", priority=20)
        register("scan", "triton", "site_absent:scan", devices=("cuda",), priority=10)
        register("matmul", "cpu", "json:dumps")
"""


@pytest.fixture(autouse=True)
def _kernels(world, monkeypatch: pytest.MonkeyPatch) -> None:
    world.install("kernels", KERNELS)
    monkeypatch.setattr(backends, "_warned", set())


def test_highest_priority_that_fits_is_chosen() -> None:
    kernel = select("scan")
    assert (kernel.backend, kernel.owner, kernel.priority) == ("vendor", "kernels", 20)
    assert select("scan", dtype="float64").backend == "cpu"


def test_kernel_load_imports_the_reference() -> None:
    import json

    assert select("scan").load() is json.dump


def test_torch_devices_and_dtypes_are_accepted() -> None:
    torch = pytest.importorskip("torch")
    assert select("scan", device=torch.device("cpu"), dtype=torch.float64).backend == "cpu"
    with pytest.warns(BackendWarning):
        assert select("scan", device="cuda:1", dtype=torch.float16).backend == "reference"


def test_fast_backends_are_tried_before_slow_ones() -> None:
    assert [kernel.backend for kernel in candidates("scan")] == [
        "vendor",
        "cpu",
        "triton",
        "reference",
    ]
    assert operations() == ["matmul", "scan"]


def test_fallback_to_a_slow_backend_warns_once() -> None:
    with pytest.warns(BackendWarning) as record:
        assert select("scan", device="cuda").backend == "reference"
    (message,) = [str(warning.message) for warning in record]
    assert "scan on cuda float32 uses the slow backend 'reference'" in message
    assert "site_absent" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        select("scan", device="cuda")


CALL = "def call(function, *args, **options):\n    return function(*args, **options)\n"


def test_warning_points_at_the_line_of_the_user(world, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user calls a layer, which torch calls, which calls an operation, which calls select."""
    for name in ("evenfall_site.layers", "evenfall_site.ops", "torch.site"):
        module = ModuleType(name)
        exec(CALL, vars(module))
        monkeypatch.setitem(sys.modules, name, module)
    world.write_module("site_user", f"{CALL}\n\ndef train(layer):\n    return layer()\n")
    layers, ops, host = (
        sys.modules[name].call
        for name in ("evenfall_site.layers", "evenfall_site.ops", "torch.site")
    )
    user = importlib.import_module("site_user")
    with pytest.warns(BackendWarning) as record:
        user.train(partial(host, layers, host, ops, select, "scan", device="cuda"))
    (warning,) = record
    assert (warning.filename, warning.lineno) == (user.__file__, 6)


def test_warning_in_a_thread_of_the_library_does_not_fail() -> None:
    def select_in_thread() -> None:
        thread = threading.Thread(target=select, args=("scan",), kwargs={"device": "cuda"})
        thread.start()
        thread.join()

    with pytest.warns(BackendWarning) as record:
        select_in_thread()
    (warning,) = record
    assert warning.filename == threading.__file__


def test_slow_backend_that_is_forced_is_not_mentioned() -> None:
    with warnings.catch_warnings(), use_backend("reference"):
        warnings.simplefilter("error")
        assert select("scan", device="cuda").backend == "reference"


def test_use_backend_forces_and_restores() -> None:
    with use_backend("cpu"):
        assert select("scan").backend == "cpu"
        with use_backend("reference", "scan"):
            assert select("scan").backend == "reference"
            assert select("matmul").backend == "cpu"
        assert select("scan").backend == "cpu"
    assert select("scan").backend == "vendor"


def test_innermost_block_wins() -> None:
    with use_backend("reference", "scan"), use_backend("cpu"):
        assert select("scan").backend == "cpu"


def test_use_backend_restores_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), use_backend("reference"):
        raise ZeroDivisionError
    assert select("scan").backend == "vendor"


def test_use_backend_applies_to_its_own_thread() -> None:
    backends_in_thread: list[str] = []
    with use_backend("cpu"):
        thread = threading.Thread(target=lambda: backends_in_thread.append(select("scan").backend))
        thread.start()
        thread.join()
    assert backends_in_thread == ["vendor"]


@pytest.mark.parametrize(
    ("value", "scan", "matmul"),
    [
        ("cpu", "cpu", "cpu"),
        ("scan=reference", "reference", "cpu"),
        ("scan=reference, matmul=cpu", "reference", "cpu"),
        ("cpu,scan=vendor", "vendor", "cpu"),
        ("", "vendor", "cpu"),
    ],
)
def test_environment_forces(
    monkeypatch: pytest.MonkeyPatch, value: str, scan: str, matmul: str
) -> None:
    monkeypatch.setenv("EVENFALL_BACKEND", value)
    assert (select("scan").backend, select("matmul").backend) == (scan, matmul)


def test_use_backend_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENFALL_BACKEND", "reference")
    with use_backend("cpu"):
        assert select("scan").backend == "cpu"


def test_environment_may_change_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert select("scan").backend == "vendor"
    monkeypatch.setenv("EVENFALL_BACKEND", "scan=cpu")
    assert select("scan").backend == "cpu"
    monkeypatch.delenv("EVENFALL_BACKEND")
    assert select("scan").backend == "vendor"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("refrence", "EVENFALL_BACKEND: there is no backend 'refrence'. Closest: 'reference'"),
        ("scan=triton2", "EVENFALL_BACKEND: scan has no backend 'triton2'. Closest: 'triton'"),
        ("scn=cpu", "unknown operation 'scn'. Closest: 'scan'"),
        ("scan=", "want a backend or operation=backend"),
    ],
)
def test_malformed_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    monkeypatch.setenv("EVENFALL_BACKEND", value)
    with pytest.raises(BackendError) as error:
        select("scan")
    assert words in str(error.value)


def test_unknown_operation_gets_the_closest() -> None:
    with pytest.raises(BackendError, match=r"unknown operation 'scann'. Closest: 'scan'"):
        select("scann")


def test_unknown_backend_gets_the_closest() -> None:
    with (
        pytest.raises(BackendError, match=r"no backend 'tritn'. Closest: 'triton'"),
        use_backend("tritn"),
    ):
        pytest.fail("the block must not be entered")


def test_forced_backend_that_the_operation_lacks() -> None:
    with use_backend("vendor"), pytest.raises(BackendError, match="matmul has no backend 'vendor'"):
        select("matmul")


def test_forced_backend_that_does_not_fit_is_an_error() -> None:
    with use_backend("vendor"), pytest.raises(BackendError) as error:
        select("scan", device="cuda:0", dtype="torch.bfloat16")
    for word in ("scan", "use_backend asks for vendor", "cuda bfloat16", "reference (*; *)"):
        assert word in str(error.value)


def test_forced_backend_that_cannot_be_imported_is_an_error() -> None:
    with use_backend("triton"), pytest.raises(ReferenceImportError, match="site_absent"):
        select("scan", device="cuda")


def test_nothing_fits_names_the_available_backends() -> None:
    with pytest.raises(BackendError) as error:
        select("matmul", device="cuda", dtype="float16")
    for word in ("matmul", "cuda float16", "cpu (cpu; float32)"):
        assert word in str(error.value)


def test_no_fitting_backend_can_be_imported(world) -> None:
    registry.kernels.add(
        "lone/cpu",
        "site_absent:lone",
        "tests",
        operation="lone",
        backend="cpu",
        devices=["cpu"],
        dtypes=["float32"],
        priority=0,
        slow=False,
    )
    try:
        with pytest.raises(BackendError, match=r"cannot be used: .*site_absent"):
            select("lone")
    finally:
        registry.kernels.remove_owner(Owner("tests"))
    with pytest.raises(BackendError, match="unknown operation 'lone'"):
        select("lone")


def test_repeated_selection_uses_the_cache() -> None:
    assert select("scan") is select("scan")
    calls: list[str] = []
    sys.setprofile(lambda frame, event, _: calls.append(f"{event} {frame.f_code.co_name}"))
    try:
        select("scan")
    finally:
        sys.setprofile(None)
    python = [call for call in calls if call.startswith("call ")]
    assert len(python) <= 6, python  # select itself and os.environ.get
