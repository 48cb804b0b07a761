"""The ten lines of the page, in Lightning."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("pytorch_lightning")

from torch.utils.data import DataLoader, TensorDataset

from evenfall_blocklocal import BlockLocal


def make_trainer(folder):
    return lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_all_blocks(make_stack, batch, tmp_path) -> None:
    class Lit(lightning.LightningModule):
        automatic_optimization = False

        def __init__(self, local):
            super().__init__()
            self.local = local

        def training_step(self, batch, index):
            images, target = batch
            optimizer = self.optimizers()
            self.manual_backward(self.local(images, target=target).loss)
            optimizer.step()
            optimizer.zero_grad()

        def configure_optimizers(self):
            return torch.optim.AdamW(self.local.parameters(), lr=2e-3)

    local = BlockLocal(make_stack(3), 3, inputs=batch[0][:2], latent=4, hidden=8)
    before = [p.detach().clone() for p in local.parameters()]
    make_trainer(tmp_path).fit(Lit(local), DataLoader(TensorDataset(*batch), batch_size=6))
    assert all(
        not torch.equal(old, new) for old, new in zip(before, local.parameters(), strict=True)
    )


@pytest.mark.filterwarnings("ignore")
def test_automatic_optimization_is_refused(make_stack, batch, tmp_path) -> None:
    """It clears the gradients between the forward and the backward pass."""

    class Lit(lightning.LightningModule):
        def __init__(self, local):
            super().__init__()
            self.local = local

        def training_step(self, batch, index):
            images, target = batch
            return self.local(images, target=target).loss

        def configure_optimizers(self):
            return torch.optim.AdamW(self.local.parameters(), lr=2e-3)

    local = BlockLocal(make_stack(3), 3, inputs=batch[0][:2], latent=4, hidden=8)
    with pytest.raises(RuntimeError, match="gradients were cleared"):
        make_trainer(tmp_path).fit(Lit(local), DataLoader(TensorDataset(*batch), batch_size=6))
