"""`explain(f)`: what happened to a function, line by line, why, and what would help.

Everything is derived from the facts that the driver hands over; nothing is measured here. Lines carry a mark:

    +   compiled, and never left here before it was done
    !   compiled code leaves here, with the count and the reason
    x   this kept something from being compiled
    .   not compiled
        (none) nothing to compile: a comment, `else:`, the decorator

The result prints as text and, in a notebook, as HTML.
"""

from __future__ import annotations

import html
import linecache
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.events import Aborted, ExitHot, ExitReason, GiveUpReason, Killed
from minijit.report.sentences import obstacle, place, root_sentences, times, way_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from minijit.events import Event, Reason
    from minijit.ir.bytecode import Code
    from minijit.report.facts import ExitFacts, RootFacts, VersionFacts

    Notes = dict[int | None, list[str]]

_COLOURS = {
    "+": "rgba(76, 175, 80, .2)",
    "!": "rgba(255, 152, 0, .25)",
    "x": "rgba(244, 67, 54, .2)",
    ".": "transparent",
    " ": "transparent",
}


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
            yield f"{line.number:>5} {line.mark} {line.text}{note}".rstrip()
        for hint in self.hints:
            yield f"  hint: {hint}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr style="background:{_COLOURS[line.mark]}"><td style="text-align:right;opacity:.6">{line.number}</td>'
            f"<td>{html.escape(line.mark)}</td>"
            f'<td style="text-align:left"><pre style="margin:0">{html.escape(line.text)}</pre></td>'
            f'<td style="text-align:left">{html.escape("; ".join(line.notes))}</td></tr>'
            for line in self.lines
        )
        told = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.summary)
        hints = "".join(f"<li>hint: {html.escape(hint)}</li>" for hint in self.hints)
        return f"<b>{html.escape(self.name)}</b><ul>{told}</ul><table>{rows}</table><ul>{hints}</ul>"


def explain(name: str, code: Code, roots: Sequence[RootFacts]) -> Explanation:
    """Puts into words what is known of a function: its code, and its roots, the calls first."""
    versions = [version for root in roots for version in root.versions]
    lines = tuple(_lines(code, roots, versions))
    return Explanation(name, tuple(_summary(code, roots, versions)), lines, tuple(dict.fromkeys(_hints(roots))))


def _summary(code: Code, roots: Sequence[RootFacts], versions: Sequence[VersionFacts]) -> Iterator[str]:
    if all(root.suppressed for root in roots):
        yield "suppressed by the user: never compiled"
        return
    for root in roots:
        yield from (f"{place(code, root)}: {sentence}" for sentence in root_sentences(code, root))
    assumed = sorted({name for version in versions for name in version.assumed})
    if assumed:
        yield f"relies on {', '.join(assumed)}: code is thrown away when one of these changes"


def _hints(roots: Sequence[RootFacts]) -> Iterator[str]:
    for root in roots:
        if root.suppressed:
            continue
        for reason in _reasons(root):
            if reason.hint:
                yield f"{reason.sentence}: {reason.hint}"


def _reasons(root: RootFacts) -> Iterator[Reason]:
    """Why a root is not compiled, or is left, as far as there is anything to be done about it."""
    yield from (way.reason for version in root.versions for way in version.exits if way.count)
    if root.given_up is not None:
        yield root.given_up
    past = Killed if root.versions else Killed | Aborted
    yield from (event.reason for event in root.history if isinstance(event, past))


def _lines(code: Code, roots: Sequence[RootFacts], versions: Sequence[VersionFacts]) -> Iterator[Line]:
    leaves, obstacles = _leaves(code, versions), _obstacles(code, roots)
    compiled = _line_numbers(code, {offset for version in versions for offset in version.offsets})
    code_lines = _line_numbers(code, code.instructions)
    has_source = bool(linecache.getlines(code.code.co_filename))
    for number in range(code.code.co_firstlineno, max(code_lines, default=0) + 1):
        notes = leaves.get(number) or (obstacles.get(number, []) if number not in compiled else [])
        notes = list(dict.fromkeys(notes))
        marks = {"!": number in leaves, "+": number in compiled, "x": bool(notes), ".": number in code_lines}
        mark = next((mark for mark, is_so in marks.items() if is_so), " ")
        if has_source or notes:
            yield Line(number, linecache.getline(code.code.co_filename, number).rstrip(), mark, tuple(notes))


def _line_numbers(code: Code, offsets: Iterable[int]) -> set[int]:
    """The lines of instructions that do something."""
    lines = (code.line(offset) for offset in offsets if code.instructions[offset].name != "RESUME")
    return {line for line in lines if line is not None}


def _leaves(code: Code, versions: Sequence[VersionFacts]) -> Notes:
    """For each line, how often compiled code left there for which reason."""
    counts: dict[int | None, Counter[str]] = {}
    for version in versions:
        for way in filter(_is_told, version.exits):
            counts.setdefault(code.line(way.offset), Counter())[way_out(way.reason, way.detail)] += way.count
    return {line: [f"{times(count)}: {why}" for why, count in here.items()] for line, here in counts.items()}


def _is_told(way: ExitFacts) -> bool:
    """Whether an exit is worth a note: one that was taken, or will be whenever its line is reached."""
    return way.reason.is_failure and (way.count > 0 or way.reason is ExitReason.UNSUPPORTED)


def _obstacles(code: Code, roots: Sequence[RootFacts]) -> Notes:
    """For each line, what kept a root from being compiled there, or made it be given up: the last that did."""
    notes: Notes = {}
    for root in roots:
        if root.versions or root.suppressed:
            continue
        found = next(filter(None, (_obstacle(event, root) for event in reversed(root.history))), None)
        if found is not None:
            offset, words = found
            notes.setdefault(code.line(offset), []).append(words)
    return notes


def _obstacle(event: Event, root: RootFacts) -> tuple[int, str] | None:
    """The offset and the words for what an event says was in the way."""
    match event:
        case ExitHot(action="giveup") if root.given_up is GiveUpReason.EXITS:
            return event.at, f"given up when left {times(event.count)}: {way_out(event.reason, event.detail)}"
        case Aborted():
            met = obstacle(event)
            return None if met is None else (event.at, met)
        case _:
            return None
