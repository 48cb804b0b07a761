"""A hook of MkDocs: each notebook of docs/examples/ becomes a page, with its outputs as they are.

A page has what Markdown has, so it follows the site's colours and is found by its search. The text
of a picture is the cell's metadata `alt`. Links to other notebooks lead to their pages.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

LINK = re.compile(r"\]\((?!\w+:)([^)#]+)\.ipynb")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")  # colours of a terminal


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page and its pictures for each notebook."""
    from mkdocs.structure.files import File

    for file in [one for one in files if one.src_uri.endswith(".ipynb")]:
        assert file.abs_src_path is not None
        notebook = json.loads(Path(file.abs_src_path).read_text(encoding="utf-8"))
        stem = file.src_uri.removesuffix(".ipynb")
        text, pictures = convert(notebook, Path(stem).name)
        page = File.generated(config, f"{stem}.md", content=text)
        page.edit_uri = file.src_uri  # the pencil leads to the notebook
        files.append(page)
        for name, content in pictures.items():
            files.append(File.generated(config, f"{Path(stem).parent}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A link to a notebook leads to its page, except that of the page itself."""
    return markdown if page.file.generated_by else LINK.sub(r"](\1.md", markdown)


def convert(notebook: dict[str, Any], stem: str) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a notebook, and its pictures by file name."""
    parts, pictures = [], dict[str, bytes]()
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(LINK.sub(r"](\1.md", source))
            continue
        parts.append(fenced(source, "python"))
        for shown in outputs(cell):
            if isinstance(shown, str):
                parts.append(fenced(shown, 'text title="Output"'))
            else:
                name = f"{stem}-{number}.png"
                pictures[name] = shown
                parts.append(f"![{cell['metadata']['alt']}]({name})")
    title, *rest = parts[0].split("\n")
    return "\n\n".join([title, download(stem), "\n".join(rest), *parts[1:]]) + "\n", pictures


def download(stem: str) -> str:
    """The line below the title."""
    return f"[Download this notebook]({stem}.ipynb){{ .md-button .download download }}"


def fenced(text: str, language: str) -> str:
    """A block of code; the fence is longer than any in the text."""
    ticks = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text)), 0)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def outputs(cell: dict[str, Any]) -> Iterator[str | bytes]:
    """What a code cell shows: text, and pictures as PNG."""
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            yield base64.b64decode("".join(data["image/png"]))
        else:
            text = ESCAPE.sub("", "".join(output.get("text") or data.get("text/plain", "")))
            if text.strip():
                yield text
