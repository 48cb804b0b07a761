"""The parts of the benchmark of block-local training."""
