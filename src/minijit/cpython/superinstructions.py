"""Superinstructions: what the interpreter loses whenever it instruments a code object, and how it gets them back.

3.12 has instructions for some pairs of others. It makes them once, when the code object is made (`_PyCode_Quicken`),
and takes them out when it instruments the code, for whatever event; without them loops run some 4 % slower, and some
code more than 10 %. Taking them out again is the first thing it does at the next instrumentation, so that no tool ever
meets one.
"""

from __future__ import annotations

import ctypes
import dis
import opcode
from typing import TYPE_CHECKING, Any

from minijit.cpython import abi

if TYPE_CHECKING:
    from types import CodeType

_ALL: dict[str, int] = dis._all_opmap  # type: ignore[attr-defined]
PAIRS = {
    bytes((dis.opmap[first], dis.opmap[second])): number
    for name, number in _ALL.items()
    for first, separator, second in [name.partition("__")]
    if separator
}
"""The pairs of instructions for which there is one that does both."""


_NUMBERS = 256
FIRSTS, SECONDS, BOTH = (k * _NUMBERS for k in (1, 2, 3))
"""Where parts of the tables begin."""
_FIRST, _SECOND = (sorted({pair[k] for pair in PAIRS}) for k in (0, 1))
ROW = len(_SECOND) + 1
"""How long a row of the last part is."""


def tables() -> bytes:
    """What machine code looks up to do what `restore` does. For each number that may stand among instructions: how many
    units of two bytes the instruction takes with its caches, 0 for what stands in the place of another one, whose
    caches nobody knows; its row, if it begins a pair, and its column, if it ends one, else 0. Then a row of
    superinstructions for each that begins one, the first being empty; likewise its columns."""
    places = [bytes(each.index(n) + 1 if n in each else 0 for n in range(_NUMBERS)) for each in (_FIRST, _SECOND)]
    rows = [bytes(PAIRS.get(bytes((first, second)), 0) for second in _SECOND) for first in _FIRST]
    return b"".join((_lengths(), *places, bytes(ROW), *(b"\0" + row for row in rows)))


def _lengths() -> bytes:
    names: Any = opcode._specializations  # type: ignore[attr-defined]
    caches: Any = opcode._inline_cache_entries  # type: ignore[attr-defined]
    base = {special: name for name, specials in names.items() for special in specials}
    found = bytearray(_NUMBERS)
    for name, number in _ALL.items():
        plain = base.get(name, name.partition("__")[0].removeprefix("INSTRUMENTED_"))
        if number < _NUMBERS and plain in dis.opmap:
            found[number] = 1 + caches[dis.opmap[plain]]
    return bytes(found)


_Bytes = ctypes.c_uint8 * 2**31
"""Of any length: a type of its own for each would be garbage in cycles."""


def restore(code: CodeType) -> None:
    """Puts the superinstructions of a code object back."""
    # Without instrumentation, specialisation and what stands in caches; a place that differs is none of ours.
    plain = code.co_code
    present = _Bytes.from_address(id(code) + abi.CODE.co_code_adaptive)
    # Forward, since pairs overlap: of three loads in a row the first two make one, and so do the last two.
    for position in range(0, len(plain) - 2, 2):
        both = PAIRS.get(plain[position : position + 4 : 2])
        if both is None:
            continue
        # Another thread may instrument the code meanwhile. Between the look and the store there is no call, no jump
        # back: nothing at which the interpreter might turn to it.
        if present[position] == plain[position] and present[position + 2] == plain[position + 2]:
            present[position] = both
