"""Run the notebooks of docs/examples/ and write their outputs into them.

    python tools/run_examples.py            # all
    python tools/run_examples.py pruning    # one

A notebook runs in a folder of its own, beside a link to hub_cards/, so what it writes is not in the
checkout. It needs the extra `docs`. If a cell fails, the notebook stays as it is.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = REPOSITORY / "docs" / "examples"
COLOURS = 128


def execute(path: Path) -> Any:
    """The notebook with the outputs of a run, and nothing of the machine that ran it."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "docs", "examples")
        folder.mkdir(parents=True)
        Path(root, "hub_cards").symlink_to(REPOSITORY / "hub_cards", target_is_directory=True)
        where = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell.outputs = [tidy(output) for output in cell.outputs if not progress(output)]
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def progress(output: Any) -> bool:
    """Whether it is of stderr: progress bars and the log of hosts."""
    return output.get("name") == "stderr"


def tidy(output: Any) -> Any:
    """Pictures with a palette, which is a third of the bytes, and without their text form."""
    data = output.get("data", {})
    if "image/png" in data:
        with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as image:
            small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        file = io.BytesIO()
        small.save(file, "png", optimize=True)
        output.data = {"image/png": base64.b64encode(file.getvalue()).decode()}
        output.metadata = {}
    return output


def main(names: list[str]) -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    for path in [EXAMPLES / f"{name}.ipynb" for name in names] or sorted(EXAMPLES.glob("*.ipynb")):
        print(path.name, flush=True)
        nbformat.write(execute(path), path)


if __name__ == "__main__":
    main(sys.argv[1:])
