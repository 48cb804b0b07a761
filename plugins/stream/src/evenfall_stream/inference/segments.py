"""Classify each point of files with a segmenter.

N points   C classes
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import SamplePoints

from evenfall.files import file_aside

from ..datasets.readers.inputs import read_shape
from ..models.prediction import logits
from ..models.segmentation import StreamSegmenter
from ..seeds import seeded
from ..transforms.normalize_sphere import unit_sphere
from ..transforms.pipeline import make_transforms
from .settings import Settings

_MOST_ROUNDING = 1e-4
"""Largest rounding of a position, as a share of the size of the cloud."""


class SegmentedFile(NamedTuple):
    """The classes of the points of a file.

    Attributes:
        path: of the file.
        pos: (N, 3) float64, as in the file; of a mesh, the sampled points.
        classes: (N,) the most probable class of each point.
        probabilities: (N,) its probability.
    """

    path: Path
    pos: Tensor
    classes: Tensor
    probabilities: Tensor

    def counts(self, names: Sequence[str]) -> dict[str, int]:
        """Class to its number of points."""
        counts = torch.bincount(self.classes, minlength=len(names)).tolist()
        return dict(zip(names, counts, strict=True))


class FileSegmenter:
    """Classifies the points of files with a segmenter.

    Positions are used as the file has them, in the units of the training data; a model of
    ShapeNet-part gets them centred and scaled to the unit sphere, as its data set does.

    Args:
        model: a segmenter in evaluation mode.
        settings: how files are read.

    Raises:
        ReferenceImportError: a transform of the preparation cannot be imported.
        ValueError: the model needs features besides positions, or positions of other than three
            coordinates.
    """

    def __init__(self, model: StreamSegmenter, settings: Settings) -> None:
        if model.in_channels:
            raise ValueError(
                f"the model needs {model.in_channels} features per point, such as colours, which "
                "predict does not read from files: call the model in Python"
            )
        if model.dimensions != 3:
            raise ValueError(
                f"the model needs positions of {model.dimensions} coordinates, and files have 3"
            )
        self.model, self.settings = model, settings
        self.prepare = make_transforms(settings.preparation, "preparation")

    def predict(self, path: Path) -> SegmentedFile:
        """Classify the points of one file.

        Where the preparation selects points, the result has those points alone.

        Raises:
            FileNotFoundError, ImportError: as `read_cloud`.
            ValueError: as `read_cloud`; or float32 cannot hold the positions, because the cloud is
                far from the origin; or the preparation makes points that the file does not have.
        """
        shape = read_shape(path)
        with seeded(0):
            pos = shape.pos
            if shape.face is not None:
                pos = SamplePoints(self.settings.points)(Data(pos=pos, face=shape.face)).pos
            data = Data(pos=self._single(pos, path), row=torch.arange(len(pos)))
            data = self.prepare(data)
        rows: Tensor = data.row
        if rows.shape != data.pos.shape[:1]:
            raise ValueError(
                f"the preparation of the recipe must keep or select points, but made "
                f"{len(data.pos)} points of {len(rows)}"
            )
        batch = Batch.from_data_list([Data(pos=data.pos)])
        with torch.no_grad():
            out = logits(self.model, batch.to(next(self.model.parameters()).device))
        best, classes = out.double().softmax(-1).cpu().max(-1)
        return SegmentedFile(path, pos[rows], classes, best)

    def _single(self, pos: Tensor, path: Path) -> Tensor:
        """The positions as the model gets them, float32."""
        if self.settings.unit_sphere:
            return unit_sphere(pos).float()
        single = pos.float()
        error = float((single.double() - pos).abs().max())
        if error > _MOST_ROUNDING * float((pos.max(0).values - pos.min(0).values).max()):
            raise ValueError(
                f"{path}: float32 rounds the positions by up to {error:.2g}, since the cloud is "
                "far from the origin; subtract the place that the training data has as its origin"
            )
        return single


def write_points(found: SegmentedFile, names: Sequence[str], path: str | Path) -> Path:
    """Write a CSV file with a row per point: x, y, z, class, probability.

    Raises:
        OSError: the file cannot be written.
    """
    with file_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "y", "z", "class", "probability"])
        rows = zip(
            found.pos.tolist(), found.classes.tolist(), found.probabilities.tolist(), strict=True
        )
        for pos, number, probability in rows:
            writer.writerow([*map(repr, pos), names[number], f"{probability:.6f}"])
    return Path(path)
