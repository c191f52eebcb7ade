"""Reasons and events: everything has a sentence, everything is produced by somebody, nothing a subscriber does matters."""

from __future__ import annotations

import ast
import dataclasses
import enum
import io
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from conftest import ROOT, RunPython
from minijit import events
from minijit.driver.dumps import show
from minijit.driver.turn import Turn
from minijit.events import (
    Aborted,
    AbortReason,
    Compiled,
    Differed,
    Event,
    ExitHot,
    ExitReason,
    GaveUp,
    GiveUpReason,
    Hub,
    Killed,
    KillReason,
    Reason,
    Recorded,
    Stats,
    count,
    say,
)

REASONS: tuple[type[Reason], ...] = (ExitReason, AbortReason, KillReason, GiveUpReason)
ROWS = [reason for kind in REASONS for reason in kind]


def name(reason: Reason) -> str:
    return f"{type(reason).__name__}.{reason.name}"


# Reasons


def test_no_enum_of_reasons_is_missing_here() -> None:
    assert {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Reason)} == {
        Reason,
        *REASONS,
    }


@pytest.mark.parametrize("reason", ROWS, ids=name)
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    """One that can stand in a line of text: not empty, no stop at its end, and a hint of the same form."""
    assert len(reason.sentence.split()) >= 3
    for text in (reason.sentence, reason.hint):
        assert text == text.strip()
        assert not text.endswith((".", "!"))
        assert "\n" not in text
    assert reason.label == reason.name.lower()
    assert reason.label.isidentifier()


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.__name__)
def test_sentences_are_all_different(kind: type[Reason]) -> None:
    sentences = [reason.sentence for reason in kind]
    assert len(set(sentences)) == len(sentences), "equal rows would be one and the same member"
    assert len(kind.__members__) == len(sentences)


def names_used() -> dict[str, set[str]]:
    """For each enum of reasons, the rows that some code of ours names, and not only to ask about them."""
    used: dict[str, set[str]] = {kind.__name__: set() for kind in REASONS}
    for path in (ROOT / "src" / "minijit").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        asked = {id(side) for node in ast.walk(tree) if isinstance(node, ast.Compare) for side in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and id(node) not in asked:
                used.get(node.value.id, set()).add(node.attr)
    return used


@pytest.mark.parametrize("kind", REASONS, ids=lambda kind: kind.__name__)
def test_every_reason_is_produced_somewhere(kind: type[Reason]) -> None:
    produced = names_used()[kind.__name__]
    assert {reason.name for reason in kind} - produced == set(), "rows that nothing produces: remove them"


@pytest.mark.parametrize("reason", ExitReason, ids=name)
def test_what_is_a_failure(reason: ExitReason) -> None:
    assert reason.is_failure == (reason.name not in ("LEFT_LOOP", "RETURNED", "POLL", "WARM", "ROOM"))


# Events

BASE = {"function": "f.<locals>.g", "offset": 12}
LINES: list[tuple[Event, str]] = [
    (
        Recorded(**BASE, steps=7, bridge=True),
        "recorded   f.<locals>.g@12 steps=7 bridge=True",
    ),
    (
        Aborted(**BASE, reason=AbortReason.TOO_LONG, at=30),
        "aborted    f.<locals>.g@12 reason=too_long at=30 detail=",
    ),
    (
        Compiled(**BASE, types="int, float", blocks=3, exits=2, size=100, build_ms=1.26, llvm_ms=20.0),
        "compiled   f.<locals>.g@12 types=int, float blocks=3 exits=2 size=100 build_ms=1.3 llvm_ms=20.0",
    ),
    (
        ExitHot(**BASE, reason=ExitReason.OVERFLOW, at=30, count=60, action="resume"),
        "exithot    f.<locals>.g@12 reason=overflow at=30 count=60 action=resume detail=",
    ),
    (
        Killed(**BASE, reason=KillReason.GLOBAL, detail="k"),
        "killed     f.<locals>.g@12 reason=global detail=k",
    ),
    (
        Differed(**BASE, types="int", call="g(1)", interpreted="2 (int)", compiled="3 (int)"),
        "differed   f.<locals>.g@12 types=int call=g(1) interpreted=2 (int) compiled=3 (int)",
    ),
    (
        GaveUp(**BASE, reason=GiveUpReason.BUDGET),
        "gaveup     f.<locals>.g@12 reason=budget detail=",
    ),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=lambda x: type(x).__name__)
def test_the_line_of_an_event(event: Event, line: str) -> None:
    assert event.line() == line


def test_every_event_has_a_line_and_a_counter() -> None:
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)} - {Event}
    assert {type(event) for event, _ in LINES} == kinds
    assert set(Hub.NAMES) == kinds


def test_an_event_is_one_line_whatever_the_detail() -> None:
    event = GaveUp(**BASE, reason=GiveUpReason.KILLS, detail="first\nsecond")
    assert "\n" not in event.line()


def test_events_do_not_change() -> None:
    for event, _ in LINES:
        with pytest.raises(dataclasses.FrozenInstanceError):
            event.function = "g"  # type: ignore[misc]


# Counting


def test_counters_are_fields_of_the_statistics() -> None:
    fields = {field.name for field in dataclasses.fields(Stats)}
    assert {*Hub.NAMES.values(), "bridges"} <= fields
    assert Stats() == Stats(**dict.fromkeys(fields, 0))


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (Recorded(**BASE, steps=7, bridge=False), {"recordings": 1}),
        (Recorded(**BASE, steps=7, bridge=True), {"recordings": 1, "bridges": 1}),
        (LINES[2][0], {"compilations": 1, "compile_us": 21_260}),
        (LINES[3][0], {"hot_exits": 1}),
        (LINES[4][0], {"kills": 1}),
        (LINES[5][0], {"differences": 1}),
        (LINES[6][0], {"given_up": 1}),
    ],
)
def test_count(event: Event, wanted: dict[str, int]) -> None:
    counter: Counter[str] = Counter()
    count(counter, event)
    assert counter == wanted
    count(counter, event)
    assert counter == {key: 2 * value for key, value in wanted.items()}


def test_the_hub_counts_for_the_process_and_for_the_function() -> None:
    hub = Hub()
    own: Counter[str] = Counter()
    hub.emit(LINES[0][0], own)
    hub.emit(LINES[4][0])
    assert own == {"recordings": 1, "bridges": 1}
    assert hub.counters == {"recordings": 1, "bridges": 1, "kills": 1}


# The log and the subscribers


def test_the_log_is_off_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    Hub().emit(LINES[0][0])
    assert capsys.readouterr() == ("", "")


def test_the_log_has_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    hub = Hub(log=True)
    for event, _ in LINES:
        hub.emit(event)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"minijit: {line}" for _, line in LINES]


def raises(*_arguments: object) -> None:
    raise ZeroDivisionError("never again")


class Broken(io.StringIO):
    """A stream that cannot be written to."""

    def write(self, _text: str) -> int:
        raise OSError("no space left")


def hub_that_complains() -> Hub:
    return Hub(log=True, subscribers=[raises])


SAYING: list[tuple[Callable[[], object], str]] = [
    (lambda: say("a word"), "a word\n"),
    (lambda: Hub(log=True).emit(LINES[0][0]), f"minijit: {LINES[0][1]}\n"),
    (lambda: hub_that_complains().emit(LINES[0][0]), " removed: ZeroDivisionError('never again')\n"),
    (lambda: show("asm", "ret"), "---- asm\nret\n"),
    (lambda: Turn().do(raises), "ZeroDivisionError: never again\n"),
]


@pytest.mark.parametrize(("speak", "said"), SAYING)
@pytest.mark.parametrize("stream", [None, Broken()])
def test_without_a_standard_error_nothing_is_said(
    speak: Callable[[], object],
    said: str,
    stream: io.StringIO | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does it stand on standard output, or do any harm."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        speak()
    assert capsys.readouterr() == ("", "")
    speak()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(said)


def test_subscribers_are_told_in_their_order() -> None:
    heard: list[tuple[str, Event]] = []
    hub = Hub()
    hub.subscribers += [lambda event: heard.append(("first", event)), lambda event: heard.append(("second", event))]
    event = LINES[0][0]
    hub.emit(event)
    assert heard == [("first", event), ("second", event)]


def test_a_subscriber_that_raises_is_removed_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Event] = []
    hub = Hub()
    hub.subscribers += [raises, heard.append]
    hub.emit(LINES[0][0])
    assert hub.subscribers == [heard.append]
    assert heard == [LINES[0][0]], "the others are told all the same"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("minijit: subscriber <function ")
    assert line.endswith(" removed: ZeroDivisionError('never again')")
    hub.emit(LINES[1][0])
    assert capsys.readouterr().err == ""
    assert hub.counters == {"recordings": 1, "bridges": 1, "aborts": 1}


def test_a_subscriber_may_end_its_subscription() -> None:
    hub = Hub()
    heard: list[str] = []

    def once(event: Event) -> None:
        heard.append(event.function)
        hub.subscribers.remove(once)

    hub.subscribers += [once, lambda event: heard.append(event.function)]
    hub.emit(LINES[0][0])
    hub.emit(LINES[0][0])
    assert len(heard) == 3


def test_a_subscriber_that_unsubscribes_and_raises(capsys: pytest.CaptureFixture[str]) -> None:
    """It is gone already when it is to be removed."""
    hub = Hub()

    def last_words(_event: Event) -> None:
        hub.subscribers.remove(last_words)
        raise ValueError("gone")

    hub.subscribers.append(last_words)
    hub.emit(LINES[0][0])
    assert hub.subscribers == []
    assert "ValueError('gone')" in capsys.readouterr().err


def test_a_subscriber_whose_text_fails_is_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the callable nor the exception need have a repr that works."""

    class Unspeakable(Exception):
        def __repr__(self) -> str:
            raise RuntimeError

    class Callback:
        def __call__(self, _event: Event) -> None:
            raise Unspeakable

        def __repr__(self) -> str:
            raise RuntimeError

    hub = Hub()
    hub.subscribers.append(Callback())
    hub.emit(LINES[0][0])
    assert hub.subscribers == []
    assert capsys.readouterr().err.startswith("minijit: subscriber ")


def test_subscribers_that_are_equal_to_others_are_told_apart() -> None:
    """The one that raised is removed, not the first that is equal to it."""

    class Same:
        def __init__(self, raises: bool) -> None:
            self.raises = raises
            self.heard = 0

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Same)

        __hash__ = None  # type: ignore[assignment]

        def __call__(self, _event: Event) -> None:
            self.heard += 1
            if self.raises:
                raise ValueError

    quiet, loud = Same(False), Same(True)
    hub = Hub()
    hub.subscribers += [quiet, loud]
    hub.emit(LINES[0][0])
    hub.emit(LINES[0][0])
    assert (quiet.heard, loud.heard) == (2, 1)


PROGRAM = """
import sys
import minijit

heard = []
minijit.subscribe(heard.append)
end = minijit.subscribe(lambda event: heard.append("ended"))
end()
end()
minijit.subscribe(lambda event: 1 / 0)
if "mute" in sys.argv:
    sys.stderr = None

@minijit.jit
def f(a):
    return a + 1

for a in range(100):
    f(a)
print(*(type(event).__name__ for event in heard))
"""


def test_what_a_program_hears(run_python: RunPython) -> None:
    done = run_python(PROGRAM, env={"MINIJIT_LOG": "trace"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["Recorded", "Compiled"]
    logged = [line.split()[1] for line in done.stderr.splitlines()]
    assert logged == ["recorded", "subscriber", "compiled", "killed"], "the last when minijit is disabled at exit"


def test_a_program_without_a_standard_error(run_python: RunPython) -> None:
    done = run_python(PROGRAM, "mute", env={"MINIJIT_LOG": "trace", "MINIJIT_DUMP": "all"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "Recorded Compiled\n", "")


def test_members_are_told_apart_by_identity() -> None:
    assert len({hash(reason) for reason in ROWS}) == len(ROWS)
    assert all(isinstance(reason, enum.Enum) for reason in ROWS)
