"""torch_geometric's ModelNet as point clouds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch_geometric.data import Data
from torch_geometric.datasets import ModelNet
from torch_geometric.transforms import Compose, SamplePoints

from evenfall.checks import check_choice, check_integer

from ..transforms.normalize_sphere import NormalizeSphere


def modelnet(
    root: str | Path,
    name: str = "40",
    split: str = "train",
    points: int = 1024,
    transform: Callable[[Data], Data] | None = None,
) -> ModelNet:
    """ModelNet10 or 40 in the unit sphere; points are sampled from the surfaces on each access.

    torch_geometric downloads the meshes to `root` if they are missing, and stores its processed
    files there. Items are Data(pos=(points, 3) float32, y=(1,) int64). Points are sampled in
    proportion to the area, with torch's generator. `classes` has the names of the classes.

    Args:
        root: folder of the data set; use a separate folder for each name.
        name: "10" or "40".
        split: train or test.
        points: number of points to sample from each mesh, at least 1.
        transform: applied to each cloud after sampling.

    Raises:
        ValueError: unknown name or split; points < 1.

    Source: Wu et al., 3D ShapeNets, 2015, https://modelnet.cs.princeton.edu.
    """
    check_choice("name", name, ("10", "40"))
    check_choice("split", split, ("train", "test"))
    check_integer("points", points, 1)
    steps = [SamplePoints(points), NormalizeSphere()]
    steps += [transform] if transform is not None else []
    dataset = ModelNet(str(root), name, split == "train", transform=Compose(steps))
    # torch_geometric numbers the classes in the order of their folders.
    folders = (p.name for p in Path(dataset.raw_dir).iterdir() if p.is_dir())
    dataset.classes = sorted(name for name in folders if not name.startswith("."))
    return dataset
