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
`before`. Without a `pass` line the whole pipeline runs. Line numbers in errors are those of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minijit.ir.check import require_valid
from minijit.ir.text import parse_region, print_region
from minijit.opt.pipeline import PASSES, optimise

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.ir.region import Region

BEFORE, AFTER = "--- before", "--- after"


class TraceFileError(ValueError):
    """A file names a pass that does not exist."""


@dataclass(frozen=True, slots=True)
class TraceFile:
    """The parts of a file. `head` is all above `before`, which starts at its own line of the file."""

    head: str
    pass_name: str | None
    before: str
    after: str | None

    def result(self, pass_name: str | None = None) -> str:
        """What the pass makes of `before`: the pass given, else the file's own, else all."""
        region = parse_region(self.before)
        require_valid(region, "parsing")
        return print_region(find_pass(pass_name or self.pass_name)(region))

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


def find_pass(name: str | None) -> Callable[[Region], Region]:
    """The pass of this name; all of them for None."""
    passes = dict(PASSES)
    if name is None:
        return optimise
    if name not in passes:
        raise TraceFileError(f"there is no pass {name}: there are {', '.join(passes)}")
    return passes[name]


def run_trace_file(path: str | Path, pass_name: str | None = None) -> str:
    """The text that a pass (the file's own, or all, if None is given) makes of the region in a file."""
    return read_trace(Path(path).read_text(encoding="utf-8")).result(pass_name)
