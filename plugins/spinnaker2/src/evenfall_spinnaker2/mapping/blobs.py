"""The blob of each processing element: the weights and parameters of its slice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from evenfall_spinnaker2.image import Blob, Projection, SourceRange
from evenfall_spinnaker2.image.codes import WEIGHT_DTYPES, parameter_layout
from evenfall_spinnaker2.lowering import network as lowered
from evenfall_spinnaker2.lowering.precision import to_bf16

from .layout import PopulationLayout
from .partition import Slice


def make_blob(
    layout: PopulationLayout,
    part: Slice,
    keys: Mapping[str, int],
    address: int,
) -> Blob:
    """The blob of a slice.

    Args:
        layout: of the population, in a network with weights rounded to their formats.
        part: the slice.
        keys: the first key of each population.
        address: where the blob will lie.
    """
    population, first, end = layout.population, part.first, part.first + part.count
    gathers = layout.mode == "gather"
    projections: list[Projection] = []
    ranges, start = [], 0
    forms = layout.weight_bytes(first, part.count)
    for number, one in enumerate(layout.incoming):
        projections.append(_projection(layout, number, forms[number][0], part, start))
        units = projections[-1].source_units
        ranges.append(SourceRange(keys[one.source], units, number, 0))
        start += units if gathers else 0
    parameters = {
        name: _part(population.parameters[name], count, population.units, first, end, dtype)
        for name, (dtype, count) in parameter_layout(
            population.kind, population.arithmetic, "scale" in population.flags
        ).items()
    }
    extra = {"record_values"} if layout.options.record_values else set()
    return Blob(
        population.kind,
        layout.mode,
        population.arithmetic,
        part.count,
        keys[population.name] + first,
        tuple(projections),
        tuple(ranges),
        parameters,
        layout.queue_depth,
        population.flags | extra,
        float(np.float32(population.zoneout)),
        layout.options.recorded_steps,
        address,
        population.level,
    )


def _part(values: Any, count: int, units: int, first: int, end: int, dtype: str) -> Any:
    """The units first .. end of (count * units,) values."""
    part = np.asarray(values).reshape(count, units)[:, first:end]
    return np.ascontiguousarray(part).ravel().astype(dtype)


def _projection(
    layout: PopulationLayout, number: int, form: str, part: Slice, start: int
) -> Projection:
    one = layout.incoming[number]
    segments = layout.segments[number]
    weight_format = one.weight_format or "fp32"
    if isinstance(one.operation, lowered.Convolution):
        return _convolution(layout.population, one, one.operation, part, segments)
    weights = one.operation.weights[:, :, part.first : part.first + part.count]
    sources, groups, _ = weights.shape
    matrix = np.ascontiguousarray(weights).reshape(sources, groups * part.count)
    if layout.mode == "gather":
        matrix = np.ascontiguousarray(matrix.T)
    indices: Any = None
    pointers: Any = None
    values = matrix
    if form == "sparse":
        lines, others = np.nonzero(matrix)
        values = matrix[lines, others]
        counts = np.bincount(lines, minlength=len(matrix))
        pointers = np.concatenate([[0], np.cumsum(counts)])
        pointers = pointers.astype(f"<u{layout.pointer_bytes(len(values))}")
        indices = others.astype(f"<u{layout.index_bytes(one, part.count)}")
    return Projection(
        form,
        weight_format,
        one.source_shape,
        groups * part.count,
        _stored(values, weight_format),
        one.operation.first * part.count,
        indices,
        pointers,
        start if layout.mode == "gather" else 0,
        one.pool,
        segments=segments,
    )


def _convolution(
    population: lowered.Population,
    one: lowered.Projection,
    operation: lowered.Convolution,
    part: Slice,
    segments: tuple[int, ...],
) -> Projection:
    _, height, width = population.shape
    channel, offset = divmod(part.first, height * width)
    channels = -(-(offset + part.count) // (height * width))
    weights = operation.weights[channel : channel + channels].transpose(1, 2, 3, 0)
    weight_format = one.weight_format or "fp32"
    return Projection(
        "conv",
        weight_format,
        one.source_shape,
        part.count,
        _stored(np.ascontiguousarray(weights), weight_format),
        pool=one.pool,
        stride=operation.stride,
        padding=operation.padding,
        out_size=(height, width),
        first_channel=channel,
        channels=channels,
        first_row=offset // width,
        out_rows=part.count // (channels * width),
        segments=segments,
    )


def _stored(values: Any, weight_format: str) -> Any:
    if weight_format == "bf16":
        return to_bf16(values)
    return values.astype(WEIGHT_DTYPES[weight_format])
