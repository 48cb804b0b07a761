"""Build the PE program with gcc-arm-none-eabi."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

COMPILER, BOARD = "arm-none-eabi-gcc", "qemu-system-arm"
FLAGS = (
    "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O2", "-std=c11",
    "-ffp-contract=off",  # a fused multiply-add would round once instead of twice
    "-fno-math-errno", "-fno-strict-aliasing", "-fno-tree-loop-distribute-patterns",
    "-ffreestanding", "-nostdlib", "-Wall", "-Wextra", "-Werror",
)  # fmt: skip
PROGRAM = ("start.c", "main.c", "pe.c", "events.c", "gather.c", "units.c")
ON_CHIP = {"pe.o", "events.o", "gather.o", "units.o"}
"""What also runs on the chip; the rest serves the emulated board."""


@dataclass(frozen=True)
class Firmware:
    """A built program.

    Attributes:
        path: the ELF file.
        code: bytes of code and constants, of 32 kB.
        data: bytes of variables outside of the blob.
        parts: bytes of code by source file.
    """

    path: Path
    code: int
    data: int
    parts: dict[str, int]


def missing_tools() -> list[str]:
    """The programs that are needed and not installed."""
    return [name for name in (COMPILER, BOARD) if shutil.which(name) is None]


def build(output: str | Path, sources: tuple[str, ...] = PROGRAM) -> Firmware:
    """Compile and link the program.

    Args:
        output: the ELF file to write; object files are put beside it.
        sources: C files of the package.

    Raises:
        FileNotFoundError: the compiler is not installed.
        RuntimeError: the compiler fails; the message has its output.
    """
    if shutil.which(COMPILER) is None:
        raise FileNotFoundError(
            f"{COMPILER} is not installed; on Debian: apt install gcc-arm-none-eabi "
            "libnewlib-arm-none-eabi"
        )
    output = Path(output)
    objects = []
    with as_file(files(__package__) / "c") as folder:
        for name in sources:
            target = output.parent / f"{Path(name).stem}.o"
            _call([COMPILER, *FLAGS, "-c", str(folder / name), "-o", str(target)])
            objects.append(target)
        linked = ["-T", str(folder / "pe.ld"), *map(str, objects), "-lgcc", "-o", str(output)]
        _call([COMPILER, *FLAGS, *linked])
    total = _sizes(output)
    parts = {path.name: _sizes(path)[0] for path in objects}
    return Firmware(output, *total, parts)


def _sizes(path: Path) -> tuple[int, int]:
    """Bytes of code and of variables."""
    text = _call(["arm-none-eabi-size", "-A", str(path)])
    code = data = 0
    for name, size in re.findall(r"^(\.\S+)\s+(\d+)", text, re.M):
        code += int(size) if name.startswith((".text", ".rodata")) else 0
        data += int(size) if name.startswith((".data", ".bss")) else 0
    return code, data


def _call(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:1])} failed:\n{done.stderr.strip()}")
    return done.stdout
