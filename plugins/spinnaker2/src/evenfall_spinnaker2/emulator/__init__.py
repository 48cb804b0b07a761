"""The emulator of the chip. It reads images alone: no torch, no model."""

from .emulator import Emulator
from .orders import OrderStudy, compare_orders
from .result import Run
from .text import Continuation, TextEmulator

__all__ = ["Continuation", "Emulator", "OrderStudy", "Run", "TextEmulator", "compare_orders"]
