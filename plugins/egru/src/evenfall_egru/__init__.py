"""EGRU, the event-based GRU, for Hugging Face transformers. Importing it registers the classes."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from .baselines import RnnConfig, RnnForCausalLM, RnnModel
from .models.cache_egru import EgruCacheLayer
from .models.classification_egru import EgruForSequenceClassification, EgruForTokenClassification
from .models.configuration_egru import EgruConfig
from .models.layer_egru import LORA_TARGET_PARAMETERS
from .models.modeling_egru import EgruForCausalLM, EgruModel
from .quantization import EgruQuantizationConfig, quantize

__version__ = "0.1.0"

AutoConfig.register("egru", EgruConfig, exist_ok=True)
AutoModel.register(EgruConfig, EgruModel, exist_ok=True)
AutoModelForCausalLM.register(EgruConfig, EgruForCausalLM, exist_ok=True)
AutoModelForSequenceClassification.register(
    EgruConfig, EgruForSequenceClassification, exist_ok=True
)
AutoModelForTokenClassification.register(EgruConfig, EgruForTokenClassification, exist_ok=True)
AutoConfig.register("rnn", RnnConfig, exist_ok=True)
AutoModel.register(RnnConfig, RnnModel, exist_ok=True)
AutoModelForCausalLM.register(RnnConfig, RnnForCausalLM, exist_ok=True)

__all__ = [
    "LORA_TARGET_PARAMETERS",
    "EgruCacheLayer",
    "EgruConfig",
    "EgruForCausalLM",
    "EgruForSequenceClassification",
    "EgruForTokenClassification",
    "EgruModel",
    "EgruQuantizationConfig",
    "RnnConfig",
    "RnnForCausalLM",
    "RnnModel",
    "quantize",
]
