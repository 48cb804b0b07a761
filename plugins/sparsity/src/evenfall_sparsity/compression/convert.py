"""compress(): the inference form of a model, each matrix in the form that is fastest here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from evenfall.counting import PlacedMatrix, count_operations, counter_for, list_matrices
from evenfall.errors import shorten

from ..calls import arguments_of
from ..checks import bare_model, check_original, check_weight, matches, read_patterns
from .costs import Costs
from .hosts import mark_compressed
from .kinds import DTYPES, Kind, density, entries_per_row, possible_kinds
from .modules import put, why_not
from .readers import weight_readers
from .report import CompressedMatrix, Compression

_TIE = 1.05
"""Forms whose estimates differ by less than this are equally fast; the smallest is taken."""


def compress(
    model: nn.Module,
    batch: Any = None,
    *,
    exact: bool = True,
    exclude: str | Sequence[str] | None = None,
    costs: Costs | None = None,
) -> Compression:
    """Give a model its inference form, in place: each matrix in the fastest form.

    The forms are dense, rows (float32, bfloat16, int8 with a scale for each row), compressed rows
    and blocks of 4, 8 or 16 weights along a row. A cost model estimates the time of one vector
    from the nonzeros of the rows whose inputs are active. It is measured once on a machine and
    kept, see `costs`. Of equally fast forms, the smallest is taken.

    The model is set to eval() and cannot be trained further. A transformers model can be saved with
    `save_pretrained` and loaded with `from_pretrained` once `evenfall_sparsity` is imported.

    Args:
        model: any module on the CPU. Of torch.nn, Linear can be compressed; other modules if their
            counter says so, as that of EGRU does. The rest stays as it is, and the report says so.
        batch: inputs that show which units are active: a tensor, a tuple or dict of arguments.
            Without it, every input counts as active.
        exact: use only forms that keep every weight: bfloat16 and int8 only where they hold all
            weights of the matrix exactly.
        exclude: patterns of parameter names, as in a shell, that stay as they are.
        costs: another cost model.

    Raises:
        ValueError: the model is compressed or quantised already, has nothing to compress, contains
            NaN or infinite weights, or exclude matches nothing.
        TypeError: the model is not a module.
    """
    model = bare_model(model)
    check_original(model)
    every = list_matrices(model)
    placed = [one for one in every if one.matrix.role != "lookup"]
    tables = {one.weight.data_ptr() for one in every if one.matrix.role == "lookup"}
    if not placed:
        raise ValueError("nothing to compress: the model has no matrix that a counter knows")
    left = _excluded(exclude, [one.name for one in placed])
    for one in placed:
        if one.weight.device.type != "cpu":
            raise ValueError(
                f"{one.name} is on {one.weight.device}; compress needs a model on the CPU"
            )
        check_weight(one.name, one.weight)
    model.eval()
    active = {} if batch is None else _activities(model, batch)
    costs = Costs() if costs is None else costs
    counts = [one.weight.data_ptr() for one in placed]
    readers = weight_readers(model)
    matrices, stored = [], {}
    for one in placed:
        reason = "excluded" if one.name in left else why_not(one.holder, _attribute(one))
        if reason is None and id(one.holder) in readers:
            reason = f"{readers[id(one.holder)]} reads its weight itself"
        if counts.count(one.weight.data_ptr()) > 1:
            reason = "several modules multiply it"
        row, kind = _choose(one, active.get(one.name), exact, reason, costs)
        if kind is not None:
            if one.weight.data_ptr() in tables:
                row = replace(row, reason=f"{row.reason}; the table that it was tied to stays")
            matrix = kind.store(_inputs_first(one))
            put(model, one.name, matrix)
            stored[one.name] = matrix.describe()
        matrices.append(row)
    result = Compression(tuple(matrices), stored)
    mark_compressed(model, stored)
    return result


def _choose(
    one: PlacedMatrix,
    active: Tensor | None,
    exact: bool,
    reason: str | None,
    costs: Costs,
) -> tuple[CompressedMatrix, Kind | None]:
    """The report on a matrix, and its new form or None."""
    weight = _inputs_first(one)
    shape, before = (weight.shape[0], weight.shape[1]), weight.numel() * one.weight.element_size()
    active = torch.ones(shape[0], dtype=torch.float64) if active is None else active
    entries = {0: entries_per_row(weight, 0)}
    # EGRU's own modules skip silent units; others compute a dense product.
    skips = (counter := counter_for(one.holder)) is not None and counter.compressible
    dtype = one.weight.dtype
    now = Kind(0, dtype if dtype in DTYPES else torch.float32) if skips else None
    estimates = {"as it is": costs.microseconds(now, active, entries[0])}
    sizes, kinds = {"as it is": before}, {}
    for kind in possible_kinds(weight, exact) if reason is None else ():
        if kind == now:
            continue
        if kind.width not in entries:
            entries[kind.width] = entries_per_row(weight, kind.width)
        name, stored = str(kind), entries[kind.width]
        kinds[name] = kind
        estimates[name] = costs.microseconds(kind, active, stored)
        sizes[name] = kind.bytes(shape, int(stored.sum()))
    fastest = min(estimates.values())
    form = min((n for n, t in estimates.items() if t <= _TIE * fastest), key=sizes.__getitem__)
    mean = float(active.mean()) if len(active) else 1.0
    row = CompressedMatrix(
        one.name, shape, density(weight), mean, form,
        _why(form, estimates) if reason is None else reason,
        estimates[form], estimates["as it is"], sizes[form], before, estimates,
    )  # fmt: skip
    return row, kinds.get(form)


def _why(form: str, estimates: Mapping[str, float]) -> str:
    others = {name: time for name, time in estimates.items() if name != form}
    if not others:
        return "no other form keeps its weights"
    second = min(others, key=others.__getitem__)
    if estimates[form] > others[second]:
        return f"as fast as {second} ({others[second]:.1f} us) and smaller"
    return f"fastest; next is {second} ({others[second]:.1f} us)"


def _inputs_first(one: PlacedMatrix) -> Tensor:
    """(inputs, outputs); the kernel of a convolution counts as outputs."""
    weight = one.weight.detach()
    return weight.movedim(one.matrix.input_axis, 0).reshape(weight.shape[one.matrix.input_axis], -1)


def _attribute(one: PlacedMatrix) -> str:
    return one.matrix.parameter.rpartition(".")[2]


def _activities(model: nn.Module, batch: Any) -> dict[str, Tensor]:
    """Full name of a matrix -> (I,) how often each of its inputs is not zero."""
    args, kwargs = arguments_of(batch)
    products = count_operations(model, *args, **kwargs).products
    found = {}
    for name, parts in products.items():
        seen = [part for part in parts if part.active is not None and part.rows]
        if len(parts) == len(seen) == 1:
            found[name] = seen[0].active.double().cpu() / seen[0].rows
    return found


def _excluded(patterns: str | Sequence[str] | None, names: list[str]) -> set[str]:
    patterns = read_patterns("exclude", patterns) or []
    for pattern in patterns:
        if not matches(names, [pattern]):
            raise ValueError(f"exclude {shorten(pattern)} matches none of the matrices {names[:8]}")
    return {name for name in names if matches([name], patterns)}
