"""`explain(f)`: what happened to a function, line by line, why, and what would help.

Everything is derived from the facts that the driver hands over; nothing is measured here. Lines carry a mark:

    +   compiled code ran through here and never had to leave
    !   compiled code leaves here, with the count and the reason
    .   seen by no recording, or not compiled

The result prints as text and, in a notebook, as HTML.
"""

from __future__ import annotations

import html
import linecache
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.events import Aborted, Event, ExitReason, GaveUp, GiveUpReason, Killed
from minijit.ir.region import EntryPoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set

    from minijit.ir.bytecode import Code
    from minijit.ir.region import EntryKind
    from minijit.ir.trace import Root


@dataclass(frozen=True, slots=True)
class Line:
    """One source line: its mark, and a note for each reason for which compiled code leaves there."""

    number: int
    text: str
    mark: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known about one function."""

    name: str
    summary: tuple[str, ...]
    lines: tuple[Line, ...]
    hints: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self._text())

    def _text(self) -> Iterator[str]:
        yield self.name
        for sentence in self.summary:
            yield f"  {sentence}"
        for line in self.lines:
            note = f"    # {'; '.join(line.notes)}" if line.notes else ""
            yield f"{line.number:>5} {line.mark} {line.text}{note}"
        for hint in self.hints:
            yield f"  hint: {hint}"

    def _repr_html_(self) -> str:
        colours = {"+": "#e8f5e9", "!": "#fff3e0", ".": "transparent"}
        rows = "".join(
            f'<tr style="background:{colours[line.mark]}"><td style="text-align:right;opacity:.6">{line.number}</td>'
            f'<td style="text-align:left"><pre style="margin:0">{html.escape(line.text)}</pre></td>'
            f'<td style="text-align:left">{html.escape("; ".join(line.notes))}</td></tr>'
            for line in self.lines
        )
        told = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in (*self.summary, *self.hints))
        return f"<b>{html.escape(self.name)}</b><ul>{told}</ul><table>{rows}</table>"


@dataclass(frozen=True, slots=True)
class ExitFacts:
    """An exit of a region in service, and how often it was taken."""

    reason: ExitReason
    offset: int
    detail: str
    count: int


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """A region in service. `kinds` are those of its entry slots, `size` is in bytes."""

    kinds: tuple[EntryKind, ...]
    size: int
    entries: int
    exits: tuple[ExitFacts, ...]


@dataclass(frozen=True, slots=True)
class RootFacts:
    """What the driver knows of one root; `history` are the events it kept."""

    root: Root
    versions: tuple[VersionFacts, ...]
    history: tuple[Event, ...]
    given_up: GiveUpReason | None
    suppressed: bool


def explain(name: str, code: Code, seen: Set[int], roots: Sequence[RootFacts]) -> Explanation:
    """Puts into words what is known of a function: its code, the offsets that recordings saw, its roots."""
    versions = [version for root in roots for version in root.versions]
    lines = tuple(_lines(code, seen, versions))
    return Explanation(name, tuple(_summary(code, roots)), lines, tuple(dict.fromkeys(_hints(roots, versions))))


def _summary(code: Code, roots: Sequence[RootFacts]) -> Iterator[str]:
    if all(root.suppressed for root in roots):
        yield "suppressed by the user: never compiled"
    for root in roots:
        is_call = root.root.point is EntryPoint.CALL
        where = "calls" if is_call else f"the loop at line {code.line(root.root.offset)}"
        yield from (f"{where}: {sentence}" for sentence in _root_summary(root))


def _root_summary(root: RootFacts) -> Iterator[str]:
    for version in root.versions:
        kinds = ", ".join(kind.label for kind in version.kinds)
        yield f"compiled for ({kinds}), {version.size} bytes, entered {version.entries} times"
    if root.given_up is not None:
        yield f"given up: {root.given_up.sentence}"
    yield from _troubles(root.history)
    if not root.versions and not root.history and not root.suppressed:
        yield "not hot yet"


def _troubles(history: Sequence[Event]) -> Iterator[str]:
    """The aborts and kills that are remembered."""
    aborts = [event for event in history if isinstance(event, Aborted)]
    if aborts:
        detail = f" ({aborts[-1].detail})" if aborts[-1].detail else ""
        yield f"{len(aborts)} attempts came to nothing, the last because {aborts[-1].reason.sentence}{detail}"
    kills = Counter((event.reason, event.detail) for event in history if isinstance(event, Killed))
    for (reason, detail), count in kills.items():
        yield f"killed {count} times: {reason.sentence}{f' ({detail})' if detail else ''}"


def _hints(roots: Sequence[RootFacts], versions: Sequence[VersionFacts]) -> Iterator[str]:
    for version in versions:
        for way in version.exits:
            if way.count and way.reason.hint:
                yield f"{way.reason.sentence}: {way.reason.hint}"
    for root in roots:
        for event in root.history:
            if isinstance(event, Aborted | GaveUp | Killed) and event.reason.hint:
                yield f"{event.reason.sentence}: {event.reason.hint}"


def _lines(code: Code, seen: Set[int], versions: Sequence[VersionFacts]) -> Iterator[Line]:
    numbers = [line for offset in code.instructions if (line := code.line(offset)) is not None]
    notes = _notes(code, versions)
    compiled = {code.line(offset) for offset in seen} if versions else set()
    for number in range(min(numbers), max(numbers) + 1):
        here = notes.get(number, Counter())
        mark = "!" if here else "+" if number in compiled else "."
        text = linecache.getline(code.code.co_filename, number).rstrip()
        yield Line(number, text, mark, tuple(f"{count} times: {reason}" for reason, count in here.items()))


def _notes(code: Code, versions: Sequence[VersionFacts]) -> dict[int | None, Counter[str]]:
    """For each line, how often compiled code left there for which reason."""
    notes: dict[int | None, Counter[str]] = {}
    for version in versions:
        for way in version.exits:
            if way.count and way.reason is not ExitReason.LEFT_LOOP:
                reason = f"{way.reason.sentence}{f' ({way.detail})' if way.detail else ''}"
                notes.setdefault(code.line(way.offset), Counter())[reason] += way.count
    return notes
