"""The sampler: one event in so many comes through, after which code has its superinstructions; and no file but one that
this user has written is mapped."""

from __future__ import annotations

import dis
import itertools
import os
import stat
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from minijit.backend.engine import Engine
from minijit.backend.sampling import sampler_text
from minijit.cpython import superinstructions
from minijit.cpython.sampler import FUNCTIONS, PAGE, Sampler, mask, save, weight
from minijit.cpython.superinstructions import tables

FOOTER = 48


class Counting:
    """What a scout is to a sampler."""

    def __init__(self) -> None:
        self.starts: list[tuple[object, ...]] = []
        self.jumps: list[tuple[object, ...]] = []

    def on_start(self, *arguments: object) -> object:
        self.starts.append(arguments)
        return "start"

    def on_jump(self, *arguments: object) -> object:
        self.jumps.append(arguments)
        if arguments[0] is None:
            raise KeyError("an error of the scout")
        return "jump"


@pytest.fixture(scope="module")
def image() -> tuple[bytes, bytes, dict[str, int]]:
    found = Engine().portable(sampler_text(), name="sampler")
    assert set(FUNCTIONS) <= set(found.symbols)
    return found.content, tables(), found.symbols


@pytest.fixture
def path(image: tuple[bytes, bytes, dict[str, int]], tmp_path: Path) -> Path:
    place = tmp_path / "minijit" / "sampler"
    save(str(place), *image)
    return place


def made(path: Path, mask: int = 63) -> tuple[Sampler, Counting]:
    scout = Counting()
    return Sampler(str(path), scout, mask), scout


def test_one_in_so_many(path: Path) -> None:
    for wanted in (63, 7, 1):
        sampler, scout = made(path, wanted)
        answers = [sampler.on_start("code", k) for k in range(100_000)]
        seen = [k for _, k in scout.starts]
        assert answers.count("start") == len(seen)
        assert answers.count(None) == len(answers) - len(seen)
        assert all(answers[k] == "start" for k in seen)
        distances = [after - before for before, after in itertools.pairwise(seen)]
        assert set(distances) == set(range(1, wanted + 2))
        assert abs(len(seen) * (wanted + 2) / 2 - len(answers)) < len(answers) / 20


def test_all(path: Path) -> None:
    """With a threshold so low that a sample would miss it."""
    assert mask(50_000) == mask(10_000) == 255
    assert mask(1000) == 63
    assert mask(1) == 0
    assert weight(mask(1)) == 1
    sampler, scout = made(path, mask(1))
    assert [sampler.on_jump("code", k, k + 1) for k in range(100)] == ["jump"] * 100
    assert scout.jumps == [("code", k, k + 1) for k in range(100)]


def test_what_the_scout_raises_is_raised(path: Path) -> None:
    sampler, _ = made(path, 0)
    with pytest.raises(KeyError, match="an error of the scout"):
        sampler.on_jump(None, 1, 2)


def test_the_file_is_for_this_user_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["sampler"]
    assert path.stat().st_size == PAGE + FOOTER


def test_what_another_could_have_written_is_not_mapped(path: Path) -> None:
    for place in (path, path.parent):
        before = stat.S_IMODE(place.stat().st_mode)
        for bit in (0o020, 0o002):
            place.chmod(before | bit)
            with pytest.raises(ValueError, match="another user"):
                made(path)
        place.chmod(before)
    made(path)
    if os.geteuid() == 0:
        os.chown(path, 1, 1)
        with pytest.raises(ValueError, match="another user"):
            made(path)


def test_a_link_is_not_followed(path: Path) -> None:
    other = path.with_name("other")
    path.rename(other)
    path.symlink_to(other)
    with pytest.raises(OSError, match="symbolic link"):
        made(path)


def test_damage_is_found(path: Path) -> None:
    whole = path.read_bytes()
    without = [whole[:-1], whole[:-FOOTER], whole[FOOTER:], b"", b"x" * FOOTER]
    damaged = [*without, whole + whole, whole[:PAGE] + bytes(FOOTER)]
    for at in (0, 40, PAGE - 1, PAGE, PAGE + 8, PAGE + 16, PAGE + FOOTER - 1):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged|another size"):
            made(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        made(path)


def test_a_file_that_is_replaced_stays_mapped(path: Path, image: tuple[bytes, bytes, dict[str, int]]) -> None:
    sampler, scout = made(path, 0)
    content, *rest = image
    save(str(path), content[::-1], *rest)
    assert sampler.on_start(1, 2) == "start"
    assert scout.starts == [(1, 2)]


def test_what_cannot_be_written_leaves_nothing(path: Path, image: tuple[bytes, bytes, dict[str, int]]) -> None:
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        save(str(path), *image)
    assert [file.name for file in path.parent.iterdir()] == ["sampler"]


# Superinstructions


SOURCES = (
    "def f(a, b):\n x = 1; y = a\n a, b = b, a; x = y\n y = 2; a = y\n return (a, 1, b, x, y, a, b)\n",
    "def f(xs):\n s = 0\n for x in xs:\n  y = x\n  if y in xs and s is not xs: s += y * x.real + xs[0]\n return s, xs\n",
    "def f(a):\n" + "".join(f" b{k} = a; c = b{k}\n" for k in range(300)) + " return c\n",
)


def code_of(source: str) -> types.CodeType:
    scope: dict[str, types.FunctionType] = {}
    exec(source, scope)
    return scope["f"].__code__


def adaptive(code: types.CodeType) -> bytes:
    found: bytes = code._co_code_adaptive  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("source", SOURCES)
def test_code_that_comes_through_has_superinstructions_again(path: Path, source: str) -> None:
    """As `superinstructions.restore` puts them back; while another tool hears of each instruction, none."""
    sampler, _ = made(path, 0)
    events, tool = sys.monitoring.events, sys.monitoring.DEBUGGER_ID
    sys.monitoring.use_tool_id(tool, "test")
    try:
        code, twin = code_of(source), code_of(source)
        for wanted in (events.PY_START, events.PY_START | events.JUMP, events.INSTRUCTION, events.LINE, 0):
            for each in (code, twin):
                sys.monitoring.set_local_events(tool, each, wanted)
            assert adaptive(code) == adaptive(twin), "taken out"
            before = adaptive(code)
            sampler.on_start(code, 0)
            superinstructions.restore(twin)
            is_heard = bool(wanted & (events.INSTRUCTION | events.LINE))
            assert adaptive(code) == (before if is_heard else adaptive(twin))
            assert is_heard or adaptive(code) != before
    finally:
        sys.monitoring.free_tool_id(tool)


def test_what_is_no_code_is_left_alone(path: Path) -> None:
    sampler, _ = made(path, 0)
    text = "d|" * 100
    assert sampler.on_start(text, 0) == "start"
    assert text == "d|" * 100


# What does not compute

COMPUTES = {
    "def f(a, b): return a + b": True,
    "def f(a, b): return a.b(b)": False,
    "def f(a, b):\n for x in b: a.b(x)": False,
    "def f(a, b):\n" + " a.b(b)\n" * 500 + " return a * b": True,
    "def f(a, b):\n" + " a.b(b)\n" * 500 + " return a": False,
    "def f(a, b):\n a = b; b = a; return [a, b, lambda: a + b]": False,
}


@pytest.mark.parametrize("source", COMPUTES)
@pytest.mark.parametrize("is_warm", [False, True])
def test_what_does_not_compute_falls_silent(path: Path, source: str, is_warm: bool) -> None:
    sampler, scout = made(path)
    code = code_of(source)
    if is_warm and COMPUTES[source]:
        function = types.FunctionType(code, {})
        for _ in range(100):
            function(Anything(2), 3)
        assert adaptive(code) != code.co_code
    answers = [sampler.on_start(code, 0) for _ in range(10_000)]
    assert (sys.monitoring.DISABLE in answers) == (not COMPUTES[source])
    if not COMPUTES[source]:
        assert answers.index(sys.monitoring.DISABLE) < 64
    assert set(answers) <= {None, "start", sys.monitoring.DISABLE}
    assert scout.starts


class Anything(int):
    def b(self, _: object) -> None:
        pass


def test_loops_that_do_not_compute_fall_silent(path: Path) -> None:
    """And forward jumps; what is around a loop does not matter."""
    sampler, _ = made(path)
    code = code_of("def f(a, b):\n b += 1\n for x in a: b.b(x)\n for x in a: b += x\n return b * b")
    jumps = [(i.offset, i.argval) for i in dis.get_instructions(code) if i.opname == "JUMP_BACKWARD"]
    found = [{sampler.on_jump(code, *jump) for _ in range(10_000)} for jump in (*jumps, (0, 200))]
    disable = sys.monitoring.DISABLE
    assert found == [{None, "jump", disable}, {None, "jump"}, {"jump", disable}]


def test_what_is_frozen_falls_silent(path: Path) -> None:
    sampler, _ = made(path)
    code = code_of("def f(a, b): return a + b")
    for name, is_silent in {"<frozen x>": True, "<frozen": False, "": False, "<frozén x>": False, "/x": False}.items():
        answers = {sampler.on_start(code.replace(co_filename=name), 0) for _ in range(10_000)}
        assert (sys.monitoring.DISABLE in answers) == is_silent, name


# New code

QUIET = {
    "def f(a): return a.real": True,
    "def f(a):\n for x in (a,): a = x.real\n return a": True,
    "def f(a):\n yield a + 1": True,
    "def f(a): return a + 1": False,
    "def f(a):\n for x in (a,): a = x * x\n return a": False,
    "def f(a):\n a -= 1": False,
}


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The names of functions whose starts a tool hears of that wants those of all code."""
    names: list[str] = []
    events, tool = sys.monitoring.events, sys.monitoring.DEBUGGER_ID
    sys.monitoring.use_tool_id(tool, "test")
    sys.monitoring.register_callback(tool, events.PY_START, lambda code, _: names.append(code.co_name))
    sys.monitoring.set_events(tool, events.PY_START)
    yield names
    sys.monitoring.set_events(tool, 0)
    sys.monitoring.register_callback(tool, events.PY_START, None)
    sys.monitoring.free_tool_id(tool)


def called(source: str) -> None:
    """Calls a function with a code object that is new."""
    result = types.FunctionType(code_of(source), {})(7)
    if isinstance(result, types.GeneratorType):
        list(result)


def test_new_code_that_does_not_compute_is_not_instrumented(path: Path, heard: list[str]) -> None:
    sampler, _ = made(path)
    sampler.watch()
    try:
        for source, is_quiet in QUIET.items():
            heard.clear()
            called(source)
            assert ("f" in heard) != is_quiet, source
    finally:
        sampler.unwatch()
    for source in QUIET:
        heard.clear()
        called(source)
        assert "f" in heard, source


@pytest.mark.parametrize("length", range(40))
def test_wherever_it_computes(path: Path, heard: list[str], length: int) -> None:
    """Instructions are looked at several at a time."""
    sampler, _ = made(path)
    sampler.watch()
    try:
        for behind in range(20):
            heard.clear()
            called("def f(a):\n" + " pass; b = a\n" * length + " b = a + a\n" + " b = a\n" * behind)
            assert "f" in heard
            heard.clear()
            called("def f(a):\n" + " b = a\n" * (length + behind + 1))
            assert "f" not in heard
    finally:
        sampler.unwatch()


def test_who_comes_later_hears_of_code_that_is_not_instrumented(path: Path, heard: list[str]) -> None:
    """A tool for this code, a tool for all code, a tracer, and events of ours that are begun anew."""
    sampler, _ = made(path)
    events, other = sys.monitoring.events, sys.monitoring.PROFILER_ID
    sampler.watch()
    try:
        quiet = [types.FunctionType(code_of("def f(a): return a.real"), {}) for _ in range(4)]
    finally:
        sampler.unwatch()
    seen: list[object] = []
    sys.monitoring.use_tool_id(other, "another")
    sys.monitoring.register_callback(other, events.PY_RETURN, lambda code, *_: seen.append(code))
    try:
        heard.clear()
        quiet[0](1)
        assert (seen, "f" in heard) == ([], False)
        sys.monitoring.set_local_events(other, quiet[0].__code__, events.PY_RETURN)
        quiet[0](1)
        assert (seen, heard) == ([quiet[0].__code__], ["f"])
        sys.monitoring.set_events(other, events.PY_RETURN)
        quiet[1](1)
        assert quiet[1].__code__ in seen
    finally:
        sys.monitoring.set_events(other, 0)
        sys.monitoring.free_tool_id(other)
    before, traced = sys.gettrace(), list[object]()
    sys.settrace(lambda frame, _event, _argument: traced.append(frame.f_code))
    quiet[2](1)
    sys.settrace(before)
    assert quiet[2].__code__ in traced
    heard.clear()
    sys.monitoring.restart_events()
    quiet[3](1)
    assert "f" in heard


def test_what_somebody_listens_to_is_not_judged(path: Path) -> None:
    """What stands in the place of an instruction is not known."""
    sampler, _ = made(path)
    events, tool = sys.monitoring.events, sys.monitoring.DEBUGGER_ID
    code = code_of("def f(a): return a.b(a)")
    sys.monitoring.use_tool_id(tool, "test")
    try:
        sys.monitoring.set_local_events(tool, code, events.LINE)
        assert {sampler.on_start(code, 0) for _ in range(10_000)} == {None, "start"}
    finally:
        sys.monitoring.free_tool_id(tool)
