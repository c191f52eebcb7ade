"""The passes in their order.

In: a valid region. Out: a valid region that does the same, and the stages on the way if asked for. `params`
comes first, since it makes operands equal for `imply`; `count` and `wrap` after `imply`, since a guard that is
gone sees nothing any more; `kinds` before `count` and `ranges`, which look at them; `ranges` after `count`, whose
counters have narrow ranges; `polls` after `iterators`, from which loops
know their end; `prune` last, to sweep up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.ir.check import require_valid
from minijit.opt.count import count
from minijit.opt.imply import imply
from minijit.opt.iterators import iterators
from minijit.opt.kinds import kinds
from minijit.opt.params import params
from minijit.opt.polls import polls
from minijit.opt.prune import prune
from minijit.opt.ranges import ranges
from minijit.opt.wrap import wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.ir.region import Region

PASSES: tuple[tuple[str, Callable[[Region], Region]], ...] = (
    ("params", params),
    ("imply", imply),
    ("kinds", kinds),
    ("count", count),
    ("ranges", ranges),
    ("iterators", iterators),
    ("polls", polls),
    ("wrap", wrap),
    ("prune", prune),
)


def optimise(
    region: Region,
    *,
    check: bool = False,
    passes: int | None = None,
    all_polls: bool = False,
    dump: Callable[[str, Region], None] | None = None,
) -> Region:
    """The region after the first `passes` passes, None for all; with `all_polls`, loops poll at each back edge. `check`
    verifies it before and after each; `dump` sees each result."""
    if check:
        require_valid(region, "build")
    for name, run in PASSES[:passes]:
        if not all_polls or run is not polls:
            region = run(region)
        if check:
            require_valid(region, name)
        if dump is not None:
            dump(name, region)
    return region
