"""The `eventide` command."""

from __future__ import annotations


def main() -> None:
    """Run the `eventide` command and exit; plugins say in the table, not in the log, what is
    broken."""
    import logging

    from eventide.cli.app import app

    logging.getLogger("eventide").addHandler(logging.NullHandler())
    app()
