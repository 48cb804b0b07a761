"""A battery for recurrent causal language models that live in transformers.

Subclass it in a test file and run pytest:

    class TestMine(RecurrentModelBattery):
        def make_model(self):
            torch.manual_seed(0)
            return MyForCausalLM(MyConfig(vocab_size=50, hidden_size=16)).eval()

What it asks for is what transformers' own code relies on: a cache that changes nothing but speed,
padding that leaves no trace, files that give the same model back, and gradients that are right.
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
    """Tests of one model; `make_model` is yours to write, `make_classifier` too where there is one.

    Attributes:
        vocab_size: number of token ids that the tests draw from; None takes the config's.
        tolerance: allowed difference, relative and absolute, of results that ought to be equal.
        bf16_tolerance: mean error in bfloat16, in standard deviations of the logits.
        opted_out: names of tests that the model does not claim to pass -> the reason, shown by
            pytest.
    """
