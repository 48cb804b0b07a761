"""The plugin's models as transformers models, for AutoModel and Trainer.

A wrapper has the plugin's model as its submodule `network`. Its weights have the names of that
model, so both read and write the same folder. Importing this module registers the wrappers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Batch, Data
from transformers import AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from ..models.hub import CONFIG, WEIGHTS, find_file, load_weights, read_config
from ..models.segmentation import StreamSegmenter
from .configuration_stream import (
    EventStreamClassifierConfig,
    StreamClassifierConfig,
    StreamConfig,
    StreamSegmenterConfig,
)
from .wrapped_network import WrappedNetwork, network_keys

_DOWNLOAD = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
_WITHOUT_EFFECT = (
    "_from_auto", "_commit_hash", "adapter_kwargs", "code_revision", "trust_remote_code",
    "low_cpu_mem_usage", "use_safetensors", "weights_only",
)  # fmt: skip
_PLACED_BY_ACCELERATE = ("auto", "balanced", "balanced_low_0", "sequential")


@dataclass
class StreamOutput(ModelOutput):
    """`logits`, (B, classes) or (N, classes) for segmentation; `loss` if there are labels."""

    loss: Tensor | None = None
    logits: Tensor | None = None


class StreamPreTrainedModel(WrappedNetwork, PreTrainedModel):
    """Base class of the wrappers. `network` is the plugin's model."""

    config_class = StreamConfig
    base_model_prefix = ""
    main_input_name = "pos"

    def __init__(self, config: StreamConfig) -> None:
        super().__init__(config)
        self.wrap_network(config.network()(**config.arguments()))
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Do nothing: the modules initialise their own parameters."""

    def forward(
        self,
        pos: Tensor,
        batch: Tensor | None = None,
        x: Tensor | None = None,
        labels: Tensor | None = None,
        batch_size: int | None = None,
        return_dict: bool | None = None,
    ) -> StreamOutput | tuple[Tensor, ...]:
        """Run the plugin's model; see its forward for shapes and errors.

        Args:
            pos: (N, D) positions; for events, time and sensor coordinates.
            batch: (N,) the graph of each point.
            x: (N, F) features; for events, the polarity.
            labels: (B,) classes, (N,) for segmentation; the loss is their mean cross-entropy.
            batch_size: number of graphs; needed if the last ones may be empty. Segmentation has
                no rows for those and ignores it.
            return_dict: False to return a tuple.
        """
        by_point = isinstance(self.network, StreamSegmenter)
        sizes = {} if batch_size is None or by_point else {"batch_size": batch_size}
        logits = self.network(pos=pos, batch=batch, x=x, **sizes)
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        output = StreamOutput(loss=loss, logits=logits)
        return output.to_tuple() if return_dict is False else output

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        push_to_hub: bool = False,
        **push_to_hub_kwargs: Any,
    ) -> None:
        """Write a folder that the plugin's own class can read; see StreamHubMixin.

        The class names come from `config.id2label`.
        """
        if is_main_process:
            push_to_hub_kwargs.pop("max_shard_size", None)
            arguments = dict(self.network._hub_mixin_config)
            if arguments["num_classes"] == self.config.num_classes:
                arguments["class_names"] = self.config.class_names
            self.network.save_pretrained(
                save_directory,
                config=arguments,
                state_dict=None if state_dict is None else network_keys(state_dict),
                push_to_hub=push_to_hub,
                **push_to_hub_kwargs,
            )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        config: StreamConfig | None = None,
        dtype: str | torch.dtype | None = None,
        device_map: str | int | torch.device | Mapping[str, Any] | None = None,
        ignore_mismatched_sizes: bool = False,
        **kwargs: Any,
    ) -> StreamPreTrainedModel:
        """Load a model from a folder or the Hub, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder, or a model on the Hub.
            config: replaces its config.json.
            dtype: of the weights; None or "auto" for the dtype of the file.
            device_map: one device for the whole model; "auto" is a GPU if there is one.
            ignore_mismatched_sizes: whether to skip weights of another shape, for example with
                another num_labels, with a warning; otherwise they are an error.
            **kwargs: arguments of `hf_hub_download`, and of the model instead of the file's.

        Raises:
            FileNotFoundError: no such folder or model, or a file is missing.
            ValueError: the configuration or the weights are corrupt or of another model.
            TypeError: an unknown argument.
        """
        name = pretrained_model_name_or_path
        download = {key: kwargs.pop(key) for key in _DOWNLOAD if key in kwargs}
        dtype = kwargs.pop("torch_dtype", dtype)  # the old name
        for key in _WITHOUT_EFFECT:
            kwargs.pop(key, None)
        if config is None:
            arguments = read_config(
                cls.config_class.network(), find_file(name, CONFIG, **download), name
            )
            config, kwargs = cls.config_class.from_dict(
                {**arguments, "name_or_path": str(name)}, return_unused_kwargs=True, **kwargs
            )
        if kwargs:
            raise TypeError(f"{cls.__name__}.from_pretrained has no arguments {sorted(kwargs)}")
        model = cls(config)
        weights = find_file(name, WEIGHTS, **download)
        load_weights(model.network, weights, _device(device_map), ignore_mismatched_sizes)
        if dtype not in (None, "auto"):
            model.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
        return model.eval()


class StreamForPointCloudClassification(StreamPreTrainedModel):
    """StreamClassifier."""

    config_class = StreamClassifierConfig


class StreamForEventClassification(StreamPreTrainedModel):
    """EventStreamClassifier."""

    config_class = EventStreamClassifierConfig


class StreamForPointCloudSegmentation(StreamPreTrainedModel):
    """StreamSegmenter."""

    config_class = StreamSegmenterConfig


def _device(device_map: str | int | torch.device | Mapping[str, Any] | None) -> Any:
    """The device of a device_map.

    Raises:
        ValueError: it has several devices.
    """
    if isinstance(device_map, Mapping):
        if len(set(device_map.values())) != 1:
            raise ValueError(
                f"device_map must have one device for the whole model, got {device_map}"
            )
        device_map = next(iter(device_map.values()))
    if device_map in _PLACED_BY_ACCELERATE:
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cpu" if device_map is None else device_map


def collate(examples: Sequence[Data]) -> dict[str, Any]:
    """A data_collator for Trainer: Data with pos, y and optionally x to arguments of forward.

    The labels come first, because Trainer counts examples by the length of the first tensor.
    """
    batch = Batch.from_data_list(list(examples))
    arguments = {
        "labels": batch.y, "pos": batch.pos, "batch": batch.batch, "batch_size": batch.num_graphs
    }  # fmt: skip
    return arguments if batch.x is None else {**arguments, "x": batch.x}


for _model in (
    StreamForPointCloudClassification,
    StreamForEventClassification,
    StreamForPointCloudSegmentation,
):
    AutoModel.register(_model.config_class, _model, exist_ok=True)
