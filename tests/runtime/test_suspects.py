"""Keys of roots: the same in every process, another for every other root. And the list of suspects keeps its size.

In: code objects. Out: numbers; in processes with other hash seeds, after the code has run, and next to variants of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import CodeType
from typing import Any

from conftest import RunPython
from minijit.cpython.marks import FORMAT, Marks
from minijit.ir.region import EntryPoint
from minijit.ir.trace import Root
from minijit.runtime import suspects

CALL = Root(EntryPoint.CALL, 0)
SOURCE = """
def f(a, b=2):
    names = {"one", "two", "three", "four"}
    inner = lambda x: x in {"five", "six", 7, 8.5, None, b"9"}
    for name in ("one", "two", (3, 4.5, -0.0, 10**30, 1j, ...)):
        if inner(name) or name in {"x", "y", "z"}:
            a += 1
    return a
"""
TELL = """
import sys, sysconfig, minijit
from minijit.ir.region import EntryPoint
from minijit.ir.trace import Root
from minijit.runtime.suspects import key_of
space = {}
exec(compile(sys.argv[1], "somewhere", "exec"), space)
f = space["f"]
first = key_of(f.__code__, Root(EntryPoint.CALL, 0))
kept = [f.__code__.co_consts, f.__code__.co_names, "one"]
minijit.jit(f)
for _ in range(50): f(1)
print(first, key_of(f.__code__, Root(EntryPoint.CALL, 0)))
"""


def code_of(source: str, name: str = "somewhere") -> CodeType:
    space: dict[str, Any] = {}
    exec(compile(source, name, "exec", dont_inherit=True), space)
    code: CodeType = space["f"].__code__
    return code


def test_a_key_is_the_same_everywhere(run_python: RunPython) -> None:
    found = {str(suspects.key_of(code_of(SOURCE), CALL))}
    for seed in ("0", "1", "2"):
        found.update(run_python(TELL, SOURCE, env={"PYTHONHASHSEED": seed}).stdout.split())
    assert len(found) == 1


def test_every_root_has_a_key_of_its_own() -> None:
    code = code_of(SOURCE)
    roots = [CALL, Root(EntryPoint.LOOP, 0), *(Root(EntryPoint.LOOP, offset) for offset in range(2, 50, 2))]
    keys = [suspects.key_of(code, root) for root in roots]
    changes = {
        "a += 1": "a += 2",
        '"four"': '"for"',
        "7, 8.5": "7, 8.25",
        "b=2": "c=2",
        "-0.0": "0.0",
        "def f": "\ndef f",
    }
    keys += [suspects.key_of(code_of(SOURCE.replace(old, new)), CALL) for old, new in changes.items()]
    keys.append(suspects.key_of(code_of(SOURCE, "elsewhere"), CALL))
    keys.append(suspects.key_of(code.replace(co_qualname="g.f"), CALL))
    assert len(set(keys)) == len(keys)
    assert all(0 < key < 2**63 for key in keys)


def test_constants_that_cannot_be_written_are_left_out() -> None:
    code = code_of(SOURCE)
    some, other = (code.replace(co_consts=(*code.co_consts, object())) for _ in range(2))
    assert suspects.key_of(some, CALL) == suspects.key_of(other, CALL) != suspects.key_of(code, CALL)


def left_by_the_dead(directory: Path, numbers: Iterable[int]) -> None:
    for number in numbers:
        words = (FORMAT, number, 0) if number % 4 == 1 else (FORMAT, 0, number)
        file = directory / f"marks-1-{number}"
        file.write_bytes(b"".join(word.to_bytes(8, "little") for word in words))
        file.chmod(0o600)


def test_the_list_does_not_grow_for_ever(tmp_path: Path) -> None:
    """The oldest are forgotten."""
    directory = tmp_path / "cache"
    directory.mkdir(mode=0o700)
    old, new = range(1, 2 * suspects.MOST, 2), (10**9, 10**9 + 1)
    for numbers, known in ((old, set(old)), (new, {*new}), ((new[0], 3), {*new, 3})):
        left_by_the_dead(directory, numbers)
        found, path = suspects.join(str(directory), Marks())
        assert len(found) == suspects.MOST
        assert known <= found
        assert sorted(os.listdir(directory)) == [Path(path).name, "suspects-1"]
        os.unlink(path)
    assert len((directory / "suspects-1").read_bytes()) == 17 * suspects.MOST
