"""Tests whose body runs in a process of its own, since the machine code under test may take the process down.

    @isolated
    def test_something():
        ...                       # as in any test, but nothing of pytest: no fixtures, no marks inside

In: a function without arguments. Out: a test that runs `python isolated.py FILE NAME`, which imports the file and calls
the function there. What the function prints is shown when it fails. `env` is set for that process, `timeout` in
seconds is for it as a whole. Leaves out: everything that pytest does inside of a test.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Callable


@overload
def isolated(body: Callable[[], None], /) -> Callable[..., None]: ...
@overload
def isolated(
    *, env: dict[str, str] | None = None, timeout: float = 100
) -> Callable[[Callable[[], None]], Callable[..., None]]: ...
def isolated(body: Any = None, /, *, env: dict[str, str] | None = None, timeout: float = 100) -> Any:
    """Makes a test of a function, run in a process of its own."""
    if body is None:
        return lambda decorated: isolated_with(decorated, env, timeout)
    return isolated_with(body, env, timeout)


def isolated_with(body: Callable[[], None], env: dict[str, str] | None, timeout: float) -> Callable[..., None]:
    """As `isolated`, with all options given."""

    def test(run_python: Callable[..., Any]) -> None:
        source = body.__code__.co_filename
        done = run_python(Path(__file__), source, body.__name__, env=env, timeout=timeout)
        assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"
        assert "Exception ignored" not in done.stderr, done.stderr
        print(done.stdout, done.stderr)

    test.__name__ = body.__name__
    test.__doc__ = body.__doc__
    test.body = body  # type: ignore[attr-defined]
    return test


def main(source: str, name: str) -> None:
    """Calls the body of one test."""
    # As pytest has it: the test's own directory, and that of all tests.
    sys.path[:0] = [str(Path(source).parent), str(Path(source).parents[1])]
    specification = importlib.util.spec_from_file_location(Path(source).stem, source)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module
    specification.loader.exec_module(module)
    getattr(module, name).body()


if __name__ == "__main__":
    main(*sys.argv[1:])
