"""`explain(f)`: what happened to a function, line by line, why, and what would help.

Everything is derived from the driver's state and the events it kept; nothing is measured here. Lines carry a mark:

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

from minijit.driver import api
from minijit.events import Aborted, ExitReason, GaveUp, Killed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FunctionType

    from minijit.driver.state import CodeState, FunctionState, Installed, RootState


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


def explain(function: FunctionType) -> Explanation:
    """Says what happened to a function. Raises `TypeError` for anything else."""
    state = api.state_of(function, "explain")
    if state is None:
        return Explanation(function.__qualname__, (api.why_unknown(function),), (), ())
    roots: list[RootState] = [state, *state.code.loops.values()]
    versions = [version for root in roots for version in root.versions]
    lines = tuple(_lines(state.code, versions))
    hints = dict.fromkeys(_hints(roots, versions))
    return Explanation(state.name, tuple(_summary(state, roots)), lines, tuple(hints))


def _summary(state: FunctionState, roots: list[RootState]) -> Iterator[str]:
    if state.suppressed:
        yield "suppressed by the user: never compiled"
    for root in roots:
        where = "calls" if root is state else f"the loop at line {state.code.code.line(root.root.offset)}"
        yield from (f"{where}: {sentence}" for sentence in _root_summary(root))


def _root_summary(root: RootState) -> Iterator[str]:
    for version in root.versions:
        kinds = ", ".join(kind.value for kind in version.kinds)
        yield f"compiled for ({kinds}), {version.machine.size} bytes, entered {version.entries} times"
    if root.given_up is not None:
        yield f"given up: {root.given_up.sentence}"
    for event in _latest(root):
        yield event
    if not root.versions and root.given_up is None and not root.suppressed and root.last_abort is None:
        yield "not hot yet"


def _latest(root: RootState) -> Iterator[str]:
    """The last abort and the kills that are remembered."""
    aborts = [event for event in root.history if isinstance(event, Aborted)]
    if aborts:
        detail = f" ({aborts[-1].detail})" if aborts[-1].detail else ""
        yield f"{len(aborts)} recordings came to nothing, the last because {aborts[-1].reason.sentence}{detail}"
    kills = Counter((event.reason, event.detail) for event in root.history if isinstance(event, Killed))
    for (reason, detail), count in kills.items():
        yield f"killed {count} times: {reason.sentence}{f' ({detail})' if detail else ''}"


def _hints(roots: list[RootState], versions: list[Installed]) -> Iterator[str]:
    for version in versions:
        for index, way in enumerate(version.exits):
            if version.records.count(index) and way.reason.hint:
                yield f"{way.reason.sentence}: {way.reason.hint}"
    for root in roots:
        for event in root.history:
            if isinstance(event, Aborted | GaveUp | Killed) and event.reason.hint:
                yield f"{event.reason.sentence}: {event.reason.hint}"


def _lines(code: CodeState, versions: list[Installed]) -> Iterator[Line]:
    decoded = code.code
    numbers = sorted({line for offset in decoded.instructions if (line := decoded.line(offset)) is not None})
    seen = {decoded.line(offset) for offset in code.profile.seen}
    notes: dict[int | None, Counter[str]] = {}
    for version in versions:
        for index, way in enumerate(version.exits):
            count = version.records.count(index)
            if count and way.reason is not ExitReason.LEFT_LOOP:
                reason = f"{way.reason.sentence}{f' ({way.detail})' if way.detail else ''}"
                notes.setdefault(decoded.line(way.offset), Counter())[reason] += count
    compiled = seen if versions else set()
    for number in range(numbers[0], numbers[-1] + 1):
        here = notes.get(number, Counter())
        mark = "!" if here else "+" if number in compiled else "."
        text = linecache.getline(decoded.code.co_filename, number).rstrip()
        yield Line(number, text, mark, tuple(f"{count} times: {reason}" for reason, count in here.items()))
