"""Set the version of all distributions: `make version VERSION=0.2.0`.

Every file that states the version is read and changed before the first is written.
"""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)((a|b|rc)\d+)?")


def project_files(root: Path) -> list[Path]:
    """The pyproject.toml of each distribution."""
    return [
        root / "pyproject.toml",
        *(root / name / "pyproject.toml" for name in ("core", "kernels")),
        *sorted(root.glob("plugins/*/pyproject.toml")),
    ]


def source_files(root: Path) -> list[Path]:
    """The modules that have a __version__."""
    files = [*root.glob("*/src/*/*.py"), *root.glob("plugins/*/src/*/*.py")]
    return [file for file in sorted(files) if "\n__version__ = " in file.read_text("utf-8")]


def current_version(root: Path) -> str:
    """The version of the umbrella distribution."""
    match = re.search(r'^version = "(.+)"$', project_files(root)[0].read_text("utf-8"), re.M)
    if match is None:
        raise ValueError("pyproject.toml has no version")
    return match[1]


def changed_texts(root: Path, version: str, day: str) -> dict[Path, str]:
    """File -> its text with the new version.

    Raises:
        ValueError: the version is none, is the current one, or a file does not state the current
            version as often as it should.
    """
    old = current_version(root)
    if VERSION.fullmatch(version) is None or version == old:
        raise ValueError(
            f"VERSION must be a new version such as 0.2.0, got {version!r} after {old}"
        )
    series, next_series = _series(version)
    old_series, old_next = _series(old)
    pins = {
        f"=={old_series}.*": f"=={series}.*",
        f">={old_series},<{old_next}": f">={series},<{next_series}",
    }
    texts = {}
    for file in project_files(root):
        text = file.read_text("utf-8")
        if 'dynamic = ["version"]' not in text:
            text = _replace(file, text, f'\nversion = "{old}"\n', f'\nversion = "{version}"\n')
        for pin, new in pins.items():
            text = re.sub(rf'("evenfall-[^">=]+){re.escape(pin)}"', rf'\g<1>{new}"', text)
        texts[file] = text
    for file in source_files(root):
        before, after = f'__version__ = "{old}"', f'__version__ = "{version}"'
        texts[file] = _replace(file, file.read_text("utf-8"), before, after)
    for name, before, after in (
        ("CITATION.cff", f"\nversion: {old}\n", f"\nversion: {version}\n"),
        ("README.md", f"Version {old}.", f"Version {version}."),
        ("CHANGELOG.md", "## [Unreleased]\n", f"## [Unreleased]\n\n## [{version}] - {day}\n"),
    ):
        texts[root / name] = _replace(root / name, (root / name).read_text("utf-8"), before, after)
    return texts


def _series(version: str) -> tuple[str, str]:
    """The versions that fit together, such as ("0.2", "0.3")."""
    major, minor = version.split(".")[:2]
    return f"{major}.{minor}", f"{major}.{int(minor) + 1}"


def _replace(file: Path, text: str, before: str, after: str) -> str:
    if text.count(before) != 1:
        raise ValueError(
            f"{file} must have {before.strip()!r} once, has it {text.count(before)} times"
        )
    return text.replace(before, after)


def main() -> None:
    """Read the version from the command line."""
    try:
        (version,) = sys.argv[1:] or [""]
        texts = changed_texts(ROOT, version, datetime.datetime.now(datetime.UTC).date().isoformat())
    except ValueError as error:
        sys.exit(f"Error: {error}")
    for file, text in texts.items():
        file.write_text(text, "utf-8")
    print(f"version {version} in {len(texts)} files")


if __name__ == "__main__":
    main()
