"""``python -m engram``: the command."""

from .command import main

main()
