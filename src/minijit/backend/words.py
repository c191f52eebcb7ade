"""What the driver and the stubs agree on: why the stubs call, and the native words that both read and write.

A *site* is a place that is counted (a code object's start, a loop header); the stubs find its words in a map under
`site_key`. A *chain* is a function with call entries; they find its words under the function's address. Apart from the
stubs (`stubs`), so that the driver can count before there is any machine code.
"""

from __future__ import annotations

import enum


class Call(enum.IntEnum):
    """Why the handler is called, with the two words that come along."""

    START = 0  # a code object's start is hot: code, site
    LOOP = 1  # a loop header is hot: code, site
    EXIT = 2  # an exit is hot: record, 0
    MISS = 3  # calls with types that no version takes: function, chain
    LOOP_MISS = 4  # a loop is reached with types that no version takes: code, site
    WATCHED = 5  # a call entry found that somebody else watches the code: function, 0
    CHANGED = 6  # an entry found that changes of namespaces are due: 0, 0
    STALE = 7  # a frame is about to be resumed in code whose instrumentation is out of date: code, 0
    DEEP = 8  # the interpreter is about to run a call below a stub, deeper than SHALLOW: function, 0


SITE_WORDS = ("count", "hot_at", "entry", "misses", "miss_hot_at", "silent")
"""`silent`: the place is not to be heard of again, though all code has events."""
CHAIN_WORDS = ("misses", "miss_hot_at")
CHECK_WORDS = ("check_begin", "check_again", "check_verdict")
"""The handlers of a call that is done both ways (see `check_stub`), in a row; NULL where no calls are."""
SHALLOW = 3000
"""Up to this recursion depth a frame below one of our stubs counts no C recursion, as it would not without us: the C
stack has room for it. A function that is called deeper is left to the interpreter, whose calls take no C stack, until
the thread is out of there."""
NEVER = 2**63
"""A threshold that no count reaches."""
MAX_BOUND = 256
"""The most parameters of a function with a call entry."""


def site_key(code: int, offset: int) -> int:
    """The key of a place in the map of sites: code objects lie below 2**48, offsets below 2**16."""
    return (code << 16) | offset
