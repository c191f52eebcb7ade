"""Programs and tools of all sorts, with `MINIJIT=1` and without: the same output, and something was compiled.

In: the programs in `programs`, each of which says in a line `# needs:` which packages it uses, and tools that run a
program. What is not installed is skipped (`make coexist` installs it).
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from told import SAID, STATS

PROGRAMS = sorted(Path(__file__).with_name("programs").glob("*.txt"))
MODES = {
    "on": {"MINIJIT": "1", "MINIJIT_STATS": "1", "MINIJIT_THRESHOLD": "100"},
    "hot": {"MINIJIT": "1", "MINIJIT_STATS": "1", "MINIJIT_STRESS": "hot"},
    "check": {"MINIJIT": "check", "MINIJIT_STATS": "1", "MINIJIT_THRESHOLD": "100"},
}
WORK = """
def f(n):
    s = 0
    for i in range(n):
        s += i * i % 7
    return s


def g(n):
    try:
        return f(n) // n
    except ZeroDivisionError:
        return -1


def test_all():
    assert sum(f(n % 30) for n in range(500)) == 13798
    assert [g(n) for n in range(5)] == [-1, 0, 0, 1, 1]


if __name__ == "__main__":
    test_all()
    print(sum(g(n % 40) for n in range(1000)))
"""
TIMES = re.compile(r"\d+\.\d+|in \d+\.?\d*s|0x[0-9a-f]+")
TOOLS = {
    "cProfile": ["-m", "cProfile", "-s", "name", "program.py"],
    "trace": ["-m", "trace", "--count", "--coverdir", "counts", "program.py"],
    "trackcalls": ["-m", "trace", "--trackcalls", "program.py"],
    "pdb": ["-m", "pdb", "-c", "b f", "-c", "c", "-c", "p n", "-c", "cl 1", "-c", "c", "-c", "q", "program.py"],
    "coverage": ["-m", "coverage", "run", "--branch", "program.py"],
    "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "program.py"],
    "debugpy": ["-m", "debugpy", "--listen", "0", "program.py"],
    "timeit": [
        "-c",
        "import program, timeit; print(len(timeit.repeat('program.f(9)', globals=globals(), number=999)))",
    ],
    "runpy": ["-c", "import runpy; runpy.run_path('program.py', run_name='__main__')"],
}
CORES = ("ctrace", "sysmon", "pytrace")
"""Of coverage: how it follows the program."""


def run(arguments: list[str], directory: Path, env: dict[str, str]) -> tuple[int, str, str, int]:
    """Exit code, output and errors, without what minijit says, and how many regions were compiled in how many of the
    processes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MINIJIT")}
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", *arguments],
        cwd=directory,
        env=kept | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": str(directory)} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    compiled = sum("compilations=" in line for line in STATS.findall(done.stderr))
    return done.returncode, done.stdout, SAID.sub("", done.stderr), compiled


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    for needed in re.findall(r"^# needs: (.*)$", text, re.MULTILINE):
        for name in needed.split():
            pytest.importorskip(name)
    (tmp_path / "program.py").write_text(text)
    plain = run(["program.py"], tmp_path, {})
    assert plain[0] == 0, plain[2]
    for mode, env in MODES.items():
        found = run(["program.py"], tmp_path, env)
        assert found[:3] == plain[:3], mode
        assert found[3], f"{mode}: nothing was compiled"


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(name) is None and name != "trackcalls":
        pytest.skip(f"{name} is not installed")
    (tmp_path / "program.py").write_text(WORK)
    plain = seen_by_tool(name, tmp_path, {})
    assert plain[0] == 0, plain[2]
    for mode, env in MODES.items():
        assert seen_by_tool(name, tmp_path, env) == plain, mode


def seen_by_tool(name: str, directory: Path, env: dict[str, str]) -> tuple[int, str, str]:
    status, output, errors, _ = run(TOOLS[name], directory, env)
    for path in sorted(directory.glob("counts/program*")):
        output += path.read_text()
    output = TIMES.sub("", output)
    if name == "cProfile":
        # Rows of one name come by the addresses of their code.
        output = "\n".join(sorted(output.splitlines()))
    return status, output, TIMES.sub("", errors)


@pytest.mark.parametrize("core", CORES)
def test_coverage(core: str, tmp_path: Path) -> None:
    """Every line and branch, with each of its cores."""
    pytest.importorskip("coverage")
    (tmp_path / "program.py").write_text(WORK)
    seen = []
    for env in ({}, *MODES.values()):
        for command in ("run", "json", "report"):
            options = ["--branch", "program.py"] if command == "run" and core != "sysmon" else []
            options = ["program.py"] if command == "run" and core == "sysmon" else options
            extra = ["--pretty-print", "-o", "found.json"] if command == "json" else []
            status, *_ = run(["-m", "coverage", command, *extra, *options], tmp_path, env | {"COVERAGE_CORE": core})
            assert status == 0
        text = (tmp_path / "found.json").read_text()
        seen.append(re.sub(r'"timestamp": .*', "", text))
    assert seen[0].count('"missing_lines": []')
    assert seen[1:] == seen[:1] * len(MODES)
