"""Dumps: what a stage made, printed to standard error where the configuration asks for it (`MINIJIT_DUMP`)."""

from __future__ import annotations

import sys


def show(stage: str, text: str) -> None:
    """Prints a dump."""
    print(f"---- {stage}\n{text}", file=sys.stderr)
