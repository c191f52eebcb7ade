"""`.trace` files: a region before and after a pass, as text. The passes' tests, and what `minijit opt` reads.

    # A comment that says what the case shows.
    pass: params
    --- before
    region f call(int)
    ...
    --- after
    region f call(int)
    ...

In: such a file, or one that is a region and nothing else. Out: its parts, or the text that a pass makes of
`before`. Without a `pass` line the whole pipeline runs. Line numbers in errors are those of the file. What is wrong
with a file is a `TextError` or a `TraceFileError`; an `InvalidRegion` is never the file's fault, but a pass's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minijit.ir.check import check_region, require_valid
from minijit.ir.text import parse_region, print_region
from minijit.opt.pipeline import PASSES, optimise

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.ir.region import Region

BEFORE, AFTER = "--- before", "--- after"
ALL = "all"
"""Stands for the whole pipeline where the name of a pass is asked for."""


class TraceFileError(ValueError):
    """A file names a pass that does not exist, or has a region that breaks a rule."""


@dataclass(frozen=True, slots=True)
class TraceFile:
    """The parts of a file. `head` is all above `before`, which starts at its own line of the file."""

    head: str
    pass_name: str | None
    before: str
    after: str | None

    def result(self, pass_name: str | None = None) -> str:
        """What the pass makes of `before`: the pass given, else the file's own, else all."""
        name = pass_name or self.pass_name or ALL
        run = find_pass(name)
        region = parse_region(self.before)
        problems = check_region(region)
        if problems:
            raise TraceFileError(f"the region is invalid: {'; '.join(map(str, problems))}")
        made = run(region)
        require_valid(made, name)
        return print_region(made)

    def with_after(self, after: str) -> str:
        """The text of the file with another result."""
        return f"{self.head}{BEFORE}\n{self.before.lstrip('\n')}{AFTER}\n{after}"


def read_trace(text: str) -> TraceFile:
    """The parts of a file's text."""
    lines = text.splitlines(keepends=True)
    marks = {line.strip(): number for number, line in enumerate(lines) if line.startswith("---")}
    if BEFORE not in marks:
        return TraceFile("", None, text, None)
    start = marks[BEFORE] + 1
    end = marks.get(AFTER, len(lines))
    head = lines[: start - 1]
    names = [line.removeprefix("pass:").strip() for line in head if line.startswith("pass:")]
    after = "\n" * (end + 1) + "".join(lines[end + 1 :]) if AFTER in marks else None
    # Empty lines stand for the lines above, so that the parser counts as an editor does.
    before = "\n" * start + "".join(lines[start:end])
    return TraceFile("".join(head), names[0] if names else None, before, after)


def find_pass(name: str) -> Callable[[Region], Region]:
    """The pass of this name; the whole pipeline for `ALL`."""
    passes = {**dict(PASSES), ALL: optimise}
    if name not in passes:
        raise TraceFileError(f"there is no pass {name}: there are {', '.join(passes)}")
    return passes[name]


def run_trace_file(path: str | Path, pass_name: str | None = None) -> str:
    """The text that a pass (if None is given the file's own, else all) makes of the region in a file."""
    return read_trace(Path(path).read_text(encoding="utf-8")).result(pass_name)
