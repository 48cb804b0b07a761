"""The operations under Eventide's models: PyTorch reference, Numba on CPU, Triton on GPU."""

from .egru_scan import EgruScan, egru_scan
from .event_matmul import CompressedRows, compress_rows, event_matmul, quantize_rows

__version__ = "0.1.0"

__all__ = [
    "CompressedRows",
    "EgruScan",
    "compress_rows",
    "egru_scan",
    "event_matmul",
    "quantize_rows",
]
