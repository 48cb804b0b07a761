"""The configurations of the plugin's models for transformers; importing this registers them."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from .arguments import argument_names
from .hub import StreamHubMixin, model_class


class StreamConfig(PreTrainedConfig):
    """The arguments of the model class named by `model_type`, as attributes of their names.

    `num_labels`, `id2label` and `label2id` follow from num_classes and class_names.
    """

    def __post_init__(self, **kwargs: Any) -> None:
        count, names = kwargs.get("num_classes"), kwargs.get("class_names")
        if count is not None:
            names = [f"LABEL_{index}" for index in range(count)] if names is None else names
            self.id2label = dict(enumerate(names))
            self.label2id = {name: index for index, name in enumerate(names)}
        super().__post_init__(**kwargs)

    @classmethod
    def network(cls) -> type[StreamHubMixin]:
        """The plugin's model class."""
        return model_class(cls.model_type)

    def arguments(self) -> dict[str, Any]:
        """What the model class is made with."""
        known = argument_names(self.network())
        return {name: value for name, value in vars(self).items() if name in known}


@strict
class StreamClassifierConfig(StreamConfig):
    """Of StreamClassifier."""

    model_type = "stream-classifier"


@strict
class EventStreamClassifierConfig(StreamConfig):
    """Of EventStreamClassifier."""

    model_type = "event-stream-classifier"


@strict
class StreamSegmenterConfig(StreamConfig):
    """Of StreamSegmenter."""

    model_type = "stream-segmenter"


for _config in (StreamClassifierConfig, EventStreamClassifierConfig, StreamSegmenterConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
