"""The operations of the Mamba models of transformers, on Evenfall's kernels."""
