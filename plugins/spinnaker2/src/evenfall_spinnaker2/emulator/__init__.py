"""The emulator of the chip. It reads images alone: no torch, no model.

Importing the package imports none of its modules.
"""
