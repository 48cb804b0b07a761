"""Size of the file, and peak memory of loading it and generating, in a process of its own.

    python -m egru_int8_parts.memory FOLDER

writes the MiB alone, from within tests/benchmarks.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from egru_int8_parts.forms import Folders
from timing import forget_peak, peak_mib
from transformers import AutoModelForCausalLM

from evenfall_egru import EgruConfig, EgruForCausalLM, quantize

HERE = Path(__file__).resolve().parents[1]


def size(folders: Folders) -> Iterator[dict[str, Any]]:
    for model, forms in folders.items():
        for form, folder in forms.items():
            done = subprocess.run(
                [sys.executable, "-m", "egru_int8_parts.memory", str(folder)],
                cwd=HERE, capture_output=True, text=True, check=True,
            )  # fmt: skip
            file = (folder / "model.safetensors").stat().st_size
            yield {"part": "size", "model": model, "weights": form, "file_mb": file / 1e6,
                   "memory_mib": float(done.stdout)}  # fmt: skip


def load_and_write(folder: Path) -> Any:
    """The model, after it wrote ten tokens."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.generate(torch.tensor([[1, 2, 3]]), do_sample=False, max_new_tokens=10, pad_token_id=0)
    return model


def warm_up(form: str) -> None:
    """Compile what the form needs, with a tiny model."""
    model = EgruForCausalLM(EgruConfig(vocab_size=8, embedding_size=4, hidden_sizes=[4])).eval()
    with tempfile.TemporaryDirectory() as folder:
        (model if form == "float32" else quantize(model, form)).save_pretrained(folder)
        load_and_write(Path(folder))


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    warm_up(folder.name)
    forget_peak()
    before = peak_mib()
    load_and_write(folder)
    sys.stdout.write(f"{peak_mib() - before}\n")


if __name__ == "__main__":
    main()
