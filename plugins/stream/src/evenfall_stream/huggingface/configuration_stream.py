"""The transformers configurations of the models. Importing this module registers them."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from ..models.arguments import argument_names
from ..models.hub import StreamHubMixin
from ..models.loading import MODELS


class StreamConfig(PreTrainedConfig):
    """The arguments of the model class of this `model_type`, as attributes.

    num_classes and class_names are also available as `num_labels` and `id2label`.
    """

    def __post_init__(self, **kwargs: Any) -> None:
        count = kwargs.pop("num_labels", None)
        super().__post_init__(**kwargs)
        if count is not None:
            self.num_labels = count

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep num_classes, class_names and id2label consistent when one of them is set."""
        super().__setattr__(name, value)
        own = self.__dict__
        if name == "id2label" and value and "num_classes" in own:
            labels = [value[index] for index in sorted(value)]
            own["num_classes"] = len(labels)
            own["class_names"] = None if labels == _default_names(len(labels)) else labels
        elif name in ("num_classes", "class_names") and own.get("num_classes") is not None:
            count, names = own["num_classes"], own.get("class_names")
            if name == "num_classes" and names is not None and len(names) != count:
                names = own["class_names"] = None
            names = names or _default_names(count)
            own["id2label"] = dict(enumerate(names))
            own["label2id"] = {label: index for index, label in enumerate(names)}

    @classmethod
    def network(cls) -> type[StreamHubMixin]:
        """The plugin's model class."""
        return MODELS[cls.model_type]

    def arguments(self) -> dict[str, Any]:
        """The arguments of the model class."""
        names = argument_names(self.network())
        return {name: value for name, value in vars(self).items() if name in names}


def _default_names(count: int) -> list[str]:
    """The names that transformers gives to classes without names."""
    return [f"LABEL_{index}" for index in range(count)]


@strict
class StreamClassifierConfig(StreamConfig):
    """The configuration of StreamClassifier."""

    model_type = "stream-classifier"


@strict
class EventStreamClassifierConfig(StreamConfig):
    """The configuration of EventStreamClassifier."""

    model_type = "event-stream-classifier"


@strict
class StreamSegmenterConfig(StreamConfig):
    """The configuration of StreamSegmenter."""

    model_type = "stream-segmenter"


for _config in (StreamClassifierConfig, EventStreamClassifierConfig, StreamSegmenterConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
