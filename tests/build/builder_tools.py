"""A small language for tests of the builder: a source and the kinds it is entered with in, the region as text out.

`.case` files hold cases one below the other:

    # What the case shows.
    --- call(int, float) seen=2,3
    def f(a, b):
        ...
    --- region
    region f call(int, float)
    ...

The header says where the region is entered (`loop` is the first loop) and with which kinds. Everything counts as seen,
unless `seen` lists the lines of the source that a recording took. `volatile` lists globals that change too often,
`blocks` and `versions` are the budgets. An instance of a class of the source is written `Point<x:float y:int>`, with the
attributes that are variables. The function is the last one that the source defines, and nothing runs but the source
itself.

As a script, with `tests` on the path, it writes the regions anew, into the files given or all of them: read the diff.
"""

from __future__ import annotations

import builtins
import dis
import itertools
import re
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

from minijit.build.builder import Builder
from minijit.build.bytecodes import HANDLERS
from minijit.build.request import Build, Classes, Request, Scope
from minijit.ir.bytecode import Code, decode
from minijit.ir.check import check_region
from minijit.ir.eval import Left, Outcome, Returned, evaluate
from minijit.ir.kinds import ClassKind, EntryKind, Field, Kind, SlotKind, held_fields
from minijit.ir.region import Const, EntryPoint, Jump, Leave, Op, Operand, Region, Return, Slot, Value, VirtualTuple
from minijit.ir.text import print_region, renumber
from minijit.ir.trace import Profile, Root
from strategies.regions import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CASES = Path(__file__).parent / "cases"
BLOCKS, VERSIONS = 600, 4
"""The budgets of the default configuration."""


def function_of(source: str) -> FunctionType:
    """The last function that a source defines; one that defines none is a module's, in the form of a function."""
    namespace: dict[str, object] = {}
    module = compile(source, "<case>", "exec")
    if not any(line.startswith("def ") for line in source.splitlines()):
        return FunctionType(module, namespace)
    exec(module, namespace)
    return [value for value in namespace.values() if isinstance(value, FunctionType)][-1]


def build(
    program: str | FunctionType,
    *kinds: str,
    header: int | None = None,
    seen: Iterable[int] | None = None,
    volatile: Iterable[str] = (),
    blocks: int = BLOCKS,
    versions: int = VERSIONS,
    tops: str = "",
    inlined: int = 0,
    met: Mapping[str, str] | None = None,
) -> Build:
    """The build of a function, or of one of its loops, for entry kinds.

    `seen` are lines; `tops` is what recordings saw on the stack, and `met` the classes that they saw there behind
    instructions of these names, or with these arguments: `{"xs": "list", "BINARY_SUBSCR": "int|float"}`.
    """
    function = function_of(program) if isinstance(program, str) else program
    code = decode(function.__code__)
    profile = Profile(_offsets(code, seen), dict.fromkeys(code.instructions, tops))
    for instruction in dis.get_instructions(function.__code__):
        names = (met or {}).get(str(instruction.argval), (met or {}).get(instruction.opname, ""))
        known = vars(builtins) | function.__globals__ | {"NoneType": type(None)}
        classes = [known[name] for name in names.split("|") if name]
        if classes:
            profile.classes[code.instructions[instruction.offset].next] = tuple(map(weakref.ref, classes))
    root = Root(EntryPoint.CALL, 0) if header is None else Root(EntryPoint.LOOP, header)
    namespace = function.__globals__
    entry_kinds = tuple(kind_of(kind, namespace) for kind in kinds)
    names = () if header is None else code.loop_names(header)
    request = Request(
        scope=Scope(code, namespace, vars(builtins), names, held_fields(entry_kinds)),
        profile=profile,
        root=root,
        entry_kinds=entry_kinds,
        compile_unseen=seen is None,
        max_blocks=blocks,
        max_versions=versions,
        volatile=frozenset((id(namespace), name) for name in volatile),
        inlines=lambda _: True,
        max_inlined=inlined,
        classes=CLASSES,
    )
    made = Builder(request, HANDLERS).build()
    assert check_region(made.region) == (), (print_region(made.region), check_region(made.region))
    return made


def kind_of(text: str, namespace: dict[str, object]) -> SlotKind:
    """An entry kind, as a header has it."""
    name, _, rest = text.partition("<")
    if not rest:
        return EntryKind(text)
    cls = namespace[name]
    assert isinstance(cls, type)
    fields = []
    for index, one in enumerate(rest.removesuffix(">").split()):
        attribute, _, kind = one.partition(":")
        fields.append((Field(attribute, 8 * index, is_value=True), EntryKind(kind)))
    return ClassKind(id(cls), 1, len(fields), tuple(fields), name, weakref.ref(cls))


def _attribute(kind: ClassKind, name: str) -> Const | None:
    cls = kind.cls()
    found = [vars(base)[name] for base in (cls.__mro__ if cls is not None else ()) if name in vars(base)]
    return Const(found[0]) if found else None


def _field(kind: ClassKind, name: str) -> Field | None:
    """Attributes have places by the first letters of their names, where the class has nothing of the name."""
    found = _attribute(kind, name)
    return Field(name, 8 * (ord(name[0]) - ord("a")), is_value=True) if found is None else None


def _bases(kind: ClassKind) -> tuple[type, ...]:
    cls = kind.cls()
    return () if cls is None else cls.__mro__


def _behind(kind: ClassKind, cls: type, name: str) -> Const | None:
    bases = _bases(kind)
    found = [vars(base)[name] for base in bases[bases.index(cls) + 1 :] if name in vars(base)]
    return Const(found[0]) if found else None


def _seen(cls: type) -> ClassKind | None:
    return ClassKind(id(cls), 1, -1, (), cls.__name__, weakref.ref(cls))


def _met(cls: type) -> ClassKind | None:
    return _seen(cls) if cls.__flags__ & 1 << 9 else None


CLASSES = Classes(_attribute, _field, lambda _: True, _bases, _seen, lambda _: True, _met, _behind)


def _offsets(code: Code, lines: Iterable[int] | None) -> set[int]:
    wanted = set(lines or ())
    return {offset for offset in code.instructions if code.line(offset) in wanted}


def region_of(program: str | FunctionType, *kinds: str, **options: object) -> Region:
    """The region alone, with its values numbered in order."""
    return renumber(build(program, *kinds, **options).region)  # type: ignore[arg-type]


# Case files


@dataclass(frozen=True, slots=True)
class BuildCase:
    """One case of a file. `head` is its comment, `header` what stands behind `---`."""

    file: Path
    head: str
    header: str
    source: str
    wanted: str

    @property
    def name(self) -> str:
        return f"{self.file.stem}: {self.head.splitlines()[0].removeprefix('#').strip()}"

    def region(self) -> str:
        return print_region(self.made())

    def made(self) -> Region:
        """The region that the builder makes of the source."""
        match = re.fullmatch(r"(call|loop)\(([\w, <>:]*)\)((?: \w+=\S+)*)", self.header)
        assert match is not None, f"{self.name}: {self.header}"
        options = dict(option.split("=") for option in match[3].split())
        volatile = options.pop("volatile", "").split(",")
        seen = [int(line) for line in options.pop("seen").split(",")] if "seen" in options else None
        met = dict(each.split(":") for each in options.pop("met").split(",")) if "met" in options else None
        budgets = {name: int(options.pop(name)) for name in ("blocks", "versions", "inlined") if name in options}
        assert not options, f"{self.name}: {options}"
        kinds = [kind.strip() for kind in match[2].split(",") if kind]
        function = function_of(self.source)
        header = min(decode(function.__code__).loops) if match[1] == "loop" else None
        return region_of(function, *kinds, header=header, seen=seen, volatile=volatile, met=met, **budgets)

    def text(self) -> str:
        return f"{self.head}--- {self.header}\n{self.source}--- region\n{self.region()}"


_CASE = re.compile(r"((?:#.*\n)+)--- (.*)\n((?:.*\n)*?)--- region\n((?:(?!#).*\n)*)")


def read_cases(file: Path) -> list[BuildCase]:
    """The cases of a file; everything in it belongs to one."""
    text = file.read_text(encoding="utf-8")
    found = list(_CASE.finditer(text))
    assert "".join(match.group() for match in found) == text, f"{file.name} is not made of cases"
    return [BuildCase(file, *match.groups()) for match in found]


def case_files() -> list[Path]:
    return sorted(CASES.glob("*.case"))


def all_cases() -> list[BuildCase]:
    return [case for file in case_files() for case in read_cases(file)]


def update(files: Iterable[Path]) -> None:
    for file in files:
        texts = [case.text().rstrip("\n") + "\n" for case in read_cases(file)]
        file.write_text("\n".join(texts), encoding="utf-8")


# Straight lines


def expression_of(region: Region, names: tuple[str, ...]) -> str:
    """What a region without branches does, as one line: `int_add(a, 1)!overflow` may leave for that reason."""
    return "; ".join(_statements(region, names))


def _statements(region: Region, names: tuple[str, ...]) -> Iterator[str]:
    known: dict[Value, str] = {value: names[slot] for slot, _, value in region.inputs()}
    block = region.blocks[0]
    while True:
        for op in block.ops:
            text = _op(region, op, known)
            if op.result is None:
                yield text
            elif op.result.kind is not Kind.ANY:
                known[op.result] = text
            else:
                known[op.result] = "any"  # a local that is dead by now
        match block.end:
            case Jump(edge):
                block = region.blocks[edge.target]
                known.update(zip(block.params, [_operand(arg, known) for arg in edge.args], strict=True))
            case Return(value):
                yield _slot(value, known)
                return
            case Leave(exit):
                yield f"leave: {region.exits[exit].reason.label} {region.exits[exit].detail}".rstrip()
                return
            case _:
                raise AssertionError(f"this region has branches:\n{print_region(region)}")


def _op(region: Region, op: Op, known: dict[Value, str]) -> str:
    way = "" if op.exit is None else f"!{region.exits[op.exit].reason.label}"
    return f"{op.name}({', '.join(_operand(arg, known) for arg in op.args)}){way}"


def _operand(operand: Operand, known: dict[Value, str]) -> str:
    if isinstance(operand, Value):
        return known[operand]
    return getattr(operand.value, "__name__", None) or repr(operand.value)


def _slot(slot: Slot, known: dict[Value, str]) -> str:
    if isinstance(slot, VirtualTuple):
        return f"({', '.join(_slot(item, known) for item in slot.items)})"
    assert not isinstance(slot, Value) or slot in known
    return _operand(slot, known)  # type: ignore[arg-type]


# What regions mean

SAMPLES: dict[str, tuple[object, ...]] = {
    "int": (0, 1, -1, 2, 3, -7, 63, 64, 255, 2**31, 2**53 + 1, -(2**62), 2**63 - 1, -(2**63)),
    "float": (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e22, 5e-324, 1e308, 2.0**63, float("inf"), float("nan")),
    "bool": (False, True),
    "none": (None,),
}


def outcomes(program: str, kinds: tuple[str, ...], **options: object) -> list[tuple[tuple[object, ...], Outcome]]:
    """How the region of a function ends, for samples of each kind."""
    region = region_of(program, *kinds, **options)
    return [(inputs, evaluate(region, _inputs(region, inputs))) for inputs in samples_of(kinds)]


def samples_of(kinds: tuple[str, ...]) -> list[tuple[object, ...]]:
    return list(itertools.product(*(SAMPLES[kind] for kind in kinds)))


def _inputs(region: Region, inputs: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(inputs[slot] for slot, _, _ in region.inputs())


def check_meaning(program: str, *kinds: str, **options: object) -> int:
    """Compares region and function; gives how many calls returned. Only a value of 64 bits may be returned."""
    function = function_of(program)
    returned = 0
    for inputs, outcome in outcomes(program, kinds, **options):
        if isinstance(outcome, Returned):
            assert canonical(outcome.value) == canonical(function(*inputs)), inputs
            returned += 1
        else:
            assert isinstance(outcome, Left)
    return returned


if __name__ == "__main__":
    update([Path(name) for name in sys.argv[1:]] or case_files())
