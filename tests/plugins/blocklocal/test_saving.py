"""Saved models load without Evenfall, and with it as they were."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from evenfall_blocklocal import BlockLocal
from evenfall_blocklocal.saving import load_local, save_local


def test_plain_timm_loads_the_backbone(tmp_path) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("test_resnet", num_classes=7)
    local = BlockLocal(model, 3, latent=8, hidden=16, seed=4)
    images, target = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 6])
    local(images, target=target).loss.backward()
    save_local(local, tmp_path / "saved")
    plain = timm.create_model(f"local-dir:{tmp_path / 'saved'}", pretrained=True)
    assert torch.equal(plain.eval()(images), model.eval()(images))
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["num_classes"] == 7
    assert "blocklocal" in json.dumps(config)
    again = load_local(plain, tmp_path / "saved")
    assert again.split.boundaries == local.split.boundaries
    assert (again.steps, again.seed, again.rule_name) == (1, 4, "bll")
    first, second = local.train()(images, target=target), again.train()(images, target=target)
    assert [x.item() for x in first.losses] == [x.item() for x in second.losses]


def test_heads_that_do_not_fit_are_refused(tmp_path, make_stack) -> None:
    local = BlockLocal(make_stack(3), 3, inputs=torch.randn(2, 5), latent=4, hidden=8)
    save_local(local, tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    with pytest.raises(ValueError, match="does not fit the model"):
        load_local(make_stack(3), tmp_path, inputs=torch.randn(2, 5), latent=5)
    with pytest.raises(FileNotFoundError, match="was not written by save_local"):
        load_local(make_stack(3), tmp_path / "none")


@pytest.mark.parametrize("name", ["blocklocal.json", "blocklocal.safetensors"])
def test_damaged_and_missing_files_are_refused(tmp_path, make_stack, name: str) -> None:
    local = BlockLocal(make_stack(2), 2, inputs=torch.randn(2, 5), latent=4, hidden=8)
    file = save_local(local, tmp_path) / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match="damaged"):
        load_local(make_stack(2), tmp_path, inputs=torch.randn(2, 5))
    file.write_bytes(b"[]")
    with pytest.raises(ValueError, match="damaged"):
        load_local(make_stack(2), tmp_path, inputs=torch.randn(2, 5))
    file.unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_local(make_stack(2), tmp_path, inputs=torch.randn(2, 5))
