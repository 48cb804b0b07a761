"""The operations of the Mamba-1 models of transformers, on Evenfall's kernels."""
