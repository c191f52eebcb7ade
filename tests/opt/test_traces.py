"""The passes' cases: `traces/*.trace`, each a region before and after one pass.

With `--update-traces` the part after is written anew; read the diff before it is committed. What a pass must not do
is a case with the same text twice and a comment that starts with "Must not" and says why.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from minijit.ir.check import InvalidRegion, check_region
from minijit.ir.text import TextError, parse_region, print_region
from minijit.opt.pipeline import PASSES, optimise
from minijit.opt.tracefile import TraceFileError, read_trace, run_trace_file

FILES = sorted((Path(__file__).parent / "traces").glob("*.trace"))


def normal(text: str) -> str:
    return print_region(parse_region(text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_trace(path: Path, request: pytest.FixtureRequest) -> None:
    trace = read_trace(path.read_text(encoding="utf-8"))
    made = trace.result()
    assert check_region(parse_region(made)) == ()
    if request.config.getoption("--update-traces"):
        path.write_text(trace.with_after(made), encoding="utf-8")
        return
    assert trace.after is not None, "no part after: run with --update-traces"
    assert made == normal(trace.after)
    assert ("Must not" in trace.head) == (made == normal(trace.before))


def test_every_pass_has_cases_and_knows_what_it_must_not_do() -> None:
    for name in dict(PASSES):
        heads = [read_trace(p.read_text(encoding="utf-8")).head for p in FILES if p.stem.startswith(f"{name}_")]
        assert any("Must not" in head for head in heads), name
        assert any("Must not" not in head for head in heads), name


REGION = """region f call(int)
b0(v0: int):
  v1: int = int_mul v0, 3 | e0
  v2: int = int_and v1, 255
  return v2
e0: overflow @2 [v0 |]
"""


def test_polls_may_stay() -> None:
    """As they must where each is to leave (`MINIJIT_STRESS=osr`)."""
    strips = read_trace((Path(__file__).parent / "traces" / "iterators_down.trace").read_text(encoding="utf-8")).before
    counts = [
        sum(op.name == "poll" for block in optimise(parse_region(strips), all_polls=stay).blocks for op in block.ops)
        for stay in (False, True)
    ]
    assert counts == [0, 1]


def test_a_file_may_be_a_region_only(tmp_path: Path) -> None:
    path = tmp_path / "f.trace"
    path.write_text(REGION)
    assert run_trace_file(path, "params") == REGION
    assert "int_mul_wrap" in run_trace_file(path)
    assert "e0:" not in run_trace_file(path)
    assert "e0:" in run_trace_file(path, "wrap")


def test_the_pass_asked_for_comes_before_the_files_own(tmp_path: Path) -> None:
    path = tmp_path / "f.trace"
    path.write_text(f"pass: wrap\n--- before\n{REGION}")
    assert "int_mul_wrap" in run_trace_file(path)
    assert run_trace_file(path, "params") == REGION


def test_errors_name_the_line_of_the_file() -> None:
    with pytest.raises(TextError, match=r"line 5: expected an op, .* found int_mull"):
        read_trace(f"pass: wrap\n--- before\n{REGION.replace('int_mul', 'int_mull')}").result()


def test_errors_in_regions_and_names() -> None:
    with pytest.raises(TraceFileError, match=r"the region is invalid: b0\.0: .*operands"):
        read_trace(REGION.replace("v0, 3", "v0, 3.0")).result()
    with pytest.raises(TraceFileError, match="there is no pass wrapp: there are params, "):
        read_trace(REGION).result("wrapp")


def test_updating_keeps_what_stands_before() -> None:
    text = f"# Why.\npass: wrap\n--- before\n{REGION}--- after\nold\n"
    assert read_trace(text).with_after("new\n") == text.replace("old", "new")


def test_optimise_shows_every_stage() -> None:
    shown: list[str] = []
    optimise(parse_region(REGION), check=True, dump=lambda name, _: shown.append(name))
    assert shown == [name for name, _ in PASSES]


def test_optimise_refuses_an_invalid_region() -> None:
    with pytest.raises(InvalidRegion, match=r"after build: b0\.0: "):
        optimise(parse_region(REGION.replace("v0, 3", "v0, 3.0")), check=True)


def test_texts_cut_anywhere_parse_or_are_text_errors() -> None:
    """No text makes the parser fail in another way than by saying what it expected."""
    texts = [read_trace(path.read_text(encoding="utf-8")).before for path in FILES]
    chance = random.Random(1)
    for text in texts * 10:
        start, length = chance.randrange(len(text)), chance.randrange(1, 9)
        broken = text[:start] + chance.choice(["", "v9", "(", '"', "@", "#", " "]) + text[start + length :]
        with contextlib.suppress(TextError):
            print_region(parse_region(broken))
