"""Agreement with the package neurobench where it is right, and where it is not."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("neurobench")

from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import TorchModel
from torch import nn
from torch.nn.utils import prune as torch_prune

from evenfall_sparsity import measure, prune


def run_neurobench(model: Any, x: Any) -> dict[str, Any]:
    wrapped = TorchModel(model)
    static = {
        "parameters": ParameterCount()(wrapped),
        "footprint": Footprint()(wrapped),
        "connection_sparsity": ConnectionSparsity()(wrapped),
    }
    wrapped.register_hooks()
    activation, operations = ActivationSparsity(), SynapticOperations()
    with torch.no_grad():
        output = wrapped(x)
    counts = operations(wrapped, output, (x, None))
    result = {**static, "activation_sparsity": activation(wrapped, output, (x, None)), **counts}
    wrapped.cleanup_hooks()
    return result


def make_chain() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))


def make_image_model() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(27, 5),
    )  # fmt: skip


@pytest.mark.parametrize("spikes", [False, True])
@pytest.mark.parametrize(("make", "shape"), [(make_chain, (6,)), (make_image_model, (2, 7, 7))])
def test_figures_agree(make: Any, shape: tuple[int, ...], spikes: bool) -> None:
    model = make()
    prune(model, 0.6)
    generator = torch.Generator().manual_seed(1)
    x = torch.relu(torch.randn(5, *shape, generator=generator))
    x = (x > 0.5).float() if spikes else x
    theirs, ours = run_neurobench(model, x), measure(model, x)
    assert ours.parameters == theirs["parameters"]
    assert ours.footprint == theirs["footprint"]
    assert ours.connection_sparsity == pytest.approx(theirs["connection_sparsity"], abs=5e-5)
    assert ours.activation_sparsity == pytest.approx(theirs["activation_sparsity"])
    assert ours.effective_macs == pytest.approx(theirs["Effective_MACs"])
    assert ours.effective_acs == pytest.approx(theirs["Effective_ACs"])
    assert ours.dense_macs == pytest.approx(theirs["Dense"])
    assert (ours.effective_acs > 0) == spikes


def test_macs_of_a_gru_are_missing_there() -> None:
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.body(x)[0])

    model, x = Net(), torch.ones(2, 5, 3)
    ours = measure(model, x)
    by_hand = 5 * (3 * 4 * (3 + 4) + 4 * 2)
    assert ours.dense_macs == by_hand
    try:
        theirs = run_neurobench(model, x)["Dense"]
    except TypeError:  # it raises a string
        return
    assert theirs != by_hand


class Half(nn.Module):
    """A parametrisation that removes the first half of the rows."""

    def forward(self, weight: Any) -> Any:
        return torch.cat([torch.zeros_like(weight[:4]), weight[4:]])


def test_parametrised_layer_is_skipped_there() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    nn.utils.parametrize.register_parametrization(model[0], "weight", Half())
    assert ConnectionSparsity()(TorchModel(model)) == 0
    assert measure(model, torch.ones(1, 6)).connection_sparsity == pytest.approx(24 / 72)


def test_mask_of_torch_doubles_the_footprint_there() -> None:
    model, plain = nn.Sequential(nn.Linear(6, 8)), nn.Sequential(nn.Linear(6, 8))
    torch_prune.l1_unstructured(model[0], "weight", 0.5)
    prune(plain, 0.5)
    assert Footprint()(TorchModel(model)) == 4 * (48 + 8 + 48)
    assert measure(plain, torch.ones(1, 6)).footprint == 4 * (48 + 8)
