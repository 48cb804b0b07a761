"""EGRU models whose matrices are stored in int8, bfloat16 or float16, for inference."""

from __future__ import annotations

from .config import EgruQuantizationConfig
from .embedding import StoredEmbedding
from .quantizer import EgruQuantizer, quantize

__all__ = ["EgruQuantizationConfig", "EgruQuantizer", "StoredEmbedding", "quantize"]
