"""The command line: `python -m minijit run | info | opt | bisect | reduce`.

In: arguments. Out: text on standard output, and the exit code: 0; 1 where the answer is no (`info`: this interpreter is
not supported; `bisect`: the program differs) or where a pass makes an invalid region, which is a bug in minijit; 2 for
wrong input, with one line on standard error that says what is wrong and where.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from minijit.config import Config, ConfigError, environment_with, from_environment
from minijit.events import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

OK, NO, WRONG_INPUT = 0, 1, 2
_OPTIONS = {f"--{row.name.replace('_', '-')}": row for row in dataclasses.fields(Config)}
"""Of `run`: the settings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the process's exit code. Wrong arguments raise `SystemExit`, as `argparse` does it."""
    given, rest = _rest_apart(list(sys.argv[1:] if arguments is None else arguments))
    chosen = _parser().parse_args(given)
    match chosen.command:
        case "run":
            return _run(chosen, rest)
        case "info":
            return _info()
        case "opt":
            return _opt(chosen.file, chosen.name)
        case "bisect":
            return _bisect(chosen.file, chosen.arguments)
        case _:
            return _reduce(chosen.file, chosen.out, rest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m minijit", description="A tracing JIT for stock CPython 3.12.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="runs a program with MINIJIT=1",
        usage="%(prog)s [options] script.py | -m module | -c command [arguments]",
        epilog="The options are the settings that `MINIJIT_*` variables are for.",
    )
    for option, row in _OPTIONS.items():
        run.add_argument(option, dest=row.name, metavar="VALUE", help=row.metadata["help"])
    commands.add_parser("info", help="checks whether minijit can work in this interpreter, layout by layout")
    opt = commands.add_parser("opt", help="runs the passes, or one of them, on a region in text form")
    opt.add_argument("file", help="a file with a region, or a .trace test")
    opt.add_argument(
        "--pass",
        dest="name",
        metavar="NAME",
        help="this pass only, or `all`; default: the pass that the file names, else all",
    )
    bisect = commands.add_parser("bisect", help="finds the region and the stage that make a program differ")
    bisect.add_argument("file", help="a program that uses minijit")
    bisect.add_argument("arguments", nargs=argparse.REMAINDER, help="what the program is given")
    reduce = commands.add_parser(
        "reduce",
        help="makes a program that differs under minijit small",
        usage="%(prog)s [-h] [-o OUT] file [-- test command]",
        epilog="The test is a command that gets a program's path behind its arguments, and succeeds if the program is "
        "still of interest; default: that its compiled run differs from the interpreted one.",
    )
    reduce.add_argument("file", help="a program in one file")
    reduce.add_argument("-o", dest="out", metavar="OUT", help="where the small program goes; default: standard output")
    return parser


def _rest_apart(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments, and what is not ours: what `run` is to run, and the test of `reduce`, which stands behind `--`."""
    if arguments[:1] == ["run"]:
        at = 1
        while at < len(arguments) and arguments[at].partition("=")[0] in {*_OPTIONS, "-h", "--help"}:
            at += 1 if "=" in arguments[at] else 2
        return arguments[:at], arguments[at:]
    if arguments[:1] == ["reduce"] and "--" in arguments:
        at = arguments.index("--")
        return arguments[:at], arguments[at + 1 :]
    return arguments, []


def _run(chosen: argparse.Namespace, program: list[str]) -> int:
    """Becomes the interpreter that runs the program, with the settings in its environment, so that everything is as it
    is without us: arguments, exit code, tracebacks."""
    import os
    import subprocess

    rows = {f"MINIJIT_{row.name.upper()}": getattr(chosen, row.name) for row in _OPTIONS.values()}
    settings = {"MINIJIT": "1", **{name: value for name, value in rows.items() if value is not None}}
    environment = environment_with(settings)
    try:
        from_environment(environment)
    except ConfigError as error:
        return _fail("run", str(error))
    if not program:
        return _fail("run", "no program is given")
    if sys.flags.ignore_environment or sys.flags.no_site:
        return _fail("run", "with -E, -I or -S the interpreter does not look for MINIJIT=1")
    if not _is_installed():
        return _fail("run", "minijit.pth is in no directory of packages: MINIJIT=1 needs minijit to be installed")
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return os.execve(sys.executable, [sys.executable, *flags, *program], environment)


def _is_installed() -> bool:
    """Whether the interpreter finds the file that `MINIJIT=1` needs."""
    import site
    from pathlib import Path

    places = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    return any(Path(place, "minijit.pth").exists() for place in places)


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
        return _fail("opt", f"{path}: {error.strerror}")
    except UnicodeDecodeError:
        return _fail("opt", f"{path}: not a text in UTF-8")
    except TextError as error:
        return _fail("opt", f"{path}:{error.line}:{error.column}: {error.what}")
    except TraceFileError as error:
        return _fail("opt", f"{path}: {error}")
    except InvalidRegion as error:
        return _fail("opt", f"{path}: please report this bug in minijit: {error}", NO)
    print(text, end="")
    return OK


def _bisect(path: str, arguments: list[str]) -> int:
    from minijit.oracle.bisect import NotDeterministic, NothingCompiled, bisect

    command = [sys.executable, path, *arguments]
    try:
        with open(path, "rb"):
            culprit = bisect(command)
    except OSError as error:
        return _fail("bisect", f"{path}: {error.strerror}")
    except (NotDeterministic, NothingCompiled) as error:
        return _fail("bisect", f"{path}: {error}")
    if culprit is None:
        print("compiled, the program does what it does interpreted")
        return OK
    print("\n".join(culprit.lines(command)))
    return NO


def _reduce(path: str, out: str | None, test: list[str]) -> int:
    """Says on standard error how it went, so that the program alone is on standard output."""
    import tokenize

    from minijit.oracle.reduce import NotInteresting, reduce

    try:
        with tokenize.open(path) as file:
            text = file.read()
        small = reduce(text, _succeeds(test) if test else _differs(text))
    except OSError as error:
        return _fail("reduce", f"{error.filename}: {error.strerror}")
    except UnicodeDecodeError:
        return _fail("reduce", f"{path}: not a text in the encoding it says, UTF-8 by default")
    except SyntaxError as error:
        return _fail("reduce", f"{path}:{error.lineno or 1}: {error.msg}")
    except NotInteresting as error:
        return _fail("reduce", f"{path}: {error}")
    if out is None:
        print(small)
    elif (why := _unwritten(out, small)) is not None:
        print(small)
        return _fail("reduce", f"{out}: {why}")
    lines = [sum(bool(line.strip()) for line in part.splitlines()) for part in (text, small)]
    say(f"minijit reduce: {lines[0]} lines made {lines[1]}")
    return OK if test else _confirm(small)


def _unwritten(path: str, text: str) -> str | None:
    """Writes a program to a file; why that cannot be done, if it cannot."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            print(text, file=file)
    except OSError as error:
        return error.strerror
    return None


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """The path of a file that has the program as long as it is needed."""
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        yield file.name


def _succeeds(command: list[str]) -> Callable[[str], bool]:
    """Whether a command succeeds for a program, whose path it gets."""
    import subprocess

    def test(text: str) -> bool:
        with _as_file(text) as path:
            return subprocess.run([*command, path], check=False, capture_output=True).returncode == 0

    return test


def _differs(text: str) -> Callable[[str], str]:
    """Whether a program's compiled run differs, if the interpreted one is not much longer than that of `text`."""
    from minijit.driver.warm import warm
    from minijit.oracle.children import SECONDS, Child, differs
    from minijit.oracle.runs import INTERPRETED

    warm()
    took = Child(text, INTERPRETED).finish(SECONDS).seconds
    return lambda candidate: differs(candidate, seconds=1 + 3 * took)


def _confirm(text: str) -> int:
    """Whether the small program differs in processes of its own as well."""
    from minijit.oracle.runs import INTERPRETED, difference, run_command

    with _as_file(text) as path:
        command = [sys.executable, path]
        wanted = run_command(command, INTERPRETED)
        what = difference(wanted, run_command(command, {}, 60 + 10 * wanted.seconds))
    say(f"minijit reduce: {what or 'it differs in a forked process only'}")
    return OK if what else NO


def _fail(command: str, what: str, code: int = WRONG_INPUT) -> int:
    say(f"minijit {command}: {what}")
    return code


if __name__ == "__main__":
    sys.exit(main())
