"""The checkpoint that a name or a folder on the command line stands for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from evenfall import registry
from evenfall.checkpoints import Checkpoint, architectures, model_type
from evenfall.entries import Entry
from evenfall.errors import UnknownNameError


def checkpoint_of(name: str) -> Checkpoint:
    """The registered checkpoint `name`, or that of the folder `name`, which is published like the
    registered checkpoints of its model type; if there are several kinds, of its class, which the
    metadata `architectures` of the registration names.

    Raises:
        UnknownNameError: there is neither.
        FileNotFoundError: the folder has no config.json.
        ValueError: no registered checkpoint has the folder's model type.
        RegistryError: a plugin registered an object that is not a Checkpoint.
    """
    if name in registry.checkpoints:
        return registry.checkpoints.get_as(name, Checkpoint)
    if not Path(name).is_dir():
        try:
            return registry.checkpoints.get_as(name, Checkpoint)
        except UnknownNameError as error:
            raise UnknownNameError(f"{error} There is no folder of that name either.") from None
    kind, known = model_type(name), []
    alike: list[Entry] = []
    for entry in registry.checkpoints.entries():
        types = entry.metadata.get("model_types", [])
        if kind in types:
            alike.append(entry)
        known += types
    if alike:
        classes = architectures(name)
        entry = next((one for one in alike if classes & _classes(one)), alike[0])
        return dataclasses.replace(
            registry.checkpoints.get_as(entry.name, Checkpoint),
            name=Path(name).resolve().name,
            folder=Path(name).resolve(),
            hashes={},
            hub_id=None,
            revision=None,
        )
    raise ValueError(
        f"folder {name}: no plugin publishes model_type {kind!r}; known are {sorted(set(known))}"
    )


def _classes(entry: Entry) -> set[str]:
    return set(entry.metadata.get("architectures", []))
