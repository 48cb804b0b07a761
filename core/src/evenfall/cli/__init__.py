"""The `evenfall` command."""

from __future__ import annotations


def main() -> None:
    """Run the `evenfall` command and exit."""
    import logging

    from evenfall.cli.app import app
    from evenfall.cli.streams import send_output_to_errors

    # Broken plugins are listed by the commands, not logged.
    logging.getLogger("evenfall").addHandler(logging.NullHandler())
    try:
        app()
    finally:
        send_output_to_errors()  # what plugins print when Python ends would corrupt JSON
