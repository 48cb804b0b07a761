"""The `evenfall` command."""

from __future__ import annotations


def main() -> None:
    """Run the `evenfall` command and exit."""
    import logging

    from evenfall.cli.app import app

    # Broken plugins are listed by the commands, not logged.
    logging.getLogger("evenfall").addHandler(logging.NullHandler())
    app()
