"""Dumps: what a stage made, printed to standard error where the configuration asks for it (`MINIJIT_DUMP`)."""

from __future__ import annotations

from minijit.events import say


def show(stage: str, text: str) -> None:
    """Prints a dump."""
    say(f"---- {stage}\n{text}")
