"""One line of a report on the installation or on a plugin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `advice` says what to do and may be empty."""

    level: Literal["ok", "warning", "broken"]
    subject: str
    detail: str
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON-able values."""
        return asdict(self)
