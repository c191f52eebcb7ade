"""What all tests share: crashes that can be read, and programs run in a process of their own.

In: a program, as text or as a path. Out: the finished process, with its output as text.
A test that may crash the interpreter runs its program through `run_python`, so that a crash is a failure of
that test with the stack in its message, and not the end of the whole run.
"""

import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

type Completed = subprocess.CompletedProcess[str]
type RunPython = Callable[..., Completed]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-traces", action="store_true", help="write what the passes make now into the `.trace` files"
    )


def pytest_sessionstart() -> None:
    """Insist on pytest's own faulthandler: what we enabled would write to captured stderr."""
    if not faulthandler.is_enabled():
        raise pytest.UsageError("run with pytest's faulthandler plugin: a crash must leave a traceback")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So it is in what a shell runs in the background, and would be in every process of ours.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def clean_environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """Give this process's environment without MINIJIT settings, with `src` on the path, and `env` on top."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MINIJIT")}
    return kept | {"PYTHONPATH": str(ROOT / "src")} | dict(env or {})


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Give `run_python(code_or_path, *args, env=..., timeout=...)`.

    Text is run with `-c`, a path as a script, both in an empty directory. The exit status is the caller's to
    judge, except that death by a signal fails the test at once.
    """

    def run(
        code_or_path: str | Path, *args: object, env: Mapping[str, str] | None = None, timeout: float = 100
    ) -> Completed:
        program = [str(code_or_path)] if isinstance(code_or_path, Path) else ["-c", code_or_path]
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", *program, *map(str, args)],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            cwd=tmp_path,
            env=clean_environment({"XDG_CACHE_HOME": str(tmp_path / "cache")} | dict(env or {})),
        )
        if done.returncode < 0:
            pytest.fail(f"killed by signal {-done.returncode}\n{done.stderr}", pytrace=False)
        return done

    return run


@pytest.fixture
def switched_on() -> Iterator[None]:
    """minijit is enabled for a test, and disabled behind it."""
    from twin import enabled

    with enabled():
        yield
