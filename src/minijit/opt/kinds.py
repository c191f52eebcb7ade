"""Lets more ints in: entry kinds become wider as long as the passes make the same of the region.

    region f call(short, short)                    region f call(natural, int)
    b0(v0: int, v1: int):                          b0(v0: int, v1: int):
      v2: int = int_mod v0, 10 | e0                  v2: int = int_mod v0, 10 | e0
      v3: int = int_add v2, v1 | e1                  v3: int = int_add v2, v1 | e1
      return v3                                      return v3

The driver asks for the narrowest kinds that the ints at hand have: not negative, below 2**31. A region that gained
nothing from that would only need another version for the next caller. So this pass asks `ranges` what it would make of
the region, counters included; and each input takes the widest kind for which that is the same. It changes no op. It
comes before all that look at the kinds, so whatever they drop, they drop for the kinds that remain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from minijit.ir.kinds import EntryKind
from minijit.opt.ranges import Walk

if TYPE_CHECKING:
    from minijit.ir.region import Region

WIDEST_FIRST = (EntryKind.INT, EntryKind.SMALL_INT, EntryKind.NATURAL, EntryKind.SHORT)


def kinds(region: Region) -> Region:
    """The region with entry kinds no narrower than they need be."""
    wide = tuple(EntryKind.INT if kind in WIDEST_FIRST else kind for kind in region.entry_kinds)
    if wide == region.entry_kinds:
        return region
    walk = Walk(region)
    while walk.once():
        pass
    wanted = walk.improved()
    if not wanted or walk.for_wider(wide, wanted) is not None:
        return replace(region, entry_kinds=wide)
    for slot, narrow in enumerate(region.entry_kinds):
        for kind in WIDEST_FIRST[: WIDEST_FIRST.index(narrow)] if narrow in WIDEST_FIRST else ():
            now = walk.region.entry_kinds
            wider = walk.for_wider((*now[:slot], kind, *now[slot + 1 :]), wanted)
            if wider is not None:
                walk = wider
                break
    return walk.region
