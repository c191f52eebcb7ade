"""Who may import whom, and where the dangerous modules may be touched.

In: the syntax tree of every file below `src/minijit`. Out: a list of violations, one line each, which must
be empty. The table below is the one in docs/architecture.md; a new top-level module or package needs a row here
before it may exist, and a row is of something that exists. Imports under `TYPE_CHECKING` count as imports, since knowing another stage's types is knowing
that stage; they only do not count as executed. Names fetched through `getattr` are not seen: that is left to
review. Every rule has planted violations at the end, so that a checker that sees nothing cannot pass.
What is executed on `import minijit` is counted in a process of its own, by modules.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import RunPython

PACKAGE = "minijit"
SOURCES = Path(__file__).resolve().parent.parent / "src" / PACKAGE

BASE = frozenset({"config", "events"})
STAGE = BASE | {"ir"}
PIPELINE = STAGE | {"cpython", "record", "build", "opt", "backend", "runtime"}

# unit of the package (a top-level module or package) -> units it may import, besides itself
MAY_IMPORT: dict[str, frozenset[str]] = {
    "config": frozenset(),
    "events": frozenset(),
    "ir": BASE,
    "cpython": STAGE,
    "record": STAGE,
    "build": STAGE,
    "opt": STAGE,
    "backend": STAGE | {"cpython"},
    "runtime": STAGE | {"cpython"},
    "oracle": STAGE | {"cpython", "build", "opt", "backend"},
    "startup": BASE | {"cpython", "backend", "driver"},  # as `__main__` and `__init__`: where the outside comes in
    "driver": PIPELINE | {"report", "oracle"},  # explanations are made of what it knows; the mode `check`
    "report": STAGE,
    # Public names come from wherever they are defined; policies are defined in runtime.
    "__init__": BASE | {"driver", "runtime", "report"},
    "__main__": PIPELINE | {"driver", "report", "oracle", "__init__"},
}

# module -> where it may be imported: a unit, or one module of a unit
MODULE_HOMES: dict[str, frozenset[str]] = {
    "ctypes": frozenset({"cpython", "backend.engine"}),  # the engine calls raw addresses
    "_ctypes": frozenset({"cpython"}),
    "llvmlite": frozenset({"backend"}),
}

# (module, attribute) -> where it may be used
ATTRIBUTE_HOMES: dict[tuple[str, str], frozenset[str]] = {
    ("sys", "monitoring"): frozenset({"cpython"}),
    ("sys", "_getframe"): frozenset({"cpython"}),
    ("os", "environ"): frozenset({"config"}),
    ("os", "environb"): frozenset({"config"}),
    ("os", "getenv"): frozenset({"config"}),
    ("os", "putenv"): frozenset({"config"}),
}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, and the name taken from it if any; `executed` on import of the importing file."""

    module: str
    name: str | None
    line: int
    executed: bool


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the package: its dotted name below the package, and its syntax tree."""

    dotted: str
    is_package: bool
    tree: ast.Module

    @property
    def unit(self) -> str:
        return self.dotted.split(".")[0]

    def is_at(self, homes: frozenset[str]) -> bool:
        return any(self.dotted == home or self.dotted.startswith(home + ".") for home in homes)


def parse(path: str, text: str) -> Source:
    """Name the file as the import system does: `opt/imply.py` is `opt.imply`, `opt/__init__.py` is `opt`."""
    parts = list(Path(path).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    if is_package and len(parts) > 1:
        parts.pop()
    return Source(".".join(parts), is_package, ast.parse(text, path))


def imports_of(source: Source) -> Iterator[Import]:
    """Give every import with its absolute module name, relative and dynamic ones included."""
    for node, executed in walk(source.tree, executed=True):
        match node:
            case ast.Import(names=names):
                yield from (Import(alias.name, None, node.lineno, executed) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = absolute(source, module, level)
                yield from (Import(base, alias.name, node.lineno, executed) for alias in names)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield Import(module, None, node.lineno, executed)


def walk(node: ast.AST, *, executed: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Give all nodes, and whether an import executes them: function bodies and TYPE_CHECKING are not."""
    for child in ast.iter_child_nodes(node):
        yield child, executed
        deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and is_type_checking(child.test):
            for statement in child.body:
                yield statement, False
                yield from walk(statement, executed=False)
            for statement in child.orelse:
                yield statement, executed
                yield from walk(statement, executed=executed)
        else:
            yield from walk(child, executed=executed and not deferred)


def is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return False


def absolute(source: Source, module: str | None, level: int) -> str:
    """Resolve the module part of a `from` import."""
    if level == 0:
        return module or ""
    inside = [] if source.dotted == "__init__" else source.dotted.split(".")
    package = [PACKAGE, *(inside if source.is_package else inside[:-1])]
    # One dot is the file's own package; every further dot is one package up.
    base = package[: len(package) - (level - 1)]
    return ".".join([*base, *([module] if module else [])])


def unit_imported(imported: Import) -> str | None:
    """Give the unit of the package that an import reaches, or None for an import from elsewhere."""
    parts = imported.module.split(".")
    if parts[0] != PACKAGE:
        return None
    if len(parts) > 1:
        return parts[1]
    return imported.name if imported.name in MAY_IMPORT else "__init__"


def violations(source: Source) -> list[str]:
    """Give every broken rule of one file."""
    if source.unit not in MAY_IMPORT:
        return [f"{source.dotted}: no row for `{source.unit}` in the import table"]
    imports = list(imports_of(source))
    return [
        *unit_violations(source, imports),
        *module_violations(source, imports),
        *attribute_violations(source, imports),
    ]


def unit_violations(source: Source, imports: list[Import]) -> Iterator[str]:
    allowed = MAY_IMPORT[source.unit] | {source.unit}
    for imported in imports:
        unit = unit_imported(imported)
        if unit is not None and unit not in allowed:
            yield f"{source.dotted}:{imported.line}: `{source.unit}` may not import `{unit}`"


def module_violations(source: Source, imports: list[Import]) -> Iterator[str]:
    for imported in imports:
        top = imported.module.split(".")[0]
        if top in MODULE_HOMES and not source.is_at(MODULE_HOMES[top]):
            yield f"{source.dotted}:{imported.line}: `{top}` may not be imported here"
        elif top == "llvmlite" and imported.executed:
            yield f"{source.dotted}:{imported.line}: `llvmlite` must be imported inside a function"


def attribute_violations(source: Source, imports: list[Import]) -> Iterator[str]:
    """Look for `module.name` under any alias of the module, and for `from module import name`."""
    used = [(found.module, found.name, found.line) for found in imports if found.name is not None]
    aliases = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(source.tree):
        match node:
            case ast.Attribute(value=ast.Name(id=alias), attr=name) if alias in aliases:
                used.append((aliases[alias], name, node.lineno))
    for module, name, line in used:
        homes = ATTRIBUTE_HOMES.get((module, name))
        if homes is not None and not source.is_at(homes):
            yield f"{source.dotted}:{line}: `{module}.{name}` may not be used here"
        elif name == "*" and module in {"os", "sys"}:
            yield f"{source.dotted}:{line}: `from {module} import *` hides what is used"


def files() -> list[Path]:
    return sorted(SOURCES.rglob("*.py"))


def test_there_are_files_to_check() -> None:
    assert SOURCES / "config.py" in files()


def test_every_row_of_the_table_is_of_a_unit_that_exists() -> None:
    units = {parse(str(path.relative_to(SOURCES)), "").unit for path in files()}
    assert set(MAY_IMPORT) - units == set()


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCES)))
def test_file_keeps_the_import_table(path: Path) -> None:
    assert violations(parse(str(path.relative_to(SOURCES)), path.read_text())) == []


PLANTED = [
    # between units: absolute, relative, from the package itself, inside functions, for types only, dynamic
    ("config.py", "import minijit.events"),
    ("events.py", "from .config import Config"),
    ("ir/ops.py", "from minijit.cpython import abi"),
    ("ir/__init__.py", "from ..opt import imply"),
    ("cpython/hooks.py", "from ..backend.engine import Engine"),
    ("record/recorder.py", "from .. import cpython"),
    ("build/interpret.py", "from minijit.record.recorder import Trace"),
    ("build/deep/inner.py", "from ...record import recorder"),
    ("opt/imply.py", "from minijit import build"),
    ("opt/imply.py", "def late():\n    from ..driver import Driver"),
    ("opt/imply.py", "from minijit import jit"),
    ("opt/imply.py", "if TYPE_CHECKING:\n    from ..record import recorder"),
    ("opt/imply.py", "import importlib\nimportlib.import_module('minijit.record')"),
    ("backend/lower.py", "from ..runtime import deopt"),
    ("runtime/deopt.py", "import minijit.backend.engine as engine"),
    ("driver.py", "from .__main__ import main"),
    ("driver.py", "from . import jit"),
    ("report/html.py", "from ..driver import Driver"),
    ("oracle/check.py", "from ..driver import compiler"),
    ("opt/pipeline.py", "def late():\n    from ..oracle import compare"),
    ("__init__.py", "from .cpython import hooks"),
    ("__init__.py", "from . import backend"),
    ("helpers.py", "x = 1"),
    # ctypes, sys.monitoring, sys._getframe
    ("driver.py", "import ctypes"),
    ("runtime/deopt.py", "from ctypes import c_void_p"),
    ("runtime/deopt.py", "import ctypes.util"),
    ("runtime/deopt.py", "import _ctypes"),
    ("backend/lower.py", "def call():\n    import ctypes"),
    ("backend/engine_room.py", "import ctypes"),
    ("record/recorder.py", "import sys\nsys.monitoring.use_tool_id(1, 'x')"),
    ("record/recorder.py", "import sys as system\nframe = system._getframe(1)"),
    ("record/recorder.py", "from sys import _getframe"),
    ("record/recorder.py", "from sys import *"),
    # llvmlite
    ("opt/imply.py", "def late():\n    import llvmlite.binding"),
    ("opt/imply.py", "def late():\n    __import__('llvmlite')"),
    ("backend/engine.py", "import llvmlite"),
    ("backend/engine.py", "from llvmlite import ir"),
    ("backend/engine.py", "try:\n    from llvmlite import binding\nfinally:\n    pass"),
    ("backend/engine.py", "class Engine:\n    import llvmlite.binding as llvm"),
    ("backend/engine.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import llvmlite"),
    # the environment
    ("driver.py", "import os\nos.environ['X']"),
    ("driver.py", "import os\nos.getenv('X')"),
    ("backend/engine.py", "from os import environ as env"),
]

ALLOWED = [
    ("ir/text.py", "from .region import Region\nfrom ..config import Config\nimport re"),
    ("ir/__init__.py", "from . import region\nfrom .ops import OPS"),
    ("opt/imply.py", "from minijit import ir\nfrom ..ir.region import Region"),
    ("build/deep/inner.py", "from ..virtuals import Virtual\nfrom ...ir import ops"),
    ("cpython/abi.py", "import ctypes\nimport sys\nsys.monitoring.get_events(2)\nsys._getframe()"),
    ("backend/engine.py", "import ctypes\nfrom ..cpython import abi\ndef make():\n    import llvmlite"),
    ("backend/lower.py", "if TYPE_CHECKING:\n    from llvmlite import ir"),
    ("runtime/deopt.py", "from ..cpython.frames import Frame\nimport sys\nsys.getrecursionlimit()"),
    ("config.py", "import os\nos.environ.get('X')"),
    ("driver.py", "import os\nos.getpid()\nfrom . import record, build\nfrom .backend.engine import Engine"),
    ("__init__.py", "from .driver import jit\nfrom minijit.config import Config"),
    ("__main__.py", "from . import jit\nfrom .report import html"),
]


@pytest.mark.parametrize(("path", "text"), PLANTED)
def test_planted_violation_is_found(path: str, text: str) -> None:
    assert len(violations(parse(path, text))) == 1


@pytest.mark.parametrize(("path", "text"), ALLOWED)
def test_allowed_import_is_not_reported(path: str, text: str) -> None:
    assert violations(parse(path, text)) == []


LOADED = """
import sys
import __future__

def loaded(action):
    before = set(sys.modules)
    exec(action, {})
    return set(sys.modules) - before

print(*loaded("import minijit"))
print(*loaded("import minijit; minijit.is_enabled"))
"""


def test_importing_minijit_loads_one_module(run_python: RunPython) -> None:
    """Neither llvmlite nor ctypes, nor anything else: that comes with the first name that is used."""
    done = run_python(LOADED)
    assert (done.returncode, done.stderr) == (0, "")
    at_first, at_use = (set(line.split()) for line in done.stdout.splitlines())
    assert at_first == {PACKAGE}
    assert f"{PACKAGE}.driver" in at_use
    assert not {name for name in at_first | at_use if name.split(".")[0] == "llvmlite"}


def test_the_table_has_no_cycle() -> None:
    """The pipeline's data goes one way, so a table that lets two units import each other is itself wrong."""
    done: set[str] = set()
    while ready := {unit for unit, needs in MAY_IMPORT.items() if unit not in done and needs <= done}:
        done |= ready
    assert done == set(MAY_IMPORT)
