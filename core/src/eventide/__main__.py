"""`python -m eventide` is the `eventide` command."""

from eventide.cli import main

main()
