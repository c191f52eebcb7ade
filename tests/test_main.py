"""The command line: what it prints, and that wrong input is one line on standard error and no traceback.

`main` is called in this process; what only a process shows (its exit code, `-m`) is asked of one, once.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import ROOT, RunPython
from minijit.__main__ import main
from minijit.ir.check import check_region
from minijit.ir.text import parse_region
from minijit.opt import tracefile
from minijit.opt.pipeline import PASSES

TRACES = sorted((ROOT / "tests" / "opt" / "traces").glob("*.trace"))
REGION = """region f call(int)
b0(v0: int):
  v1: int = int_mul v0, 3 | e0
  v2: int = int_and v1, 255
  return v2
e0: overflow @2 [v0 |]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "f.trace"
    path.write_text(REGION)
    return path


@pytest.mark.parametrize("name", [None, "all", *dict(PASSES)])
def test_what_opt_prints_is_a_valid_region(name: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    for path in TRACES:
        assert main(["opt", str(path), *(["--pass", name] if name else [])]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert check_region(parse_region(out)) == ()


def test_opt_prints_what_it_was_given_if_nothing_changes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["opt", str(file), "--pass", "params"]) == 0
    assert capsys.readouterr().out == REGION


def test_opt_runs_all_passes_or_the_files_own_or_the_one_asked_for(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*arguments: str) -> str:
        assert main(["opt", str(file), *arguments]) == 0
        return capsys.readouterr().out

    assert "int_mul_wrap" in printed()
    assert "e0:" not in printed()
    assert "e0:" in printed("--pass", "wrap")  # which leaves the exit that nobody takes to `prune`
    file.write_text(f"pass: wrap\n--- before\n{REGION}")
    assert "e0:" in printed()
    assert "e0:" not in printed("--pass", "all")


WRONG_FILES = [
    # text, what the line on standard error says after the file's name
    ("", ":1:1: expected `region`, found the end of the text"),
    ("region", ":1:7: expected a name, found the end of the line"),
    (REGION.replace("int_mul", "int_mull"), ":3:13: expected an op, "),
    (f"pass: wrap\n--- before\n{REGION.replace('int_mul', 'int_mull')}", ":5:13: expected an op, "),
    (REGION.replace("v0, 3 |", "v0, |"), ":3:25: expected a value or a constant, found |"),
    (REGION.replace("v0, 3 |", "v0 3 |"), ":3:24: expected `,`, found 3"),
    (REGION.replace("  return v2\n", ""), ":5:1: expected an op, "),
    (REGION.replace("(v0: int)", "(v0: whole)"), ":2:8: expected a kind, found whole"),
    (REGION.replace("v2: int", "v1: float"), ":4:3: expected one kind for each value, "),
    (REGION.replace("b0(", "b1("), ":2:1: expected block b0, found b1"),
    (REGION.replace("return v2", 'return "'), ':5:10: expected a string, found "'),
    (REGION.replace("v0, 3", "v0, 3.0"), ": the region is invalid: b0.0: "),
    (f"pass: wrapp\n--- before\n{REGION}", ": there is no pass wrapp: there are params, "),
]


@pytest.mark.parametrize(("text", "expected"), WRONG_FILES)
def test_wrong_files(text: str, expected: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(text)
    says_why(main(["opt", str(file)]), f"{file}{expected}", capsys)


def says_why(code: int, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith(f"minijit opt: {expected}")
    assert err.count("\n") == 1


def test_files_that_cannot_be_read(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.trace"
    says_why(main(["opt", str(missing)]), f"{missing}: No such file or directory", capsys)
    says_why(main(["opt", str(tmp_path)]), f"{tmp_path}: Is a directory", capsys)
    file.write_bytes(b"\xff\xfe")
    says_why(main(["opt", str(file)]), f"{file}: not a text in UTF-8", capsys)


def test_an_unknown_pass(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = ", ".join([*dict(PASSES), "all"])
    says_why(main(["opt", str(file), "--pass", "nope"]), f"{file}: there is no pass nope: there are {known}", capsys)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "the following arguments are required: command"),
        (["nope"], "invalid choice: 'nope'"),
        (["opt"], "the following arguments are required: file"),
        (["opt", "a", "b"], "unrecognized arguments: b"),
        (["opt", "a", "--pass"], "expected one argument"),
        (["info", "a"], "unrecognized arguments: a"),
    ],
)
def test_wrong_arguments(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert expected in capsys.readouterr().err


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    commands = ([], ("info", "opt", "bisect", "reduce"))
    for arguments, words in commands, (["opt"], ("file", "--pass", "all")), (["reduce"], ("-o", "file", "-- test")):
        with pytest.raises(SystemExit) as caught:
            main([*arguments, "--help"])
        assert caught.value.code == 0
        out = capsys.readouterr().out
        assert all(word in out for word in words), out


def test_a_pass_that_breaks_a_region_is_no_fault_of_the_file(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = parse_region(REGION.replace("v0, 3", "v0, 3.0"))
    monkeypatch.setattr(tracefile, "PASSES", (("breaks", lambda _: broken),))
    assert main(["opt", str(file), "--pass", "breaks"]) == 1
    assert "please report this bug in minijit: f after breaks: b0.0: " in capsys.readouterr().err


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("minijit ")
    assert lines[-1] == "supported"
    assert all(line.startswith("ok   ") for line in lines[1:-1])
    assert len(lines) > 5


def test_as_a_process(run_python: RunPython, file: Path) -> None:
    file.write_text("nothing")
    done = run_python("import runpy; runpy.run_module('minijit', run_name='__main__')", "opt", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"minijit opt: {file}:1:1: expected `region`, found nothing\n"
