"""States in files: JSON and safetensors, never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from evenfall.runs import read_state, write_state


def test_an_optimizer_continues_from_its_state(tmp_path: Path) -> None:
    def make() -> tuple[Any, Any]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.5}]
        return model, torch.optim.AdamW(groups, lr=0.1, betas=(0.0, 0.9))

    def steps(model: Any, optimizer: Any) -> None:
        for number in range(3):
            optimizer.zero_grad()
            model(torch.full((1, 3), 1.0 + number)).square().sum().backward()
            optimizer.step()

    model, optimizer = make()
    steps(model, optimizer)
    write_state(tmp_path, "optimizer", optimizer.state_dict())
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "optimizer.json",
        "optimizer.safetensors",
    ]
    json.loads((tmp_path / "optimizer.json").read_text())
    other, again = make()
    other.load_state_dict(model.state_dict())
    again.load_state_dict(read_state(tmp_path, "optimizer"))
    steps(model, optimizer)
    steps(other, again)
    assert torch.equal(model.weight, other.weight)
    assert torch.equal(model.bias, other.bias)


def test_a_state_without_tensors_is_one_file(tmp_path: Path) -> None:
    write_state(tmp_path, "a", {"x": torch.ones(2)})
    write_state(tmp_path, "a", {2: [1, (2, None)], "b": {}})
    assert read_state(tmp_path, "a") == {2: [1, [2, None]], "b": {}}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("key", [True, 1.5, (1, 2), "__tensor__", "__items__"])
def test_other_keys_are_refused(tmp_path: Path, key: Any) -> None:
    with pytest.raises(TypeError, match=r"^state\['a'\] has the key"):
        write_state(tmp_path, "a", {"a": {key: 1}})


@pytest.mark.parametrize("content", ["", "[", '{"__tensor__": "0"}', '{"__items__": 3}', "\udcff"])
def test_damaged_files_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"checkpoint .*a\.json cannot be read"):
        read_state(tmp_path, "a")
    with pytest.raises(ValueError, match=r"b\.json cannot be read: it is missing"):
        read_state(tmp_path, "b")


def test_files_of_earlier_versions_are_read_without_running_code(tmp_path: Path) -> None:
    torch.save({"step": 3, "m": torch.ones(2)}, tmp_path / "a.pt")
    assert read_state(tmp_path, "a")["step"] == 3
    torch.save(Path("a"), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt cannot be read"):
        read_state(tmp_path, "a")
    write_state(tmp_path, "a", {"step": 4})
    assert read_state(tmp_path, "a") == {"step": 4}
