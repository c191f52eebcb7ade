"""What a process can have ready for its forked children, so that none of them has to make it anew.

In: nothing. Out: all modules of minijit that a program makes it load are imported, LLVM is, and the stubs are compiled.
Nothing is enabled: to the interpreter it is as if nothing had happened.
"""

from __future__ import annotations

from minijit.config import from_environment
from minijit.cpython import support

# Most of them are imported by the driver when the first function gets hot.
from minijit.driver import api, core, natives, service, turn  # noqa: F401 - to have them imported


def warm() -> None:
    """Makes what is native, as the environment wants it."""
    found, config = support.find(), from_environment()
    if not isinstance(found, support.Unsupported):
        natives.machinery(config.optimise, found, config.guard)
