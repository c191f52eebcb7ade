"""How large the C stacks of threads are.

To load and run the compiler takes more than the smallest stacks that `threading.stack_size` allows.
"""

from __future__ import annotations

import _thread
import os

from minijit.cpython import bare

LITTLE = 1 << 20
"""Threads with less, in bytes, are not asked to compile anything."""
_ATTRIBUTES = 64
"""As many bytes as a pthread_attr_t has, or more."""

_describe = bare.function("pthread_getattr_np", bare.Int, bare.Word, bare.Word)
_size_in = bare.function("pthread_attr_getstacksize", bare.Int, bare.Word, bare.Word)
_destroy = bare.function("pthread_attr_destroy", bare.Int, bare.Word)


def is_little() -> bool:
    """Whether the thread that asks has little; no, where that is not known."""
    if _thread.get_native_id() == os.getpid():
        return False  # the process's first thread: to find out takes long
    attributes, found = bytes(_ATTRIBUTES), bytes(8)
    if _describe(_thread.get_ident(), bare.content(attributes)):
        return False
    _size_in(bare.content(attributes), bare.content(found))
    _destroy(bare.content(attributes))
    return 0 < int.from_bytes(found, "little") < LITTLE
