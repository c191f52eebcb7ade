"""How much of LLVM's effort a region is worth: two tiers.

Most of a compilation's time is LLVM's, and grows with the region. Large regions are compiled *quickly* at first: fewer
passes, and the instruction selection that C compilers use without optimisation, but all of the register allocation.
That takes half the time, and the code is slower by a tenth, where it looks at objects, to a half, where loops are
tight. So a quick region counts the rounds of its loops, and leaves when there were so many that it is worth the rest of
the effort (`ExitReason.WARM`): tiers and counters as in HotSpot and V8. One without loops stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from minijit.events import ExitReason
from minijit.ir.region import Const, Exit, Op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minijit.ir.region import Block, Region

ROUNDS = 2**19
"""After how many rounds a region is compiled anew: a tenth of a second or more, which is what that takes."""
_OP_LINES, _SLOT_LINES = 8, 1.4
"""What an op and a slot of an exit come to, in the regions of pyperformance's programs."""


def lines(region: Region) -> int:
    """How many lines of LLVM text a region will be, more or less."""
    ops = sum(len(block.ops) for block in region.blocks)
    slots = sum(len(exit.frame.slots()) for exit in region.exits)
    return int(_OP_LINES * ops + _SLOT_LINES * slots)


def counting(region: Region, rounds: int) -> Region:
    """The region, which counts down the word at `rounds` at the back edges of loops, and leaves there when that is 0 or
    less; the count begins anew then."""
    exits = list(region.exits)
    blocks = tuple(replace(block, ops=tuple(_counted(block, exits, rounds))) for block in region.blocks)
    return replace(region, blocks=blocks, exits=tuple(exits))


def _counted(block: Block, exits: list[Exit], rounds: int) -> Iterator[Op]:
    for op in block.ops:
        if op.name in ("poll", "poll_strip", "round") and op.exit is not None:
            exits.append(Exit(ExitReason.WARM, exits[op.exit].frame))
            (some,) = op.args or (Const(1),)
            yield Op("count_round", (Const(rounds), some, Const(ROUNDS)), None, len(exits) - 1)
        yield op
