"""A battery for recurrent causal language models of transformers.

Subclass it in a test file and run pytest:

    class TestMine(RecurrentModelBattery):
        def make_model(self):
            torch.manual_seed(0)
            return MyForCausalLM(MyConfig(vocab_size=50, hidden_size=16)).eval()

It tests what transformers' own code relies on: a cache that changes only the speed, padding that
has no effect, files that give the same model back, and correct gradients.
"""

from __future__ import annotations

from evenfall.testing.recurrent_generation import GenerationTests
from evenfall.testing.recurrent_interface import InterfaceTests
from evenfall.testing.recurrent_padding import PaddingTests
from evenfall.testing.recurrent_saving import SavingTests
from evenfall.testing.recurrent_state import StateTests
from evenfall.testing.recurrent_training import TrainingTests


class RecurrentModelBattery(
    StateTests, PaddingTests, GenerationTests, SavingTests, TrainingTests, InterfaceTests
):
    """Tests of one model. Override `make_model` and, if there is a classifier, `make_classifier`.

    Attributes:
        vocab_size: the tests use token ids below this number; None uses the config's.
        tolerance: allowed relative and absolute difference of results that should be equal.
        bf16_tolerance: allowed mean error in bfloat16, in standard deviations of the logits.
        opted_out: name of a test that the model need not pass -> reason, which pytest shows.
    """
