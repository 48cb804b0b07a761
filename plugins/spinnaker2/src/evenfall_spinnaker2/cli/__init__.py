"""The command `evenfall spinnaker2`."""

from evenfall.cli.tools import make_group

from .check import check, fits
from .compile import compile
from .inspect import inspect
from .predict import predict
from .trace import trace

app = make_group(
    "spinnaker2",
    "Networks on the chip SpiNNaker2: check, compile, emulate, explain.",
    check,
    fits,
    compile,
    predict,
    trace,
    inspect,
)
