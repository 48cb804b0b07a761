"""The command line against a Hub of this machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from evenfall.cli.app import app

from .server import Hub


class Shell:
    """Runs `evenfall checkpoints` with a Hub of this machine in place of huggingface.co.

    Args:
        hub: the Hub.
        home: an empty folder for the cache.
        monkeypatch: pytest's; it gives huggingface_hub back its settings after the test.
    """

    def __init__(self, hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hub, self.home, self.monkeypatch = hub, home, monkeypatch
        for name, value in {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between attempts
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def __call__(self, *arguments: object, token: str = "hf_ann", code: int = 0) -> str:
        """The output of a command, in one line; its exit code must be `code`."""
        self.monkeypatch.setenv("HF_TOKEN", token)
        done = CliRunner().invoke(app, ["checkpoints", *map(str, arguments)])
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return " ".join(done.output.split())

    def environment(self, token: str = "hf_ann") -> dict[str, str]:
        """The environment of a process that uses the same Hub and cache."""
        return {
            **os.environ,
            "HF_ENDPOINT": self.hub.url,
            "HF_TOKEN": token,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
        }
