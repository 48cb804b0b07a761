"""Saving and loading through huggingface_hub: safetensors and config.json."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin, constants, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from evenfall.errors import shorten
from evenfall.files import file_aside, write_text, written_aside
from evenfall.hub import CARD, card_text

from .arguments import arguments_with_options, call_arguments, check_arguments, plain

CONFIG, WEIGHTS = constants.CONFIG_NAME, constants.SAFETENSORS_SINGLE_FILE
CLASS_NAMES = {
    "stream-classifier": "StreamClassifier",
    "event-stream-classifier": "EventStreamClassifier",
    "stream-segmenter": "StreamSegmenter",
}
"""Model type to the name of its class, for messages."""
_TEXT = (Path(__file__).parent / "data" / "generated_card.md").read_text(encoding="utf-8")


class StreamHubMixin(  # type: ignore[call-arg]
    PyTorchModelHubMixin,
    library_name="evenfall",
    tags=["stream", "state-space-model", "torch_geometric"],
    license="apache-2.0",
):
    """`save_pretrained`, `push_to_hub` and `from_pretrained` of the plugin's models.

    A folder contains model.safetensors, a card, and config.json with every argument of the model,
    its `model_type` and the version of the library. config.json also contains the options of the
    layers that are at their defaults, so that the model stays the same when a default changes. An
    option that is missing, as in older folders, gets the current default. A subclass names its
    model type: `class Model(nn.Module, StreamHubMixin, model_type="model")`.
    """

    model_type: ClassVar[str]
    _hub_mixin_config: dict[str, Any]

    def __init_subclass__(cls, model_type: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if model_type:
            cls.model_type = model_type

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Record the arguments; huggingface_hub's own record drops values that JSON lacks."""
        instance = super().__new__(cls, *args, **kwargs)
        instance._hub_mixin_config = call_arguments(cls, args, kwargs)
        return instance

    def keep_options(
        self, of: type[StreamHubMixin], block: Mapping[str, Any], own: Collection[str] = ()
    ) -> None:
        """Record every option of the blocks and layers for config.json; called in `__init__`.

        Args:
            of: the class that defines this `__init__`. A subclass with its own `__init__` records
                the arguments of that one instead.
            block: the options that are not at their defaults.
            own: names of the options that the model sets itself; they are not recorded.
        """
        if type(self).__init__ is of.__init__:
            self._hub_mixin_config = arguments_with_options(of, self._hub_mixin_config, block, own)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        config: Mapping[str, Any] | None = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        state_dict: Mapping[str, Tensor] | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write the model to a folder; a new folder appears complete or not at all.

        In an existing folder each file is replaced atomically; an existing card and all other files
        stay.

        Args:
            save_directory: the folder.
            config: arguments to write instead of the model's own.
            repo_id: name on the Hub; the folder's name by default.
            push_to_hub: whether to upload the folder too.
            model_card_kwargs: arguments of `generate_model_card`.
            state_dict: weights to write instead of the model's own.
            **push_to_hub_kwargs: arguments of `push_to_hub`.

        Returns:
            The URL of the commit if it is uploaded, else None.
        """
        folder = Path(save_directory)
        card = {"name": repo_id or folder.name, **(model_card_kwargs or {})}
        if folder.exists():
            self._write(folder, card, config, state_dict)
        else:
            with written_aside(folder) as aside:
                self._write(aside, card, config, state_dict)
        if push_to_hub:
            return self.push_to_hub(repo_id or folder.name, config=config, **push_to_hub_kwargs)
        return None

    def _write(
        self,
        folder: Path,
        card: Mapping[str, Any],
        config: Mapping[str, Any] | None,
        state_dict: Mapping[str, Tensor] | None,
    ) -> None:
        weights = self.state_dict() if state_dict is None else state_dict
        with file_aside(folder / WEIGHTS) as file:
            # Clones: safetensors refuses tensors that share memory.
            save_file(
                {key: value.detach().clone().contiguous() for key, value in weights.items()},
                file,
                {"format": "pt"},
            )
        values = {
            **(self._hub_mixin_config if config is None else plain("config", dict(config))),
            "model_type": self.model_type,
            "evenfall_stream_version": version("evenfall-stream"),
        }
        write_text(folder / CONFIG, json.dumps(values, indent=2, sort_keys=True) + "\n")
        if not (folder / CARD).exists():
            write_text(folder / CARD, str(self.generate_model_card(**card)))

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload the model; `kwargs` are huggingface_hub's. The card's title is `repo_id`.

        Returns:
            The URL of the commit.
        """
        card = {"name": repo_id, **(kwargs.pop("model_card_kwargs", None) or {})}
        return super().push_to_hub(repo_id, model_card_kwargs=card, **kwargs)

    def generate_model_card(self, name: str = "model", **_: Any) -> ModelCard:
        """A short card: how to load the model, and its configuration."""
        classes = getattr(self, "class_names", None)
        text = _TEXT.format(
            name=name,
            kind=type(self).__name__,
            parameters=f"{sum(p.numel() for p in self.parameters()):,}",
            classes=", ".join(classes) if classes else "not named",
            config=json.dumps(self._hub_mixin_config, indent=2, sort_keys=True),
        )
        return ModelCard(card_text(self._hub_mixin_info.model_card_data.to_yaml(), text))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        map_location: str | torch.device = "cpu",
        ignore_mismatched_sizes: bool = False,
        **arguments: Any,
    ) -> Self:
        """Load a model from a folder or the Hub, in evaluation mode, in the dtype of its weights.

        For other classes, load all weights except the last layer, which is initialised again:
        `from_pretrained(name, num_classes=7, ignore_mismatched_sizes=True)`.

        Args:
            pretrained_model_name_or_path: a folder, or a model on the Hub.
            force_download, token, cache_dir, local_files_only, revision: of `hf_hub_download`.
            map_location: the device.
            ignore_mismatched_sizes: whether to skip weights whose shape differs from the model's,
                with a warning; otherwise they are an error.
            **arguments: of the model, instead of those in config.json. Another num_classes drops
                class_names.

        Raises:
            FileNotFoundError: no such folder or model, or config.json or the weights are missing.
            ValueError: the configuration cannot be read, is of another class, or has unknown keys;
                or the weights are corrupt or do not match it.
        """
        name = pretrained_model_name_or_path
        download = {
            "force_download": force_download, "token": token, "cache_dir": cache_dir,
            "local_files_only": local_files_only, "revision": revision,
        }  # fmt: skip
        config = read_config(cls, find_file(name, CONFIG, **download), name)
        if arguments.get("num_classes", config["num_classes"]) != config["num_classes"]:
            config.pop("class_names", None)
        model = cls(**{**config, **arguments})
        weights = find_file(name, WEIGHTS, **download)
        load_weights(model, weights, map_location, ignore_mismatched_sizes)
        return model.eval()


def find_file(name: str | Path, file: str, **download: Any) -> Path:
    """A file of a folder, or of a model on the Hub, downloaded.

    Raises:
        FileNotFoundError: there is no such file.
    """
    folder = Path(name, download.get("subfolder") or "")
    if folder.is_dir():
        if not (folder / file).is_file():
            raise FileNotFoundError(f"checkpoint {name} has no {file}")
        return folder / file
    try:
        return Path(hf_hub_download(str(name), file, **download))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"checkpoint {name}: {file} not found locally or on the Hub"
        ) from error


def read_config(cls: type[StreamHubMixin], file: Path, name: str | Path) -> dict[str, Any]:
    """The arguments in config.json, for this class.

    Raises:
        ValueError: it is not JSON, of another class, or has keys that the class does not take.
    """
    config = read_object(file, name)
    kind = config.get("model_type", cls.model_type)
    if kind != cls.model_type:
        owner = CLASS_NAMES.get(kind) if isinstance(kind, str) else None
        hint = f"; load it with {owner}.from_pretrained" if owner else ""
        raise ValueError(
            f"checkpoint {name}: model_type must be {cls.model_type!r}, got {shorten(kind)}{hint}"
        )
    return check_arguments(cls, config, f"checkpoint {name}: {CONFIG}")


def read_object(file: Path, name: str | Path) -> dict[str, Any]:
    """The contents of config.json of the checkpoint `name`.

    Raises:
        ValueError: it is not JSON, or not an object.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"checkpoint {name}: {CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(
            f"checkpoint {name}: {CONFIG} must be a JSON object, got {shorten(config)}"
        )
    return config


def load_weights(
    model: torch.nn.Module,
    file: Path,
    device: str | torch.device = "cpu",
    ignore_mismatched_sizes: bool = False,
) -> None:
    """Load the weights of a safetensors file into a model, in their dtype, and move it to a device.

    With `ignore_mismatched_sizes`, weights of another shape are skipped, and a warning names them.

    Raises:
        ValueError: the file is corrupt, or its weights do not match the model.
    """
    try:
        state = load_file(file)
        if ignore_mismatched_sizes:
            _replace_mismatches(model, state, file)
        model.load_state_dict(state, assign=True)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"weights {file} cannot be read: {error}") from error
    except RuntimeError as error:
        raise ValueError(f"weights {file} do not match the model: {error}") from error
    dtypes = {parameter.dtype for parameter in model.parameters()}
    model.to(device)
    if len(dtypes) == 1:
        model.to(dtypes.pop())  # buffers that are not in the file


def _replace_mismatches(model: torch.nn.Module, state: dict[str, Tensor], file: Path) -> None:
    """Replace weights of another shape by the model's own."""
    own = model.state_dict()
    names = [name for name in state if name in own and state[name].shape != own[name].shape]
    for name in names:
        state[name] = own[name].to(state[name].dtype)
    if names:
        warnings.warn(
            f"weights {file}: shape mismatch in {names}; left at random initialisation",
            stacklevel=4,
        )
