"""minijit: a tracing JIT for stock CPython 3.12 in Python alone.

Importing this package changes nothing and costs next to nothing: everything is loaded when first used.
"""

from __future__ import annotations

import builtins
import sys

TYPE_CHECKING = False  # `typing` takes most of the time that importing this package would take

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from minijit import events
    from minijit.config import Config, ConfigError
    from minijit.config import __version__ as __version__
    from minijit.driver.api import (
        Session,
        compile,
        disable,
        enable,
        explain,
        is_compiled,
        is_enabled,
        jit,
        load_ipython_extension,
        release,
        stats,
        subscribe,
        suppress,
        unload_ipython_extension,
    )
    from minijit.driver.process import UnsupportedWarning
    from minijit.events import Stats
    from minijit.report.explain import Explanation
    from minijit.runtime import policy as policies
    from minijit.runtime.policy import Policy

_HOMES = {
    "minijit.config": ("Config", "ConfigError", "__version__"),
    "minijit.driver.api": (
        "Session",
        "compile",
        "disable",
        "enable",
        "explain",
        "is_compiled",
        "is_enabled",
        "jit",
        "load_ipython_extension",
        "release",
        "stats",
        "subscribe",
        "suppress",
        "unload_ipython_extension",
    ),
    "minijit.driver.process": ("UnsupportedWarning",),
    "minijit.events": ("Stats",),
    "minijit.report.explain": ("Explanation",),
    "minijit.runtime.policy": ("Policy",),
}
_MODULES = {"events": "minijit.events", "policies": "minijit.runtime.policy"}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Config",
    "ConfigError",
    "Explanation",
    "Policy",
    "Session",
    "Stats",
    "UnsupportedWarning",
    "compile",
    "disable",
    "enable",
    "events",
    "explain",
    "is_compiled",
    "is_enabled",
    "jit",
    "load_ipython_extension",
    "policies",
    "release",
    "stats",
    "subscribe",
    "suppress",
    "unload_ipython_extension",
]


def _with_builtins_of_our_own() -> None:
    """Gives our modules a dict of builtins that the program does not change: it may replace `abs`, or `len`, whenever
    it likes, and means its own code. So they are loaded from their files by a loader that puts it in place first."""
    external = sys.modules["_frozen_importlib_external"]
    ours = dict(vars(builtins))

    class Loader(external.SourceFileLoader):  # type: ignore[name-defined, misc]
        def exec_module(self, module: ModuleType) -> None:
            module.__dict__["__builtins__"] = ours
            super().exec_module(module)

    for package in _PACKAGES:
        directory = f"{__path__[0]}{package}"
        sys.path_importer_cache[directory] = external.FileFinder(directory, (Loader, [".py"]))


_PACKAGES = ("", *map("/{}".format, "backend build cpython driver ir opt oracle record report runtime".split()))
if isinstance(getattr(__spec__, "loader", None), sys.modules["_frozen_importlib_external"].SourceFileLoader):
    _with_builtins_of_our_own()


def __getattr__(name: str) -> Any:
    """Loads a public name from its home, once."""
    if name not in _MODULES and name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = import_module(_MODULES[name]) if name in _MODULES else getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
