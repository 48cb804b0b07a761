"""The models as transformers models. Importing this module registers them with the Auto classes.

import evenfall_stream.huggingface
from transformers import AutoModel

model = AutoModel.from_pretrained("stream-modelnet10-small")
"""

from __future__ import annotations

from ..extras import missing

if (error := missing("transformers", __name__)) is not None:
    raise error

from .configuration_stream import (
    EventStreamClassifierConfig,
    StreamClassifierConfig,
    StreamConfig,
    StreamSegmenterConfig,
)
from .modeling_stream import (
    StreamForEventClassification,
    StreamForPointCloudClassification,
    StreamForPointCloudSegmentation,
    StreamOutput,
    StreamPreTrainedModel,
    collate,
)

__all__ = [
    "EventStreamClassifierConfig",
    "StreamClassifierConfig",
    "StreamConfig",
    "StreamForEventClassification",
    "StreamForPointCloudClassification",
    "StreamForPointCloudSegmentation",
    "StreamOutput",
    "StreamPreTrainedModel",
    "StreamSegmenterConfig",
    "collate",
]
