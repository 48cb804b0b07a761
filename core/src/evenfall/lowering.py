"""What a plugin registers as a lowering or an exporter, and what a lowering builds a graph with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from evenfall.errors import LoweringError

if TYPE_CHECKING:
    from evenfall.graph import Layer


class Exporter(Protocol):
    """What the hook `evenfall_register_exporters` registers a reference to."""

    def __call__(self, model: Any, output: str | Path, **options: Any) -> Any:
        """Write `model`, a module or a Graph, to the folder `output`.

        Raises:
            LoweringError: a part of the model has no lowering, or cannot be lowered.
            ValueError: the model does not fit the target, or an option is wrong.
        """


@dataclass(frozen=True, slots=True)
class Lowering:
    """How a module becomes layers; what `evenfall_register_lowerings` registers.

    Attributes:
        lower: called with the module and a GraphBuilder; adds layers to it. It raises a
            LoweringError that names what would be lost.
        methods: the methods that compute. A subclass that overrides one of them is unknown.
    """

    lower: Callable[[Any, GraphBuilder], None]
    methods: tuple[str, ...] = ("forward",)


class GraphBuilder:
    """Collects the layers of a graph. Each added layer reads the one before, unless told otherwise.

    Args:
        lower: lowers a module into this builder; `evenfall.exporting.lower` passes it.
    """

    def __init__(self, lower: Callable[[Any, GraphBuilder], None]) -> None:
        self.layers: dict[str, Layer] = {}
        self.edges: list[tuple[str, str]] = []
        self.metadata: dict[str, Any] = {}
        self._lower = lower
        self._last: str | None = None
        self._prefix: list[str] = []

    def add(self, name: str, layer: Layer, *, reads: tuple[str, ...] | None = None) -> str:
        """Add a layer and return its full name, with the names of the modules around it.

        Args:
            name: its name in the module.
            layer: the layer.
            reads: full names of the layers that it reads; by default the last one added.
        """
        full = ".".join([*self._prefix, name]) if name else ".".join(self._prefix)
        if not full or full in self.layers:
            raise LoweringError(f"layer {full!r}: the name is empty or taken")
        if reads is None:
            reads = () if self._last is None else (self._last,)
        self.layers[full] = layer
        self.edges += [(source, full) for source in reads]
        self._last = full
        return full

    @property
    def last(self) -> str | None:
        """The full name of the layer that was added last."""
        return self._last

    def replace(self, name: str, layer: Layer) -> None:
        """Put another layer in the place of one that was added, as an activation joins it."""
        self.layers[name] = layer

    def lower(self, module: Any, name: str) -> None:
        """Add the layers of a submodule, by the lowering of its class.

        Raises:
            LoweringError: its class has none.
        """
        with self.inside(name):
            self._lower(module, self)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """The names of layers that the block adds begin with `name`."""
        self._prefix.append(name)
        try:
            yield
        finally:
            self._prefix.pop()

    @property
    def path(self) -> str:
        """The name of the module that is being lowered."""
        return ".".join(self._prefix)
