"""The task of timm, and the launcher on a folder of images."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
image = pytest.importorskip("PIL.Image")

from evenfall_blocklocal import BlockLocal
from evenfall_blocklocal.hosts.timm_task import BlockLocalTask
from evenfall_blocklocal.hosts.timm_train import _size, main


@pytest.fixture
def task() -> BlockLocalTask:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=4)
    return BlockLocalTask(
        BlockLocal(model, 3, latent=8, hidden=16, inputs=torch.randn(2, 3, 32, 32))
    )


def test_a_step_of_timms_loop_trains_all_blocks(task) -> None:
    images, target = torch.randn(4, 3, 32, 32), torch.arange(4)
    result = task(images, target)
    result["loss"].backward()
    assert result["output"].shape == (4, 4)
    assert all(p.grad is not None for p in task.parameters())
    assert len(list(task.get_clip_parameters())) == len(list(task.parameters()))


def test_a_checkpoint_holds_the_plain_model_and_the_heads_apart(task) -> None:
    state = task.get_checkpoint_state()
    plain = timm.create_model("test_resnet", num_classes=4)
    plain.load_state_dict(state["state_dict"])
    task(torch.randn(4, 3, 32, 32), torch.arange(4))
    other = BlockLocalTask(
        BlockLocal(plain, 3, latent=8, hidden=16, inputs=torch.randn(2, 3, 32, 32))
    )
    fresh = task.get_checkpoint_state()
    other.load_checkpoint_state(fresh["state_dict"], fresh["task_state"])
    for key, value in task.trainable_module.rule.state_dict().items():
        assert torch.equal(other.trainable_module.rule.state_dict()[key], value)
    assert other.trainable_module.steps == 1


def test_the_moving_average_includes_the_heads(task) -> None:
    task.setup_ema(decay=0.5)
    before = task.get_eval_model(ema=True).fc.weight.clone()
    with torch.no_grad():
        task.trainable_module.model.fc.weight.add_(1)
    task.update_ema()
    torch.testing.assert_close(task.get_eval_model(ema=True).fc.weight, before + 0.5)
    assert task.get_task_state(ema=True)["steps"] == 0


def test_the_state_of_a_module_is_its_own_and_the_compiled_average_is_evaluated(task) -> None:
    task.setup_ema(decay=0.5)
    task.trainable_module.steps = 5
    assert task.get_task_state(task.trainable_module, ema=True)["steps"] == 5
    task.load_task_state({"rule": task.trainable_module.rule.state_dict(), "steps": 9}, ema=True)
    assert (task.trainable_module.steps, task.get_task_state(ema=True)["steps"]) == (5, 9)
    compiled = task.compile_ema(backend="eager")
    assert task.get_eval_model(ema=True) is compiled


@pytest.mark.parametrize(
    ("model", "takes"),
    [("test_vit", True), ("deit_tiny_patch16_224", True), ("levit_128s", True),
     ("mobilevit_xxs", False), ("resnet18", False)],
)  # fmt: skip
def test_models_of_a_fixed_size_get_the_size_of_the_images(model: str, takes: bool) -> None:
    found = _size(Namespace(model=model, img_size=64))
    assert found == ({"img_size": 64} if takes else {})


def test_data_parallel_wrapping_is_refused(task) -> None:
    with pytest.raises(NotImplementedError, match="processes for several processes"):
        task.prepare_distributed()


def test_the_launcher_trains_resumes_and_saves_for_timm(tmp_path) -> None:
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 6), ("validation", 2)):
        for name in ("cats", "dogs"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = torch.randint(256, (40, 40, 3), generator=generator, dtype=torch.uint8)
                image.fromarray(pixels.numpy()).save(folder / f"{index}.png")
    arguments = [
        str(tmp_path / "images"), "--model", "test_resnet", "--img-size", "32", "--batch-size", "4",
        "--workers", "0", "--blocks", "3", "--clip-grad", "1", "--device", "cpu",
    ]  # fmt: skip
    out = ["--output", str(tmp_path / "none")]
    with pytest.raises(ValueError, match="batch-size must be at most the 12 images of training"):
        main([*arguments, *out, "--batch-size", "13"])
    with pytest.raises(ValueError, match="unknown model 'test_resnat'"):
        main([*arguments, *out, "--model", "test_resnat"])
    with pytest.raises(FloatingPointError, match=r"loss must be finite, got .* in epoch 1"):
        main([*arguments, *out, "--opt", "sgd", "--lr", "1e30"])
    assert not (tmp_path / "none" / "last").exists()
    whole = main([*arguments, "--epochs", "2", "--output", str(tmp_path / "whole")])
    parts = [*arguments, "--output", str(tmp_path / "parts")]
    main([*parts, "--epochs", "2"])
    with pytest.raises(FileExistsError, match="use --resume"):
        main([*parts, "--epochs", "2"])
    main([*parts, "--epochs", "3", "--resume"])
    lines = [json.loads(x) for x in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    plain = timm.create_model(f"local-dir:{whole / 'last'}", pretrained=True)
    assert plain.num_classes == 2


def test_the_task_evaluates(task) -> None:
    images, target = torch.randn(4, 3, 32, 32), torch.arange(4)
    task.eval()
    result = task(images, target)
    wanted = torch.nn.functional.cross_entropy(task.get_eval_model()(images), target)
    torch.testing.assert_close(result["loss"], wanted)


@pytest.mark.parametrize(
    ("option", "value"),
    [("clip-grad", "-1"), ("lr", "nan"), ("epochs", "0"), ("blocks", "0"), ("workers", "-1")],
)
def test_numbers_out_of_range_are_refused(tmp_path, option: str, value: str) -> None:
    arguments = [str(tmp_path), "--output", str(tmp_path / "run"), f"--{option}={value}"]
    with pytest.raises(ValueError, match=option):
        main(arguments)
