"""Shared by the commands: quiet loading."""

from __future__ import annotations

import logging


def quiet_loading() -> None:
    """Turn off transformers' progress bars and warnings, if it is installed."""
    try:
        from transformers.utils import logging as transformers_logging
    except ImportError:
        return
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
