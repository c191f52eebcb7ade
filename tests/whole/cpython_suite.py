"""CPython's own tests, run with and without minijit: is there a test that ends in another way?

    python tests/whole/cpython_suite.py [--modes on,hot] [--jobs 2] [module ...]

In: names of test modules of the interpreter at hand (default: `MODULES`). Each is run as a process of its own, by the
interpreter's own runner, without minijit and then in the modes asked for. Out: a line for each module and mode, and for
each test that ends in another way than without minijit, twice, one line. The exit code is 1 if there is one that is not
in `KNOWN`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Iterable

MODULES = """
    test_array test_asyncio test_bisect test_bool test_builtin test_bytes test_call test_capi.test_watchers test_class
    test_cmath test_code test_compile test_complex test_copy test_coroutines test_dataclasses test_decimal test_descr
    test_dict test_dis test_doctest test_enum test_except_star test_exceptions test_faulthandler test_float test_fork1
    test_fractions test_frame test_functools test_gc test_generators test_heapq test_inspect test_int test_itertools
    test_list test_listcomps test_long test_math test_monitoring test_operator test_peepholer test_pickle test_property
    test_random test_range test_scope test_set test_signal test_slice test_statistics test_string_literals test_struct
    test_subprocess test_super test_sys test_sys_setprofile test_sys_settrace test_thread test_threading test_traceback
    test_tuple test_unittest test_weakref
""".split()
MODES = {
    "plain": {},
    "on": {"MINIJIT": "1"},
    "soon": {"MINIJIT": "1", "MINIJIT_THRESHOLD": "50"},
    "hot": {"MINIJIT": "1", "MINIJIT_STRESS": "hot", "MINIJIT_COMPILE_SECONDS": "1e6"},
}
KNOWN = {
    "test.test_int.*.test_denial_of_service_prevented_*": "skips itself where the clock is too coarse for its speed",
    "test.test_monitoring.*": "asserts that nobody has events of all code (`sys.monitoring._all_events() == {}`)",
    "test.test_dis.*_specialize": "asserts on specialised bytecode",
    "test.test_dis.*.test_loop_quicken": "the same",
    "test.test_dis.*.test_super_instructions": "the same, of superinstructions, which instrumentation takes out",
}
"""Patterns of tests that cannot end as without minijit, and why."""
SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Run:
    """How the tests of a module ended: by name, `passed`, `skipped`, `failure` or `error`; and what was printed."""

    outcomes: dict[str, str]
    output: str
    status: int
    seconds: float


def run(module: str, mode: str) -> Run:
    """Runs a module in a mode."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        command = [sys.executable, "-m", "test", "--junit-xml", str(report), "--randseed", "1", "-v", module]
        # Tests look at variables of PYTHON*; those of ours are what is tried here.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MINIJIT", "PYTHON"))}
        try:
            done = subprocess.run(
                command,
                env=kept | MODES[mode],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
            output, status = done.stdout, done.returncode
        except subprocess.TimeoutExpired as hung:
            output, status = hung.stdout or b"", -1
        outcomes = _outcomes(report) if report.exists() and report.stat().st_size else {}
    return Run(outcomes, output.decode(errors="replace"), status, time.monotonic() - started)


def _outcomes(report: Path) -> dict[str, str]:
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        ended = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        found[case.get("name", "")] = ended
    return found


def differences(plain: Run, found: Run) -> dict[str, str]:
    """The tests that ended in another way, in words."""
    names = plain.outcomes.keys() | found.outcomes.keys()
    ended = {name: (plain.outcomes.get(name, "not run"), found.outcomes.get(name, "not run")) for name in names}
    return {name: f"{theirs}, where it was {ours}" for name, (ours, theirs) in sorted(ended.items()) if ours != theirs}


def compare(module: str, modes: list[str], directory: Path | None) -> list[tuple[str, str, Run, dict[str, str]]]:
    """A row for each mode, without minijit first."""
    plain = run(module, "plain")
    rows = [(module, "plain", plain, {})]
    for mode in modes:
        found = run(module, mode)
        if directory is not None:
            (directory / f"{module}.{mode}.txt").write_text(found.output)
        different = differences(plain, found)
        if unknown(different):
            # Some look at the clock, and end now in this way and now in that.
            again, also = run(module, "plain"), run(module, mode)
            both = differences(again, found).keys() & differences(plain, also).keys()
            different = {name: what for name, what in different.items() if name in both}
        if not different and found.status != plain.status:
            different = {module: f"exit code {found.status}, where it was {plain.status}"}
        rows.append((module, mode, found, different))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=MODULES, help="default: all that the list in this file has")
    parser.add_argument("--modes", default="on,hot", help="of: " + ", ".join(MODES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many modules at once")
    parser.add_argument("--out", type=Path, help="a directory for what the tests print")
    chosen = parser.parse_args()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in a shell's background; some of the tests press Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if chosen.out is not None:
        chosen.out.mkdir(parents=True, exist_ok=True)
    count = 0
    seen: set[str] = set()
    with ThreadPoolExecutor(chosen.jobs) as pool:
        modes = chosen.modes.split(",")
        for rows in pool.map(lambda module: compare(module, modes, chosen.out), chosen.modules):
            for module, mode, found, different in rows:
                print(f"{module:<24} {mode:<6} {len(found.outcomes):5} tests {found.seconds:7.1f} s", flush=True)
                for pattern, names in by_pattern(different).items():
                    seen.add(pattern)
                    print(f"    {len(names)} of {pattern}: {KNOWN[pattern]}", flush=True)
                for name in unknown(different):
                    count += 1
                    print(f"    {name}: {different[name]}", flush=True)
    stale = [pattern for pattern in KNOWN if pattern not in seen] if chosen.modules == MODULES else []
    for pattern in stale:
        print(f"{pattern} end as they should: {KNOWN[pattern]}")
    print(f"{count} tests end in another way")
    return int(bool(count))


def unknown(names: Iterable[str]) -> list[str]:
    """Of these tests those that are not known."""
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in KNOWN)]


def by_pattern(names: Iterable[str]) -> dict[str, list[str]]:
    """Of these tests those that are known, by the pattern of `KNOWN` that they match."""
    found = {pattern: [name for name in names if fnmatchcase(name, pattern)] for pattern in KNOWN}
    return {pattern: matching for pattern, matching in found.items() if matching}


if __name__ == "__main__":
    sys.exit(main())
