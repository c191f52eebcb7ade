"""From a planted bug to a short program and the stage that is to blame, without help."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import RunPython

FUZZ = Path(__file__).with_name("fuzz.py")


def test_a_miscompilation_is_found_reduced_and_blamed(run_python: RunPython, tmp_path: Path) -> None:
    # Not by the mode `check`, which finds it in the process of the program.
    stress = ("--stress", "exits:7")
    done = run_python(FUZZ, 200, "--most", 1, "--jobs", 1, "--out", tmp_path, "--mutant", "mul-overflow", *stress)
    assert done.returncode == 1, done.stdout + done.stderr
    (path,) = tmp_path.glob("seed-*.py")
    assert len(path.read_text().splitlines()) <= 15, path.read_text()
    assert "*" in path.read_text()
    assert re.search(r"^seed \d+: ", done.stdout, re.MULTILINE), done.stdout
    assert "stage: lower" in done.stdout


def test_nothing_is_found_where_nothing_is_wrong(run_python: RunPython, tmp_path: Path) -> None:
    done = run_python(FUZZ, 20, "--jobs", 1, "--out", tmp_path, "--stress", "exits:2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differences" in done.stdout
    assert not list(tmp_path.iterdir())
