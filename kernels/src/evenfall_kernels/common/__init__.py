"""Shared by all backends: dispatch, packed sequences, dense products, gradients, devices."""
