"""What a process has: the figures that a leak would show in.

In: nothing but the process itself. Out: `Figures` of a moment, and by how much those of a later moment may not exceed
them (`grown`). What one collection finalises the next one frees, so the figures are read after several.

Leaves out what moves by itself: the number of blocks the C heap holds, and everything about time.
"""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from minijit.driver import api

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Figures:
    """Bytes of resident memory and of machine code in use; how many memory maps, open files, threads, blocks of
    Python's allocator, objects that the collector knows, and references to the objects asked about."""

    memory: int
    code_bytes: int
    maps: int
    files: int
    threads: int
    blocks: int
    objects: int
    references: int

    def __str__(self) -> str:
        return " ".join(f"{item.name}={getattr(self, item.name)}" for item in fields(self))


TOLERANCE = Figures(memory=1_000_000, code_bytes=0, maps=16, files=0, threads=0, blocks=400, objects=30, references=0)
"""What the allocators' own changes come to, however many times something was done: they round up, they keep lists of
free objects, and `sys.getallocatedblocks` counts these."""


def memory() -> int:
    """The resident set in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def maps() -> int:
    """How many memory maps the process has."""
    with open("/proc/self/maps") as file:
        return len(file.readlines())


def code_bytes() -> int:
    """The machine code in use, the stubs included, which stay; 0 while minijit is off."""
    driver = api._process.driver
    if driver is None or driver.registry.in_service is None:
        return 0
    return driver.registry.natives.machinery.engine.bytes_in_use


def figures(probes: Sequence[object] = ()) -> Figures:
    """The figures of this moment, `references` being those to the probes."""
    for _ in range(3):
        gc.collect()
    return Figures(
        memory=memory(),
        code_bytes=code_bytes(),
        maps=maps(),
        files=len(os.listdir("/proc/self/fd")),
        threads=len(os.listdir("/proc/self/task")),
        blocks=sys.getallocatedblocks(),
        objects=len(gc.get_objects()),
        references=sum(map(sys.getrefcount, probes)),
    )


def grown(before: Figures, after: Figures, tolerance: Figures = TOLERANCE, **other: int) -> list[str]:
    """Which figures have grown by more than is tolerated, in words; `other` tolerances by name."""
    tolerance = replace(tolerance, **other)
    found = []
    for item in fields(Figures):
        was, now = getattr(before, item.name), getattr(after, item.name)
        if now - was > getattr(tolerance, item.name):
            found.append(f"{item.name} {was} -> {now}")
    return found
