"""What `evenfall doctor` examines: the machine, the plugins, the hosts and the backends."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from evenfall import backends
from evenfall.registry import plugins
from evenfall.version import __version__

HOSTS = ("torch", "transformers", "torch-geometric", "mamba-ssm", "timm", "triton", "numba")
"""Distributions whose versions are listed without importing them."""

INSTALL = {
    "mamba-ssm": "MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE "
    "pip install --no-build-isolation --no-deps mamba-ssm einops"
}
"""How to install a host where `pip install HOST` would need a compiler."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `advice` says what to do and may be empty."""

    level: Literal["ok", "warning", "broken"]
    subject: str
    detail: str
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON-able values."""
        return asdict(self)


def examine() -> list[Finding]:
    """Examine everything, the machine first."""
    return [*_machine(), *_accelerator(), *_plugins(), *_hosts(), *_operations()]


def _machine() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.platform()}")
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    yield Finding("ok", "cores", f"{cores} usable of {os.cpu_count()}")
    yield Finding("ok", "evenfall-core", __version__)


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
        try:
            yield Finding("ok", host, version(host))
        except PackageNotFoundError:
            command = INSTALL.get(host, f"pip install {host}")
            yield Finding("ok", host, "not installed", f"If you need it: {command}")


def _operations() -> Iterator[Finding]:
    for operation in backends.operations():
        kernels = backends.candidates(operation)
        problems = {kernel.backend: kernel.problem() for kernel in kernels}
        working = [name for name, problem in problems.items() if problem is None]
        for name, problem in problems.items():
            if problem is not None:
                advice = "Install what it lacks, or use the other backends."
                yield Finding("warning", f"{operation}/{name}", problem, advice)
        if working:
            yield Finding("ok", operation, ", ".join(working))
        else:
            owners = ", ".join(sorted({kernel.owner for kernel in kernels}))
            advice = f"Reinstall the plugin {owners}, or install the packages named above."
            yield Finding("broken", operation, "no backend can be imported", advice)
