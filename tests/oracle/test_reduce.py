"""`reduce` keeps what it is to keep, and leaves little else.

What runs programs in forked children does so from a process of its own: one with other threads, such as this, must not
fork.
"""

from __future__ import annotations

import ast
import builtins
import sys
from pathlib import Path

import pytest

from conftest import RunPython
from minijit.__main__ import main
from minijit.oracle.reduce import NotInteresting, reduce

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
SETTINGS = {
    "MINIJIT_CALL_THRESHOLD": "3",
    "MINIJIT_LOOP_THRESHOLD": "10",
    "MINIJIT_EXIT_THRESHOLD": "5",
    "MINIJIT_MISS_THRESHOLD": "3",
    "MINIJIT_OPTIMISE": "0",
}
MOST_LINES = 15

# What is taken away: a program, an expression over `run` (what it prints) and `text`, what is left.
CASES = {
    "statements, from all depths": (
        """
import math
def unused(): return 1
def f(a):
    b = a + 1
    for k in range(3):
        with memoryview(b"") as view: pass
        if k: pass
        else: print(42)
    return b
f(1)
""",
        "'42' in run",
        "print(42)",
    ),
    "what is around a statement": (
        """
try:
    for k in [1]:
        if 1:
            print("kept")
        break
except ValueError: pass
else: print(1)
finally: print(2)
""",
        "'kept' in run",
        "print('kept')",
    ),
    "decorators, parameters and arguments": (
        """
def same(f): return f
@same
@same
def f(a, b, c=4):
    return a + b * c
print(f(2, 3), f(7, 3, 4))
""",
        "'def f' in text and 'return' in text and run.startswith('14')",
        "def f():\n    return 2 + 3 * 4\nprint(f())",
    ),
    "a function that is called once": (
        """
def main():
    x = 3
    for k in range(2):
        print(k, x)
main()
""",
        "run.startswith('0 3')",
        "print(0, 3)",
    ),
    "a function made by a function": (
        """
def make():
    n = 5
    def f(k):
        nonlocal n
        n += k
        return n
    return f
f = make()
print(f(1))
""",
        "'def f' in text and 'n += ' in text and run == '6'",
        None,
    ),
    "pairs of an assignment": ("a, b, c = 1, 2, 3\nprint(b)", "'b' in text and run == '2'", "b = 2\nprint(b)"),
    "names of values": ("from math import pi, e\nG = 7\nH = G\nprint(H)", "'print' in text and run == '7'", "print(7)"),
    "expressions": (
        "print((1 + max(2, [3, 4][1])) * 1)",
        "'max' in text and run == '5'",
        "print(1 + max(2, 4))",
    ),
    "numbers": ("print(123456789, 'text', 2.75)", "len(run.split()) == 3", None),
    "names of a global statement": (
        "a = b = 1\ndef f():\n    global a, b\n    a += 1\nf()\nprint(a)",
        "'global' in text and run == '2'",
        "a = 1\n\ndef f():\n    global a\n    a += 1\nf()\nprint(a)",
    ),
}


def output(text: str) -> str:
    """What a harmless program prints."""
    printed: list[str] = []

    def show(*values: object) -> None:
        printed.append(" ".join(map(str, values)))

    try:
        exec(text, {"print": show, "__builtins__": builtins})
    except Exception:  # noqa: BLE001 - whatever a piece of a program does
        return ""
    return "\n".join(printed)


@pytest.mark.parametrize("case", CASES)
def test_what_is_taken_away(case: str) -> None:
    text, wanted, left = CASES[case]
    asked: list[str] = []

    def is_interesting(candidate: str) -> bool:
        asked.append(candidate)
        return bool(eval(wanted, {"run": output(candidate), "text": candidate}))

    small = reduce(text, is_interesting)
    assert eval(wanted, {"run": output(small), "text": small})
    assert len(asked) == len(set(asked)), "asked about a text again"
    if left is None:
        assert len(small) < len(ast.unparse(ast.parse(text)))
    else:
        assert ast.unparse(ast.parse(small)) == ast.unparse(ast.parse(left))


def test_nothing_can_be_taken_away_any_more() -> None:
    """One more time gives the same."""
    for text, wanted, _ in CASES.values():

        def is_interesting(candidate: str, wanted: str = wanted) -> bool:
            return bool(eval(wanted, {"run": output(candidate), "text": candidate}))

        once = reduce(text, is_interesting)
        assert reduce(once, is_interesting) == once


def test_what_is_not_interesting() -> None:
    with pytest.raises(NotInteresting):
        reduce("print(1)", lambda text: False)
    with pytest.raises(SyntaxError):
        reduce("print(", lambda text: True)


# Planted bugs

REDUCE = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import mutation

mutation.plant(sys.argv[2])
from minijit.driver.warm import warm
from minijit.oracle.children import differs
from minijit.oracle.reduce import reduce

warm()
print(reduce(Path(sys.argv[3]).read_text(), lambda text: differs(text, seconds=2)))
"""


@pytest.mark.parametrize(("bug", "program"), [("products-wrap", "products"), ("xor-is-or", "bits")])
def test_a_program_with_a_planted_bug(bug: str, program: str, run_python: RunPython, tmp_path: Path) -> None:
    path = PROGRAMS / f"{program}.txt"
    assert len(path.read_text().splitlines()) > 100
    done = run_python(REDUCE, HERE, bug, path, env=SETTINGS, timeout=115)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert "from minijit import jit" in lines
    assert len(lines) <= MOST_LINES, done.stdout
    small = tmp_path / "small.py"
    small.write_text(done.stdout)
    plain, compiled = (
        run_python(HERE / "mutation.py", bug, small, env={**SETTINGS, **more}) for more in ({"MINIJIT_LIMIT": "0"}, {})
    )
    assert (plain.stdout, plain.returncode) != (compiled.stdout, compiled.returncode)


CHILDREN = """
import os
from minijit.oracle.children import Child, differs
from minijit.oracle.runs import INTERPRETED

def seen(text, seconds=20):
    run = Child(text, INTERPRETED).finish(seconds)
    return run.status, run.output, run.traceback.splitlines()[-1:]

print(seen("print(__name__); import sys; print(sys.argv, sys.stdin.read()); sys.exit(3)"))
print(seen("print('before'); 1/0"))
print(seen("raise SystemExit('text')"), seen("import sys; sys.exit()"))
print(seen("while True: pass", 1))
print(seen("x = 'x' * 2**33"))
print(seen("while True: print('x' * 1000)")[0])
print(seen("import os; os.abort()")[:2])
# The object's address, and what differs from run to run, is no difference.
print(differs("print(object())"), differs("import time; print(time.perf_counter())"), differs("while 1: pass", seconds=1))
print(differs("import minijit; print(minijit.is_enabled())"), len(os.listdir("/proc/self/fd")) < 10)
"""


def test_children(run_python: RunPython) -> None:
    done = run_python(CHILDREN)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "(3, \"__main__\\n['<program>'] \\n\", [])",
        "(1, 'before\\n', ['ZeroDivisionError: division by zero'])",
        "(1, '', []) (0, '', [])",
        "(None, '', [])",
        "(1, '', ['MemoryError'])",
        "1",
        "(-6, '')",
        "  ",
        " True",
    ]


# The command


def test_the_command_with_a_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, out = tmp_path / "program.py", tmp_path / "small.py"
    program.write_text("import sys\nx = [1, 2]\nprint(len(x) + 5)\nneedle = 4\n")
    test = [sys.executable, "-c", "import sys; sys.exit('needle' not in open(sys.argv[1]).read())"]
    assert main(["reduce", str(program), "-o", str(out), "--", *test]) == 0
    assert out.read_text() == "needle = 4\n"
    assert capsys.readouterr() == ("", "minijit reduce: 4 lines made 1\n")
    assert main(["reduce", str(program), "--", *test]) == 0
    assert capsys.readouterr().out == "needle = 4\n"


def test_a_program_that_is_not_in_utf_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "program.py"
    test = [
        sys.executable,
        "-c",
        "import ast, sys; sys.exit('\xe9' not in ast.parse(open(sys.argv[1], 'rb').read()).body[0].value.value)",
    ]
    for text in ("# coding: latin-1\nx = '\xe9'\n7\n".encode("latin-1"), "x = '\xe9'\n7\n".encode("utf-8-sig")):
        program.write_bytes(text)
        assert main(["reduce", str(program), "--", *test]) == 0
        assert "\xe9" in capsys.readouterr().out


def test_the_command_with_a_program_that_does_not_differ(run_python: RunPython, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("print(1)\n")
    done = run_python("import sys; from minijit.__main__ import main; sys.exit(main(sys.argv[1:]))", "reduce", program)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"minijit reduce: {program}: the program does not show what is looked for\n"


def test_the_command_without_a_test(run_python: RunPython, tmp_path: Path) -> None:
    """With a bug in the command's process only: what differs there alone is told apart from what always does."""
    program = tmp_path / "program.py"
    program.write_text(
        "from minijit import jit\n@jit\ndef f(a, b):\n    c = a * b\n    return c\nfor k in range(99):\n    print(f(2**62 + k, 3))\n"
    )
    text = "import sys; sys.path.insert(0, sys.argv[1]); import mutation; mutation.plant('products-wrap');"
    text += "from minijit.__main__ import main; sys.exit(main(['reduce', sys.argv[2]]))"
    done = run_python(text, HERE, program, env=SETTINGS)
    assert done.returncode == 1, done.stderr
    assert "a * b" in done.stdout or "*" in done.stdout
    assert done.stderr.splitlines()[-1] == "minijit reduce: it differs in a forked process only"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"def f(:\n", "program.py:1: invalid syntax"),
        (b"\xff\xfe", "program.py:1: invalid or missing encoding declaration"),
        (b"# coding: no\n", "program.py:1: unknown encoding"),
        (b"# coding: ascii\n#\n#\n\xff", "program.py: not a text in the encoding it says, UTF-8 by default"),
        (b"x = 1\0", "program.py:1: source code string cannot contain null bytes"),
        (None, "No such"),
    ],
)
def test_wrong_files(content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "program.py"
    if content is not None:
        program.write_bytes(content)
    assert main(["reduce", str(program), "--", "true"]) == 2
    assert said in capsys.readouterr().err
