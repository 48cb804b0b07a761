"""Legal cuts and their balance, on models of every host; each split passes the leak check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from evenfall_blocklocal import Split, SplitError, check_leaks, split_blocks


def assert_sound(model: nn.Module, split: Split) -> None:
    """The blocks share no parameter, together have all of them, and gradients agree with that."""
    report = check_leaks(model, split)
    names = [name for block in split.blocks for name in block.parameters]
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(names) == len(set(names))
    assert sorted([*names, *split.unused]) == sorted(trained)
    assert [set(b.parameters) for b in split.blocks] == [set(found) for found in report.blocks]
    assert report.missing == split.unused
    assert set(split.boundaries) <= set(split.legal)


def test_a_stack_is_cut_between_its_layers(make_stack) -> None:
    stack = make_stack(4)
    before = {name: value.clone() for name, value in stack.state_dict().items()}
    split = split_blocks(stack, 5, inputs=torch.randn(2, 5))
    assert split.boundaries == ("0", "1", "2", "3")
    assert [block.numel for block in split.blocks] == [36, 42, 42, 42, 21]
    assert split.blocks[0].macs == 2 * 5 * 6
    assert_sound(stack, split)
    assert all(torch.equal(before[name], value) for name, value in stack.state_dict().items())
    assert not any(module._forward_hooks for module in stack.modules())
    assert "ends after" in str(split)


def test_a_split_changes_neither_statistics_nor_random_numbers(make_stack) -> None:
    stack = make_stack(3, norm=True)
    state = torch.get_rng_state()
    split = split_blocks(stack, 2, inputs=torch.randn(4, 5, generator=torch.Generator()))
    check_leaks(stack, split)
    assert int(stack[0][1].num_batches_tracked) == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_a_resnet_is_cut_between_its_stages_by_default() -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model("resnet18", num_classes=10)
    assert split_blocks(model, 4).boundaries == ("layer1", "layer2", "layer3")


def test_parameters_are_balanced_where_no_products_are_counted() -> None:
    model = nn.Sequential(*(nn.LayerNorm(8) for _ in range(6)), nn.Linear(8, 2))
    split = split_blocks(model, 3, inputs=torch.randn(2, 8))
    by_parameters = split_blocks(model, 3, inputs=torch.randn(2, 8), balance="params")
    assert split.boundaries == by_parameters.boundaries


@pytest.mark.parametrize("balance", ["params", "macs", "activations"])
def test_balances_differ_where_costs_do(balance: str) -> None:
    layers = [nn.Conv2d(1, 64, 3, padding=1), nn.AvgPool2d(4), nn.Conv2d(64, 8, 3, padding=1),
              nn.Conv2d(8, 64, 3, padding=1), nn.Flatten(), nn.Linear(64, 2)]  # fmt: skip
    model = nn.Sequential(*layers)
    split = split_blocks(model, 2, balance=balance, inputs=torch.randn(2, 1, 4, 4))
    assert split.boundaries == {"params": ("2",), "macs": ("1",), "activations": ("1",)}[balance]


class Skip(nn.Module):
    """A skip over the second layer: no cut between the second and the third."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.third(self.second(y) + y)


def test_a_skip_forbids_the_cut_under_it() -> None:
    model = Skip()
    split = split_blocks(model, 2, inputs=torch.randn(2, 4))
    assert split.legal == ("first",)
    assert_sound(model, split)
    with pytest.raises(SplitError, match="has 1 legal cuts: first, but k = 3 blocks need 2"):
        split_blocks(model, 3, inputs=torch.randn(2, 4))


class Shortcut(nn.Module):
    """The shortcut passes through an Identity, the branch does not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shortcut = nn.Linear(4, 4), nn.Identity()
        self.branch, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.last(self.shortcut(y) + self.branch(y))


def test_a_module_that_returns_its_input_is_no_cut() -> None:
    model = Shortcut()
    split = split_blocks(model, 2, inputs=torch.randn(2, 4))
    assert split.legal == ("first",)
    assert_sound(model, split)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_timm_models_are_cut_by_name(name: str) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, num_classes=10)
    for k in (2, 4):
        split = split_blocks(
            model, k, inputs=torch.randn(2, 3, 64, 64) if k == 2 and "vit" not in name else None
        )
        assert len(split.blocks) == k
        assert_sound(model, split)
    layouts = {block.shape.layout for block in split.blocks if block.shape}
    assert layouts <= ({"nlc", "nc"} if "vit" in name else {"nchw", "nc"})


def test_the_inputs_of_a_timm_model_have_its_channels() -> None:
    timm = pytest.importorskip("timm")
    split = split_blocks(timm.create_model("test_resnet", num_classes=3, in_chans=1), 2)
    assert split.call[0][0].shape == (2, 1, 160, 160)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_inputs_of_a_timm_model_have_its_type(dtype: torch.dtype) -> None:
    timm = pytest.importorskip("timm")
    split = split_blocks(timm.create_model("test_resnet", num_classes=3).to(dtype), 2)
    assert split.output.dtype == dtype


def test_models_without_data_are_split(make_stack) -> None:
    """On the meta device nothing is computed, and the cuts are the same."""
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        empty = timm.create_model("test_vit", num_classes=3)
    found, wanted = (
        split_blocks(empty, 3),
        split_blocks(timm.create_model("test_vit", num_classes=3), 3),
    )
    assert [row[:3] for row in found.rows()] == [row[:3] for row in wanted.rows()]
    assert_sound(empty, found)


def test_channels_last_features_are_recognised() -> None:
    timm = pytest.importorskip("timm")
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", embed_dim=8, depths=(1, 1), num_heads=(1, 2), num_classes=5,
        img_size=56,
    )  # fmt: skip
    split = split_blocks(swin, boundaries=["layers.0"])
    assert split.blocks[0].shape is not None
    assert (split.blocks[0].shape.layout, split.blocks[0].shape.channels) == ("nhwc", 8)


def gpt2(**config: Any) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=40, n_embd=16, n_layer=4, n_head=2, n_positions=16, bos_token_id=0,
            eos_token_id=0, **config,
        )
    )  # fmt: skip


def test_tied_weights_are_refused_by_default() -> None:
    with pytest.raises(SplitError, match=r"transformer\.wte\.weight = lm_head\.weight.*untie"):
        split_blocks(gpt2(), 4)


def test_untied_weights_become_copies() -> None:
    model = gpt2()
    split = split_blocks(model, 4, tied="untie")
    assert model.lm_head.weight is not model.transformer.wte.weight
    assert torch.equal(model.lm_head.weight, model.transformer.wte.weight)
    assert model.config.tie_word_embeddings is False
    assert "untied" in split.tied[0]
    assert_sound(model, split)
    assert split.boundaries == ("transformer.h.0", "transformer.h.1", "transformer.h.2")


def test_tied_weights_can_learn_from_the_last_block_alone() -> None:
    model = gpt2()
    split = split_blocks(model, 4, tied="last")
    assert model.lm_head.weight is model.transformer.wte.weight
    assert split.detached == ("transformer.wte",)
    assert "transformer.wte.weight" in split.blocks[-1].parameters
    assert_sound(model, split)


def test_the_middle_of_a_language_model_is_one_cut() -> None:
    split = split_blocks(gpt2(tie_word_embeddings=False), boundaries="middle", balance="macs")
    assert split.boundaries == ("transformer.h.1",)


def test_encoders_are_cut_between_their_layers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    split = split_blocks(model, 4)
    assert all(name.startswith("bert.encoder.layer.") for name in split.boundaries)
    assert all(name.count(".") == 3 for name in split.boundaries)
    assert_sound(model, split)


def test_egru_is_cut_between_its_layers() -> None:
    egru = pytest.importorskip("evenfall_egru")
    model = egru.EgruForCausalLM(
        egru.EgruConfig(vocab_size=30, embedding_size=8, hidden_sizes=[12, 12, 8])
    )
    with pytest.raises(SplitError, match="tied='untie'"):
        split_blocks(model, 3)
    split = split_blocks(model, 3, tied="last")
    assert split.boundaries == ("model.layers.0", "model.layers.1")
    assert_sound(model, split)


def test_stream_models_are_cut_by_their_splitters() -> None:
    stream = pytest.importorskip("evenfall_stream")
    points = stream.StreamClassifier(4, width=12, depth=4, groups=8, neighbors=4, head=(8,))
    split = split_blocks(points, 4)
    assert all(name.startswith("backbone.blocks.") for name in split.boundaries)
    assert {block.shape.layout for block in split.blocks if block.shape} == {"graph"}
    assert_sound(points, split)
    events = stream.EventStreamClassifier(
        3, (8, 8), widths=(8, 12, 12), depths=(1, 1, 1), strides=(4, 4, 2)
    )
    split = split_blocks(events, 3)
    assert split.boundaries == ("stages.0", "stages.1")
    assert_sound(events, split)


def test_torch_geometric_stacks_are_cut() -> None:
    geometric = pytest.importorskip("torch_geometric.nn")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList(geometric.GCNConv(6, 6) for _ in range(3))
            self.out = nn.Linear(6, 2)

        def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
            for conv in self.convs:
                x = conv(x, edge_index).relu()
            return self.out(geometric.global_mean_pool(x, batch))

    net = Net()
    edges = torch.randint(8, (2, 20))
    batch = torch.tensor([0] * 4 + [1] * 4)
    split = split_blocks(net, 4, inputs=(torch.randn(8, 6), edges, batch))
    assert split.boundaries == ("convs.0", "convs.1", "convs.2")
    assert split.blocks[0].shape.layout == "graph"
    assert_sound(net, split)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared, self.out = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.shared(self.shared(x).tanh()))


def test_a_module_that_is_called_twice_is_no_cut() -> None:
    with pytest.raises(SplitError, match="called more than once are no cuts: shared"):
        split_blocks(Twice(), 2, inputs=torch.randn(2, 4))


class Pair(nn.Module):
    """Each layer returns a tuple of two streams."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PairLayer() for _ in range(3))
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x, x.flip(1)
        for layer in self.layers:
            left, right = layer(left, right)
        return self.out(left + right)


class PairLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        return self.left(left + right).tanh(), self.right(right).tanh()


def test_all_tensors_of_a_tuple_are_cut_together() -> None:
    model = Pair()
    split = split_blocks(model, 4, inputs=torch.randn(2, 4))
    assert split.boundaries == ("layers.0", "layers.1", "layers.2")
    assert_sound(model, split)


def test_an_output_that_is_changed_in_place_is_cloned() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.Linear(4, 2))
    split = split_blocks(model, boundaries=["1", "2"], inputs=torch.randn(2, 4))
    assert split.cloned == frozenset()

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            y += 1
            return self.b(y)

    assert split_blocks(InPlace(), 2, inputs=torch.randn(2, 4)).cloned == {"a"}


def checkpointing() -> nn.Module:
    timm = pytest.importorskip("timm")
    model = timm.create_model("test_vit", num_classes=3)
    model.set_grad_checkpointing(True)
    return model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be an integer of at least 1, got 0"),
        ({"k": 2, "balance": "time"}, "balance must be one of"),
        ({"k": 2, "tied": "copy"}, "tied must be one of"),
        ({"boundaries": "start"}, "boundaries must be 'middle' or a list"),
        ({"boundaries": 3}, "boundaries must be .middle. or a list of names, got 3"),
        ({"boundaries": [3]}, r"boundaries must be .middle. or a list of names, got \[3\]"),
        ({"boundaries": ["0", "9"]}, "cannot be cut after '9'"),
        ({"boundaries": ["0", "0"]}, "boundaries must differ"),
        ({"k": 4, "boundaries": ["0"]}, "k must be 2, the number of blocks"),
        ({"k": 9}, "but k = 9 blocks need 8"),
        ({"k": 2, "inputs": None}, "inputs are needed to split a Sequential"),
        ({"k": 2, "inputs": 3}, "inputs must be a tensor"),
    ],
)
def test_wrong_arguments_are_named(
    make_stack: Callable[..., nn.Module], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        split_blocks(make_stack(), **({"inputs": torch.randn(2, 5)} | arguments))


def test_gradient_checkpointing_is_refused() -> None:
    with pytest.raises(SplitError, match="gradient checkpointing is on"):
        split_blocks(checkpointing(), 2)


def test_a_leak_is_found(make_stack) -> None:
    """A split that is not legal: the leak check does not trust it."""
    model = Skip()
    split = split_blocks(model, 2, inputs=torch.randn(2, 4))
    wrong = Split(
        (split.blocks[0].__class__("second", (), 0, 0.0, 0.0), split.blocks[1]),
        ("second",),
        call=split.call,
    )
    with pytest.raises(SplitError, match="leak: parameter 'first"):
        check_leaks(model, wrong)
