"""Bits of `co_flags`. Apart, since what looks at a program before minijit is loaded imports this and nothing else."""

from __future__ import annotations

OPTIMIZED = 0x1
"""A function's: its locals are slots of the frame. Others have theirs in a namespace."""
VARARGS, VARKEYWORDS = 0x4, 0x8
SUSPENDING = 0x20 | 0x80 | 0x200
"""Generators, coroutines, asynchronous generators."""
