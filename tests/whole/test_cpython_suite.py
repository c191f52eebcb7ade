"""A bounded share of CPython's own tests (`make cpython` runs them all); and that the comparison sees what is different."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cpython_suite import KNOWN, Run, by_pattern, differences, run

SUITE = Path(__file__).with_name("cpython_suite.py")


@pytest.mark.parametrize("modules", ["test_float test_bool test_range", "test_scope test_listcomps test_sys_settrace"])
def test_modules_end_as_without_minijit(modules: str) -> None:
    command = [sys.executable, str(SUITE), "--jobs", "1", "--modes", "on,hot", *modules.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("\n0 tests end in another way\n")
    assert done.stdout.count(" tests ") == 3 * len(modules.split()) + 1


def test_differences_are_seen() -> None:
    plain = Run({"a": "passed", "b": "skipped", "c": "passed"}, "", 0, 1.0)
    found = Run({"a": "failure", "b": "skipped"}, "", 2, 1.0)
    assert differences(plain, plain) == {}
    assert differences(plain, found) == {"a": "failure, where it was passed", "c": "not run, where it was passed"}
    (pattern,) = [pattern for pattern in KNOWN if "loop_quicken" in pattern]
    known = "test.test_dis.DisTests.test_loop_quicken"
    assert by_pattern([known, "test.test_dis.DisTests.test_bug_708901"]) == {pattern: [known]}


def test_a_module_that_is_not_there() -> None:
    run_ = run("test_that_is_not_there", "plain")
    assert run_.status != 0
    assert "passed" not in run_.outcomes.values()
