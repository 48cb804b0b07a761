"""Contracts: what a backend must offer, and what is said of one that does not."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace
from typing import Protocol

import pytest

from evenfall import backends, use_backend
from evenfall.backends import select
from evenfall.contracts import check_contract
from evenfall.errors import BackendWarning, ContractError


class ScanBackend(Protocol):
    CHUNK: int

    def forward(self, x: object, decay: float, *, save: bool) -> object: ...

    def backward(self, grad: object) -> object: ...


class Function(Protocol):
    def __call__(self, x: object, decay: float) -> object: ...


class Long(ScanBackend, Protocol):
    def finish(self) -> None: ...


def forward(x, decay, *, save): ...
def backward(grad): ...


GOOD = {"CHUNK": 8, "forward": forward, "backward": backward}


def test_what_offers_everything_passes() -> None:
    check_contract(SimpleNamespace(**GOOD), ScanBackend, "it")
    check_contract(SimpleNamespace(**GOOD, more=1), ScanBackend, "it")
    check_contract(SimpleNamespace(**GOOD | {"forward": lambda *a, **k: a}), ScanBackend, "it")
    check_contract(lambda x, decay, other=None: x, Function, "it")
    check_contract(max, Function, "it")  # a function in C, of unknown arguments


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            forward,
            r"it must have the function forward\(x, decay, save=\), got the function forward; see "
            r".*\.ScanBackend$",
        ),
        (json, r"forward\(x, decay, save=\), got the module json without it"),
        (SimpleNamespace(**GOOD | {"backward": None}), r"backward\(grad\), got a SimpleNamespace"),
        (SimpleNamespace(**GOOD | {"backward": 3}), r"backward\(grad\), got backward = 3"),
        (
            SimpleNamespace(**GOOD | {"forward": lambda x, decay: x}),
            r"forward\(x, decay, save=\), got forward\(x, decay\)",
        ),
        (
            SimpleNamespace(**GOOD | {"backward": lambda grad, other: grad}),
            r"backward\(grad\), got backward\(grad, other\)",
        ),
        (SimpleNamespace(forward=forward, backward=backward), "must have CHUNK, got a Simple"),
        (SimpleNamespace(**GOOD | {"CHUNK": "8"}), "CHUNK must be a int, got '8'"),
    ],
)
def test_what_is_missing_is_named(target: object, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_contract(target, ScanBackend, "it")


def test_a_module_in_place_of_a_function_is_named() -> None:
    with pytest.raises(ContractError, match=r"be a function of \(x, decay\), got the module json"):
        check_contract(json, Function, "it")
    with pytest.raises(ContractError, match=r"of \(x, decay\), got one of \(x\); see"):
        check_contract(lambda x: x, Function, "it")


def test_an_inherited_contract_counts() -> None:
    with pytest.raises(ContractError, match=r"finish\(\)"):
        check_contract(SimpleNamespace(**GOOD), Long, "it")


OPERATIONS = """
    from typing import Protocol
    from evenfall.contracts import Operation

    class Scan(Protocol):
        def forward(self, x, decay): ...

    OPERATION = Operation(Scan)

    @hookimpl
    def evenfall_register_operations(register):
        register("scan", "site_scans:OPERATION")

    @hookimpl
    def evenfall_register_kernels(register):
        register("scan", "reference", "json:loads", devices=("*",), dtypes=("*",), slow=True)
        register("scan", "good", "site_good", priority=10)
"""
BAD = """
    @hookimpl
    def evenfall_register_kernels(register):
        register("scan", "bad", "json:dumps", priority=20)
"""


@pytest.fixture
def scans(world, monkeypatch: pytest.MonkeyPatch) -> None:
    world.install("scans", OPERATIONS)
    world.install("bad", BAD)
    world.write_module("site_good", "def forward(x, decay):\n    return x\n")
    monkeypatch.setattr(backends, "_warned", set())


def test_a_backend_that_breaks_its_contract_is_left_out_with_a_warning(scans: None) -> None:
    with pytest.warns(BackendWarning) as record:
        assert select("scan").backend == "good"
    (message,) = [str(warning.message) for warning in record]
    assert message.startswith("backend 'bad' of 'scan' (plugin 'bad'): 'json:dumps' must have")
    assert "forward(x, decay), got the function dumps; see site_scans.Scan" in message
    assert message.endswith("It is not used.")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert select("scan", dtype="torch.float32").backend == "good"


def test_forcing_it_is_an_error(scans: None) -> None:
    with use_backend("bad"), pytest.raises(ContractError, match="plugin 'bad'"):
        select("scan")


def test_the_reference_is_the_definition_and_needs_no_contract(scans: None) -> None:
    with use_backend("reference"):
        assert select("scan").load() is json.loads
