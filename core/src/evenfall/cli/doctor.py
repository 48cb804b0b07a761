"""What `evenfall doctor` examines: the machine, the plugins, the hosts and the backends."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator

from evenfall import backends
from evenfall.caches import MACHINE_CODE, machine_code_folder
from evenfall.errors import EvenfallError, PluginError, closest
from evenfall.findings import Finding
from evenfall.installed import installed_version
from evenfall.registry import plugins
from evenfall.trials import try_backends
from evenfall.version import __version__

HOSTS = ("torch", "transformers", "torch-geometric", "mamba-ssm", "timm", "triton", "numba")
"""Distributions whose versions are listed without importing them."""

INSTALL = {
    "mamba-ssm": "MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE "
    "pip install --no-build-isolation --no-deps mamba-ssm einops"
}
"""How to install a host where `pip install HOST` would need a compiler."""


VARIABLES = {
    "EVENFALL_PLUGINS", "EVENFALL_BLOCK", "EVENFALL_STRICT", "EVENFALL_BACKEND",
    "EVENFALL_CHECKPOINTS", "EVENFALL_DATA", "EVENFALL_COMPILE", "EVENFALL_FUZZ",
}  # fmt: skip
"""Those of Evenfall; the last three are read by its tests."""
_FOLDERS = ("EVENFALL_CHECKPOINTS", "EVENFALL_DATA")
_PREFIXES = ("EVENFALL_", "NUMBA_", "TRITON_")


def examine() -> Iterator[Finding]:
    """Examine everything, the machine first, and the kernels, which may be compiled, last."""
    yield from _machine()
    yield from _variables()
    yield from _machine_code()
    yield from _accelerator()
    yield from _hosts()
    try:
        yield from _plugins()
        yield from _operations()
    except PluginError as error:
        advice = "Unset EVENFALL_STRICT to examine the plugins one by one."
        yield Finding("broken", "plugins", str(error), advice)


def _machine() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.platform()}")
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    yield Finding("ok", "cores", f"{cores} usable of {os.cpu_count()}")
    yield Finding("ok", "evenfall-core", __version__)


def _variables() -> Iterator[Finding]:
    """Every variable that changes what runs."""
    for name, value in sorted(os.environ.items()):
        if not name.startswith(_PREFIXES):
            continue
        if name == "NUMBA_DISABLE_JIT" and value not in ("", "0"):
            advice = "Unset it; without Numba's compiler the slow references are used."
            yield Finding("warning", name, value, advice)
        elif name.startswith("EVENFALL_") and name not in VARIABLES:
            advice = f"Nothing reads it.{closest(name, VARIABLES)}"
            yield Finding("warning", name, value, advice)
        elif name in _FOLDERS and value and not os.path.isdir(value):
            yield Finding("warning", name, f"{value} is not a folder", "Nothing is found there.")
        else:
            yield Finding("ok", name, value)


def _machine_code() -> Iterator[Finding]:
    folder = machine_code_folder()
    advice = f"Each process compiles the CPU kernels anew; set {MACHINE_CODE} to a folder."
    if folder is None:
        yield Finding("warning", "machine code", "there is no home folder", advice)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        size = sum(file.stat().st_size for file in folder.rglob("*.nbc"))
    except OSError as error:
        yield Finding("warning", "machine code", f"{folder} cannot be written: {error}", advice)
    else:
        yield Finding("ok", "machine code", f"{folder}, {size / 1e6:.0f} MB")


def _accelerator() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        detail = f"torch cannot be imported: {type(error).__name__}: {error}"
        yield Finding("warning", "accelerator", detail, "Models need it: pip install torch")
        return
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield Finding("ok", "accelerator", ", ".join(names))
    else:
        yield Finding(
            "ok",
            "accelerator",
            "torch finds no GPU",
            "The CPU backends are used. If there is a GPU, install a torch build for its driver.",
        )


def _plugins() -> Iterator[Finding]:
    rows = plugins()
    if not rows:
        advice = "From a checkout: pip install ./core ./kernels ./plugins/egru"
        yield Finding("warning", "plugins", "none installed", advice)
    for row in rows:
        subject = f"plugin {row.name}"
        if row.status == "ok" and not row.message:
            yield Finding("ok", subject, f"{row.distribution} {row.version}")
        elif row.status == "ok":
            advice = f"Block or uninstall {row.name}, or ask its authors for other names."
            yield Finding("warning", subject, row.message, advice)
        elif row.status == "blocked":
            advice = "Change EVENFALL_BLOCK or EVENFALL_PLUGINS to load it."
            yield Finding("warning", subject, row.message, advice)
        else:
            advice = (
                f"Upgrade or uninstall {row.distribution}. For the traceback: EVENFALL_STRICT=1 "
                'python -c "import evenfall; evenfall.plugins()"'
            )
            if row.distribution == "not installed":
                advice = "Install it, or remove it from EVENFALL_PLUGINS."
            yield Finding("broken", subject, row.message, advice)


def _hosts() -> Iterator[Finding]:
    for host in HOSTS:
        installed = installed_version(host)
        if installed is None:
            command = INSTALL.get(host, f"pip install {host}")
            yield Finding("ok", host, "not installed", f"If you need it: {command}")
        else:
            yield Finding("ok", host, installed)


def _operations() -> Iterator[Finding]:
    for operation in backends.operations():
        kernels = backends.candidates(operation)
        problems = {kernel.backend: kernel.problem() for kernel in kernels}
        for kernel in kernels:
            if kernel.breaks_contract():
                advice = f"Upgrade or block the plugin {kernel.owner}; it is not used."
                yield Finding(
                    "broken", f"{operation}/{kernel.backend}", str(kernel.problem()), advice
                )
            elif kernel.problem() is not None:
                advice = "Install what it lacks, or use the other backends."
                detail = str(kernel.problem())
                yield Finding("warning", f"{operation}/{kernel.backend}", detail, advice)
        working = [name for name, problem in problems.items() if problem is None]
        if working:
            yield from _trials(operation, working)
        else:
            owners = ", ".join(sorted({kernel.owner for kernel in kernels}))
            advice = f"Reinstall the plugin {owners}, or install the packages named above."
            yield Finding("broken", operation, "no backend can be imported", advice)


def _trials(operation: str, working: list[str]) -> Iterator[Finding]:
    """A tiny call of each backend that can be imported."""
    try:
        trials = list(try_backends(operation))
    except EvenfallError as error:
        yield Finding("warning", operation, str(error), "Install what it lacks.")
        return
    for trial in trials:
        if trial.problem is not None:
            yield Finding(
                "broken",
                f"{operation}/{trial.backend}",
                f"a tiny call on {trial.place} fails: {trial.problem}",
                f"{backends.VARIABLE}={operation}=reference does without it; report it to the "
                f"authors of the plugin {trial.owner}.",
            )
    ran = {trial.backend for trial in trials if trial.problem is None}
    failed = {trial.backend for trial in trials if trial.problem is not None}
    shown = [
        name if name in ran or not trials else f"{name} (not tried: no such device)"
        for name in working
        if name not in failed
    ]
    if shown:
        yield Finding("ok", operation, ", ".join(shown))
