"""Entry point: registers the exporter, lowerings and command without importing a framework."""

from __future__ import annotations

EVENFALL_API = 1
