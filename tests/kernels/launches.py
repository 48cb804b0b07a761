"""Record the launches of Triton kernels and compile them for GPUs that this machine lacks.

The tensors are on the device "meta": they have sizes and strides but no memory, so the sizes of
real models are possible. Arguments are specialised as in Triton: 1 becomes a constant, integers and
addresses divisible by 16 are marked as such, and integers of more than 32 bits have 64.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
_NAMES = {
    torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.int64: "i64",
    torch.int32: "i32", torch.int8: "i8", torch.uint8: "u8", torch.uint16: "u16",
}  # fmt: skip
_OPTIONS = ("num_warps", "num_stages", "maxnreg")


@dataclass(frozen=True)
class Launch:
    """One launch: the kernel, its grid, and its arguments as Triton's compiler sees them."""

    kernel: Any
    grid: tuple[int, ...]
    signature: dict[str, str]
    constants: dict[tuple[int, ...], Any]
    attributes: dict[tuple[int, ...], list[list[Any]]]
    options: dict[str, int]

    @property
    def name(self) -> str:
        return str(self.kernel.__name__)

    def compile(self, target: str) -> Any:
        source = ASTSource(self.kernel, self.signature, self.constants, self.attributes)
        options = dict(self.options)
        if target.startswith("gfx"):
            options.pop("maxnreg", None)
        return triton.compile(source, target=TARGETS[target], options=options)


@contextmanager
def record_launches() -> Iterator[list[Launch]]:
    """The list of all launches in the context; none is run."""
    launches: list[Launch] = []

    def run(kernel: Any, *args: Any, grid: Any, warmup: bool, **keywords: Any) -> None:
        options = {name: keywords.pop(name) for name in _OPTIONS if name in keywords}
        values = dict(zip(kernel.arg_names, args, strict=False)) | keywords
        launch = Launch(kernel, tuple(grid), {}, {}, {}, options)
        for index, parameter in enumerate(kernel.params):
            value = values[parameter.name]
            kind, exact = _kind(value)
            exact = exact and not parameter.do_not_specialize
            if parameter.is_constexpr or (exact and value == 1):
                kind = "constexpr"
                launch.constants[(index,)] = value
            elif (exact and value % 16 == 0) or isinstance(value, Tensor):
                launch.attributes[(index,)] = [["tt.divisibility", 16]]
            launch.signature[parameter.name] = kind
        launches.append(launch)

    with mock.patch.object(JITFunction, "run", run):
        yield launches


def _kind(value: object) -> tuple[str, bool]:
    """Triton's name for the type, and whether the value is an integer."""
    if isinstance(value, Tensor):
        return f"*{_NAMES[value.dtype]}", False
    if isinstance(value, float):
        return "fp32", False
    integer = isinstance(value, int) and not isinstance(value, bool)
    return ("i32" if not integer or abs(value) < 2**31 else "i64"), integer


def local_bytes(compiled: Any, target: str) -> int:
    """Bytes of a thread's registers that spill to memory."""
    if target.startswith("gfx"):
        size = re.search(r"\.private_segment_fixed_size: +(\d+)", compiled.asm["amdgcn"])
        assert size is not None
        return int(size[1])
    return resources(compiled)["STACK"]


def resources(compiled: Any) -> dict[str, int]:
    """REG, STACK, SHARED and LOCAL of an NVIDIA binary."""
    text = _cuobjdump(compiled, "--dump-resource-usage")
    return {name: int(value) for name, value in re.findall(r"([A-Z]+):(\d+)", text)}


def machine_code(compiled: Any) -> str:
    """The instructions of an NVIDIA binary."""
    return _cuobjdump(compiled, "-sass")


def _cuobjdump(compiled: Any, option: str) -> str:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as binary:
        binary.write(compiled.asm["cubin"])
        binary.flush()
        process = subprocess.run(
            [tool, option, binary.name], check=True, capture_output=True, text=True
        )
    return process.stdout
