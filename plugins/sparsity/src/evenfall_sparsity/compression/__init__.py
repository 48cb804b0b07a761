"""The inference form of a model: each matrix in the storage form that is fastest here."""

from __future__ import annotations

from .convert import compress
from .costs import Costs
from .modules import CompressedLinear, restore
from .report import CompressedMatrix, Compression

__all__ = ["CompressedLinear", "CompressedMatrix", "Compression", "Costs", "compress", "restore"]
