"""The Mamba models of transformers under its own common model tests, with the patch applied.

Not collected by itself: test_common_tests.py runs it in a process of its own, where the
package `transformers_tests` is the folder tests/ of transformers' source distribution. That folder
lacks the mixins for generation and export, which are empty here. With EVENFALL_UNPATCHED=1 the
patch is not applied: what fails then fails for the host alone.
"""

from __future__ import annotations

import copy
import os
import sys
import unittest
from types import ModuleType
from typing import Any

import torch

for _path, _mixin in (
    ("exporters.test_export", "ExportTesterMixin"),
    ("generation.test_utils", "GenerationTesterMixin"),
):
    _module = ModuleType(f"transformers_tests.{_path}")
    setattr(_module, _mixin, type(_mixin, (), {}))
    sys.modules[_module.__name__] = _module

import transformers
from transformers_tests.generation.test_utils import GenerationTesterMixin
from transformers_tests.test_modeling_common import ModelTesterMixin, ids_tensor

import evenfall
from tests.plugins.mamba.conftest import MAKERS as MAMBA1
from tests.plugins.mamba.huggingface.mamba2_models import MAKERS as MAMBA2

MAKERS = MAMBA1 | MAMBA2
PARTS: dict[str, dict[str, Any]] = {
    "GraniteMoeHybrid": {"position_embedding_type": "rope"},
    "NemotronH": {
        "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
        "moe_shared_expert_intermediate_size": 16,
    },
    "Zamba2": {"use_mem_rope": True},
}  # fmt: skip
"""What the tests expect of these families: rotary embeddings, experts instead of an MLP."""

if os.environ.get("EVENFALL_UNPATCHED") != "1":
    evenfall.patch("mamba", targets=["transformers"]).apply()


class ModelTester:
    """What transformers' tests ask about a model: its sizes, configuration and inputs."""

    __test__ = False
    batch_size, seq_length, is_training = 3, 7, True

    def __init__(self, name: str) -> None:
        self.config = MAKERS[name]().config
        self.config.update(PARTS.get(name, {}))
        if name == "NemotronH":
            kinds = self.config.layers_block_type
            self.config.layers_block_type = ["moe" if kind == "mlp" else kind for kind in kinds]
        if hasattr(self.config, "max_position_embeddings"):
            self.config.max_position_embeddings = 64  # some tests run longer sequences than that
        self.hidden_size = self.config.hidden_size
        self.vocab_size = self.config.vocab_size
        self.num_hidden_layers = self.config.num_hidden_layers

    def get_config(self) -> Any:
        return copy.deepcopy(self.config)

    def prepare_config_and_inputs_for_common(self) -> tuple[Any, dict[str, Any]]:
        ids = ids_tensor([self.batch_size, self.seq_length], self.vocab_size)
        return self.get_config(), {
            "input_ids": ids.clamp(3),
            "attention_mask": torch.ones_like(ids),
        }


class _Common(ModelTesterMixin, GenerationTesterMixin):
    has_attentions = False  # their number differs from the number of layers
    name: str

    def setUp(self) -> None:
        self.model_tester = ModelTester(self.name)


for _name in MAKERS:
    if " " in _name:  # another setting of a family that is there
        continue
    _classes = (f"{_name}Model", f"{_name}ForCausalLM", f"{_name}ForSequenceClassification")
    _found = tuple(getattr(transformers, c) for c in _classes if hasattr(transformers, c))
    _members = {"name": _name, "all_model_classes": _found, "__module__": __name__}
    globals()[f"{_name}Test"] = type(f"{_name}Test", (_Common, unittest.TestCase), _members)
