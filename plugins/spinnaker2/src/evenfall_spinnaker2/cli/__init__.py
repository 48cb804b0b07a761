"""The command `evenfall spinnaker2`."""

from evenfall.cli.tools import make_group

from . import check, compile, inspect, predict, report, script, trace

app = make_group(
    "spinnaker2",
    "Networks on the chip SpiNNaker2: check, compile, emulate, explain.",
    check.check, check.fits, compile.compile, predict.predict, trace.trace, report.report,
    inspect.inspect, script.script,
)  # fmt: skip
