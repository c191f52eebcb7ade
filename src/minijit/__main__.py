"""The command line: `python -m minijit info | opt`."""

from __future__ import annotations

import argparse
import platform
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m minijit", description="A tracing JIT for stock CPython 3.12.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="checks whether minijit can work in this interpreter, layout by layout")
    opt = commands.add_parser("opt", help="runs the passes, or one of them, on a region in text form")
    opt.add_argument("file", help="a file with a region, or a .trace test")
    opt.add_argument("--pass", dest="name", help="this pass only")
    chosen = parser.parse_args(arguments)
    return _info() if chosen.command == "info" else _opt(chosen.file, chosen.name)


def _info() -> int:
    import minijit
    from minijit.cpython import abi

    print(f"minijit {minijit.__version__}, {platform.python_implementation()} {platform.python_version()}")
    for check in abi.self_check():
        print(f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}")
    found = abi.supported()
    if isinstance(found, abi.Unsupported):
        print(f"not supported: {found.reason.sentence} {found.detail}".strip())
        return 1
    print("supported")
    return 0


def _opt(path: str, name: str | None) -> int:
    from minijit.opt.tracefile import run_trace_file

    try:
        print(run_trace_file(path, name))
    except (OSError, ValueError) as error:
        print(f"minijit opt: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
