"""The command `evenfall spinnaker2`."""

from evenfall.cli.tools import make_group

from . import checking, compiling, inspecting, predict, reporting, scripting, trace

app = make_group(
    "spinnaker2",
    "Networks on the chip SpiNNaker2: check, compile, emulate, explain.",
    checking.check, checking.fits, compiling.compile, predict.predict, trace.trace,
    reporting.report, inspecting.inspect, scripting.script,
)  # fmt: skip
