"""The `evenfall` command."""

from __future__ import annotations


def main() -> None:
    """Run the `evenfall` command and exit; plugins say in the table, not in the log, what is
    broken."""
    import logging

    from evenfall.cli.app import app

    logging.getLogger("evenfall").addHandler(logging.NullHandler())
    app()
