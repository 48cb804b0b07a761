"""The layouts and slices of a whole network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from evenfall_spinnaker2.chip import Chip, constants, load_chip
from evenfall_spinnaker2.lowering.network import Network

from .layout import Options, PopulationLayout
from .partition import Slice, partition


@dataclass(frozen=True, eq=False)
class Plan:
    """Slices of each population that lies on the chip, in the order of the levels."""

    chip: Chip
    usable_pes: int
    layouts: dict[str, PopulationLayout] = field(repr=False)
    slices: dict[str, list[Slice]] = field(repr=False)

    @property
    def pes(self) -> int:
        """Processing elements in use."""
        return sum(map(len, self.slices.values()))

    def flat(self) -> list[Slice]:
        """All slices in order."""
        return [one for group in self.slices.values() for one in group]


def make_plan(
    network: Network, options: Options, profile: str = "default", usable_pes: int | None = None
) -> Plan:
    """Cut every population into slices.

    Args:
        network: with a precision.
        options: of the mapping.
        profile: of chip.yaml.
        usable_pes: processing elements of a chip that may be used; by default the profile's.

    Raises:
        ValueError: an argument is wrong, or a unit does not fit.
    """
    chip = load_chip(profile)
    row = constants()["profiles"][profile]
    widths = {name: row[name]["value"] for name in ("index_bytes", "pointer_bytes") if name in row}
    options = replace(
        options, default_events=chip.default_events, accumulator_bits=chip.accumulator_bits,
        **widths,
    )  # fmt: skip
    usable = chip.usable_pes if usable_pes is None else usable_pes
    pes = row["pes_per_layer"]["value"] if "pes_per_layer" in row else None
    layouts, slices = {}, {}
    for population in network.on_chip():
        layout = PopulationLayout(network, population, options)
        layouts[population.name] = layout
        slices[population.name] = partition(layout, chip.data_bytes, pes)
    return Plan(chip, usable, layouts, slices)
