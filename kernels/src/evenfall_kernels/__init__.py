"""Operations of Evenfall's models: PyTorch reference, Numba on the CPU, Triton on the GPU."""

from .ops.causal_conv1d import causal_conv1d
from .ops.egru_scan import EgruScan, egru_scan
from .ops.egru_scan.stored import egru_scan_stored
from .ops.egru_step import EgruStack, EgruWeights, egru_step, input_table
from .ops.event_matmul import (
    CompressedBlocks,
    CompressedRows,
    compress_blocks,
    compress_rows,
    event_matmul,
    quantize_rows,
)
from .ops.event_matmul.stored import StoredMatrix
from .ops.selective_scan import selective_scan
from .ops.selective_state_update import selective_state_update
from .ops.ssd_scan import ssd_scan
from .ops.ssd_state_update import ssd_state_update

__version__ = "0.1.0"

__all__ = [
    "CompressedBlocks",
    "CompressedRows",
    "EgruScan",
    "EgruStack",
    "EgruWeights",
    "StoredMatrix",
    "causal_conv1d",
    "compress_blocks",
    "compress_rows",
    "egru_scan",
    "egru_scan_stored",
    "egru_step",
    "event_matmul",
    "input_table",
    "quantize_rows",
    "selective_scan",
    "selective_state_update",
    "ssd_scan",
    "ssd_state_update",
]
