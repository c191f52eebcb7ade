"""The regions of the passes' `.trace` files as cases: written to show one thing each, with inputs that make it show.

In: the name of a pass. Out: its files, and for each the region before the pass, with all inputs of a small table:
ordinary ones, and those with which sums leave 64 bits.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from minijit.ir.kinds import SMALL, EntryKind
from minijit.ir.parse import builtin_or_opaque
from minijit.ir.text import parse_region
from minijit.opt.tracefile import read_trace
from strategies.regions import NAMESPACE, Case

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TRACES = Path(__file__).parents[1] / "opt" / "traces"
INPUTS: dict[EntryKind, tuple[object, ...]] = {
    EntryKind.SMALL_INT: (0, SMALL - 1),
    EntryKind.NATURAL: (7, SMALL - 1),
    EntryKind.SHORT: (3, 2**31 - 1),
    EntryKind.RANGE_UP: (0, 2**31),
    EntryKind.INT: (5, 2**63 - 1),
    EntryKind.RANGE_ITERATOR: (3, 2**63 - 1),
    EntryKind.BOOL: (False, True),
    EntryKind.FLOAT: (0.25, 2.0**62),
}


def trace_files(pass_name: str) -> list[Path]:
    """The files whose names begin with that of a pass."""
    return sorted(TRACES.glob(f"{pass_name}_*.trace"))


def trace_cases(
    pass_name: str, table: Mapping[EntryKind, tuple[object, ...]] = INPUTS, polls: tuple[int, ...] = (0,)
) -> Iterator[Case]:
    """The cases of all files of a pass."""
    for path in trace_files(pass_name):
        yield from file_cases(path, table, polls)


def file_cases(
    path: Path, table: Mapping[EntryKind, tuple[object, ...]] = INPUTS, polls: tuple[int, ...] = (0,)
) -> Iterator[Case]:
    """The region of a file before the pass, with all inputs of the table, left at each of the polls (0 for none)."""
    text = read_trace(path.read_text(encoding="utf-8")).before
    region = parse_region(text, lambda name: NAMESPACE if name == "namespace" else builtin_or_opaque(name))
    kinds = [region.entry_kinds[slot] for slot, _, _ in region.inputs()]
    for inputs in itertools.product(*(table[kind] for kind in kinds)):
        for leave_at in polls:
            yield Case(region, inputs, leave_at)
