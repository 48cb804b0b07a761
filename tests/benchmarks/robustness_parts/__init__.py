"""The parts of tests/benchmarks/robustness.py, a file each."""
