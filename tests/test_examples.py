"""The examples run, plain and compiled, at sizes that take a moment.

Only what holds on any machine is checked: the result, and that the compiled run's result is the same. What a
time or a speed-up comes to is for the benchmarks to say.
"""

from pathlib import Path

import pytest

from conftest import ROOT, RunPython

EXAMPLES = ROOT / "examples"

CASES = [
    ("mandelbrot.py", ["--width", "48", "--height", "32"], "110297 steps"),
    ("nbody.py", ["--steps", "3000"], "energy drift after 3000 steps: "),
    ("collatz.py", ["--limit", "3000"], "from 2919: 217 numbers"),
    ("monte_carlo.py", ["--darts", "20000"], "pi is about 3.1"),
]


@pytest.mark.parametrize(("script", "arguments", "expected"), CASES)
@pytest.mark.parametrize("jit", [False, True], ids=["plain", "jit"])
def test_example(script: str, arguments: list[str], expected: str, jit: bool, run_python: RunPython) -> None:
    done = run_python(EXAMPLES / script, *arguments, *(["--jit"] if jit else []))
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert ("the results are identical" in done.stdout) == jit


def test_every_example_has_a_case() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("_")}
    assert scripts == {script for script, _, _ in CASES} | {"demo.py"}


def test_mandelbrot_writes_its_picture(run_python: RunPython, tmp_path: Path) -> None:
    picture = tmp_path / "deep" / "set.png"
    done = run_python(EXAMPLES / "mandelbrot.py", "--width", 16, "--height", 8, "--out", picture)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_demo(run_python: RunPython, tmp_path: Path) -> None:
    done = run_python(EXAMPLES / "demo.py", "--width", "90", "--height", "60")
    assert done.returncode == 0, done.stderr
    assert "the results are identical" in done.stdout
    assert "escape_time" in done.stdout
    assert (tmp_path / "out" / "mandelbrot.png").exists()


@pytest.mark.slow
def test_demo_at_full_size(run_python: RunPython) -> None:
    done = run_python(EXAMPLES / "demo.py")
    assert done.returncode == 0, done.stderr
    assert "the results are identical" in done.stdout
