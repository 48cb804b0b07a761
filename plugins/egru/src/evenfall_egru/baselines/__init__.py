"""LSTM and GRU language models that differ from EGRU in their layers alone."""

from .configuration import RnnConfig
from .layer import RnnCacheLayer, RnnLayer
from .modeling import RnnForCausalLM, RnnModel

__all__ = ["RnnCacheLayer", "RnnConfig", "RnnForCausalLM", "RnnLayer", "RnnModel"]
