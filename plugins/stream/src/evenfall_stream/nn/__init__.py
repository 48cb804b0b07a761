"""Layers: STREAM itself, its blocks, the embedding of events, pooling."""
