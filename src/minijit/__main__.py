"""The command line: `python -m minijit info | opt`.

In: arguments. Out: text on standard output, and the exit code: 0; 1 where the answer is no (`info`: this interpreter is
not supported) or where a pass makes an invalid region, which is a bug in minijit; 2 for wrong input, with one line on
standard error that says what is wrong and where.
"""

from __future__ import annotations

import argparse
import platform
import sys
from typing import TYPE_CHECKING

from minijit.events import say

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, NO, WRONG_INPUT = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the process's exit code. Wrong arguments raise `SystemExit`, as `argparse` does it."""
    chosen = _parser().parse_args(arguments)
    return _info() if chosen.command == "info" else _opt(chosen.file, chosen.name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m minijit", description="A tracing JIT for stock CPython 3.12.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="checks whether minijit can work in this interpreter, layout by layout")
    opt = commands.add_parser("opt", help="runs the passes, or one of them, on a region in text form")
    opt.add_argument("file", help="a file with a region, or a .trace test")
    opt.add_argument(
        "--pass",
        dest="name",
        metavar="NAME",
        help="this pass only, or `all`; default: the pass that the file names, else all",
    )
    return parser


def _info() -> int:
    import minijit
    from minijit.cpython import support

    print(f"minijit {minijit.__version__}, {platform.python_implementation()} {platform.python_version()}")
    found = support.find()
    if not isinstance(found, support.Unsupported):
        _print_checks()
        print("supported")
        return OK
    if found.reason is support.UnsupportedReason.LAYOUT:
        _print_checks()
    print(f"not supported: {found.sentence}")
    return NO


def _print_checks() -> None:
    from minijit.cpython import abi

    for check in abi.self_check():
        print(f"{'ok  ' if check.ok else 'FAIL'} {check.name}{f': {check.detail}' if check.detail else ''}")


def _opt(path: str, name: str | None) -> int:
    from minijit.ir.check import InvalidRegion
    from minijit.ir.text import TextError
    from minijit.opt.tracefile import TraceFileError, run_trace_file

    try:
        text = run_trace_file(path, name)
    except OSError as error:
        return _fail(f"{path}: {error.strerror}", WRONG_INPUT)
    except UnicodeDecodeError:
        return _fail(f"{path}: not a text in UTF-8", WRONG_INPUT)
    except TextError as error:
        return _fail(f"{path}:{error.line}:{error.column}: {error.what}", WRONG_INPUT)
    except TraceFileError as error:
        return _fail(f"{path}: {error}", WRONG_INPUT)
    except InvalidRegion as error:
        return _fail(f"{path}: please report this bug in minijit: {error}", NO)
    print(text, end="")
    return OK


def _fail(what: str, code: int) -> int:
    say(f"minijit opt: {what}")
    return code


if __name__ == "__main__":
    sys.exit(main())
