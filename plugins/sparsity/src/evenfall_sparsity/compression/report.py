"""What compress() did: the form of each matrix, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CompressedMatrix:
    """One matrix.

    Attributes:
        name: full name of the parameter.
        shape: (inputs, outputs).
        density: the share of nonzero weights.
        activity: the mean share of inputs that are not zero.
        form: its storage form, or "as it is".
        reason: why.
        microseconds, microseconds_before: estimates of the cost model for one vector.
        bytes, bytes_before: its size.
        estimates: microseconds of every form that was compared.
    """

    name: str
    shape: tuple[int, int]
    density: float
    activity: float
    form: str
    reason: str
    microseconds: float
    microseconds_before: float
    bytes: int
    bytes_before: int
    estimates: dict[str, float]


@dataclass(frozen=True)
class Compression:
    """What `compress` did.

    Attributes:
        matrices: each matrix that is multiplied, in the order of the modules.
        stored: full name -> description of each one that changed, as `restore` reads it.
    """

    matrices: tuple[CompressedMatrix, ...]
    stored: dict[str, dict[str, Any]]

    @property
    def bytes(self) -> int:
        """Size of all these matrices."""
        return sum(one.bytes for one in self.matrices)

    @property
    def bytes_before(self) -> int:
        """Size of the dense matrices."""
        return sum(one.bytes_before for one in self.matrices)

    def as_dict(self) -> dict[str, Any]:
        """All of it, in types of JSON."""
        return {
            "bytes": self.bytes,
            "bytes_before": self.bytes_before,
            "matrices": [asdict(one) for one in self.matrices],
        }

    def rows(self) -> list[tuple[str, ...]]:
        """A table: name, shape, density, activity, form, times, size, reason."""
        return [
            (
                one.name,
                f"{one.shape[0]} x {one.shape[1]}",
                f"{one.density:.1%}",
                f"{one.activity:.1%}",
                one.form,
                f"{one.microseconds_before:.1f} -> {one.microseconds:.1f}",
                f"{one.bytes_before / 1e6:.2f} -> {one.bytes / 1e6:.2f}",
                one.reason,
            )
            for one in self.matrices
        ]

    def __str__(self) -> str:
        lines = [HEADINGS, *self.rows()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
        table = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )
        share = self.bytes / self.bytes_before if self.bytes_before else 1.0
        return "\n".join([*table, f"matrices: {self.bytes / 1e6:.2f} MB, {share:.1%} of before"])


HEADINGS = ("matrix", "shape", "nonzero", "active", "form", "us", "MB", "why")
