"""The EGRU models under transformers' own common model tests.

Not collected by itself: test_common_tests.py runs it in a process of its own, where the package
`transformers_tests` is the folder tests/ of transformers' source distribution. That folder lacks
the mixins for generation and export, which are empty here.
"""

from __future__ import annotations

import copy
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

from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES
from transformers_tests.generation.test_utils import GenerationTesterMixin
from transformers_tests.test_modeling_common import ModelTesterMixin, ids_tensor

from evenfall_egru import (
    EgruConfig,
    EgruForCausalLM,
    EgruForSequenceClassification,
    EgruForTokenClassification,
    EgruModel,
)

MODEL_MAPPING_NAMES["egru"] = "EgruModel"  # the tests know by this name that it has no loss


class EgruTester:
    """What transformers' tests ask about a model: its sizes, configuration and inputs."""

    batch_size, seq_length, vocab_size, hidden_size, num_hidden_layers = 5, 7, 99, 24, 2
    is_training = True

    def __init__(self, parent: unittest.TestCase) -> None:
        self.parent = parent

    def get_config(self) -> EgruConfig:
        return EgruConfig(
            vocab_size=self.vocab_size,
            embedding_size=self.hidden_size,
            hidden_sizes=[16, self.hidden_size],
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[EgruConfig, dict[str, Any]]:
        ids = ids_tensor([self.batch_size, self.seq_length], self.vocab_size)
        return self.get_config(), {
            "input_ids": ids.clamp(3),
            "attention_mask": torch.ones_like(ids),
        }


class EgruCommonTest(ModelTesterMixin, GenerationTesterMixin, unittest.TestCase):
    all_model_classes = (
        EgruModel,
        EgruForCausalLM,
        EgruForSequenceClassification,
        EgruForTokenClassification,
    )
    has_attentions = False

    def setUp(self) -> None:
        self.model_tester = EgruTester(self)

    def _prepare_for_class(
        self, inputs: dict[str, Any], model_class: type, return_labels: bool = False
    ) -> dict[str, Any]:
        """transformers adds labels only for the classes that it knows by name."""
        inputs = copy.deepcopy(inputs)
        if return_labels and model_class is not EgruModel:
            shape = (EgruTester.batch_size, EgruTester.seq_length)
            shape = shape[: 1 if model_class is EgruForSequenceClassification else 2]
            inputs["labels"] = torch.zeros(shape, dtype=torch.long)
        return inputs
