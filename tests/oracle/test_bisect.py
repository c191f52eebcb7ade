"""`bisect` names the region and the stage of planted bugs; and says so where there is nothing to find."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from catalogue import STAGES

from minijit.__main__ import main
from minijit.oracle.bisect import NotDeterministic, bisect
from minijit.oracle.runs import Run, difference, run_command

MUTATION = Path(__file__).with_name("mutation.py")
PROGRAM = Path(__file__).with_name("programs").joinpath("stages.txt").read_text()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"CALL_THRESHOLD": 5, "LOOP_THRESHOLD": 20}.items():
        monkeypatch.setenv(f"MINIJIT_{name}", str(value))
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.mark.parametrize("bug", STAGES)
def test_the_stage_of_a_planted_bug(bug: str, program: Path) -> None:
    command = [sys.executable, str(MUTATION), bug, str(program), "argument"]
    found = bisect(command, patience=60)
    assert found is not None
    mutant = STAGES[bug]
    assert (found.function, found.stage, found.needs_llvm) == (mutant.function, mutant.stage, mutant.needs_llvm)
    path, _, line = found.place.rpartition(":")
    assert path == str(program)
    source = PROGRAM.splitlines()[int(line) - 1 :]
    assert found.function in "".join(source[:2]) or found.offset
    report = "\n".join(found.lines(command))
    assert ("SIGSEGV" if bug == "pass-crashes" else "standard output: line 1 is ") in report
    assert f"MINIJIT_LIMIT={found.limits[1]} {sys.executable}" in report


def test_nothing_to_find(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bisect", str(program), "--option"]) == 0
    assert capsys.readouterr().out == "compiled, the program does what it does interpreted\n"


def test_a_program_that_does_something_else_each_time(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program.write_text("import time\nprint(time.perf_counter())\n")
    with pytest.raises(NotDeterministic):
        bisect([sys.executable, str(program)])
    assert main(["bisect", str(program)]) == 2
    assert capsys.readouterr().err.endswith("interpreted twice, it does not do the same\n")


def test_addresses_and_what_minijit_says_do_not_count(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program.write_text(f"{PROGRAM}\nprint(object())\nraise ValueError")
    monkeypatch.setenv("MINIJIT_LOG", "trace")
    assert bisect([sys.executable, str(program)]) is None


def test_what_counts_of_a_run() -> None:
    crashed, failed = (
        "Traceback (most recent call last):\nValueError: 1\n",
        "Traceback (most recent call last):\nKeyError\n",
    )
    run = Run(1, "a\nb\n", f"{failed}minijit: killed\n{crashed}minijit: killed\n", 0.5)
    assert difference(run, Run(1, "a\nb\n", f"warning\n{crashed}", 7.0)) == ""
    assert difference(run, Run(1, "a\nc\n", crashed, 0.5)) == "standard output: line 2 is 'c' instead of 'b'"
    assert difference(run, Run(1, "a\n", crashed, 0.5)) == "standard output: 1 lines instead of 2"
    assert (
        difference(run, Run(1, "a\nb\n", failed, 0.5)) == "traceback: line 1 is 'KeyError' instead of 'ValueError: 1'"
    )
    assert "signal 40, where" in difference(run, Run(-40, "", "", 1))
    assert "SIGSEGV, where the other the run ended with exit code 1 (ValueError: 1)" in difference(
        run, Run(-11, "", "", 1)
    )


def test_a_run_that_does_not_end() -> None:
    command = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(100)"]
    run = run_command(command, {}, 2)
    assert (run.status, run.output) == (None, "1\n")
    assert difference(Run(0, "1\n", "", 0.1), run).startswith("the run does not end within 2 s")


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bisect", str(tmp_path / "missing.py")]) == 2
    assert capsys.readouterr().err.endswith("missing.py: No such file or directory\n")


def test_a_program_of_which_nothing_is_compiled(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program.write_text("import minijit\nf = minijit.jit(lambda n: n)\nprint(f(1))\n")
    assert main(["bisect", str(program)]) == 2
    assert capsys.readouterr().err.endswith("nothing of it was compiled\n")


def test_a_program_that_differs_at_times(program: Path) -> None:
    """It is no region's fault: the runs are counted, and the third and the fourth are odd."""
    count = program.with_name("count")
    count.write_text("")
    program.write_text(f"""
from pathlib import Path
count = Path({str(count)!r})
count.write_text(count.read_text() + "*")
print(len(count.read_text()) in (3, 4))
""")
    with pytest.raises(NotDeterministic, match="three times"):
        bisect([sys.executable, str(program)])
