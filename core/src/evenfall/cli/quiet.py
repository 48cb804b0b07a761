"""Hosts that keep quiet: the output of a command is its own."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings


def quiet_hosts() -> None:
    """Turn off the progress bars and warnings with which hosts load checkpoints, or are imported
    themselves. Imports none of them: what is not imported yet finds its settings later."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # torch warns of two enumerations of torchao's, which transformers imports.
    for name in ("huggingface_hub", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # torch warns of what torch_geometric does when it is imported.
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    if sys.modules.get("transformers") is not None:  # None: its import is blocked
        transformers_logging = importlib.import_module("transformers.utils.logging")
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
