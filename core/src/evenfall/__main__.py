"""`python -m evenfall` is the `evenfall` command."""

from evenfall.cli import main

main()
