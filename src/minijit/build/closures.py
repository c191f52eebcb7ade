"""Variables of the function around, and `super()`.

A frame has the cells of such variables behind its other locals. What a cell holds stands in the heap, like an attribute
(see `references`): other functions may have the same cell. Of classes and functions in cells it is guarded that they
are those that were there when the region was built: methods know their class by such a cell.
"""

from __future__ import annotations

from types import CellType, FunctionType
from typing import TYPE_CHECKING

from minijit.build import references, stores
from minijit.build.handlers import Handlers
from minijit.events import ExitReason
from minijit.ir.kinds import ABSENT, Field
from minijit.ir.region import Const, Entry, EntryPoint, Hole, Reference

if TYPE_CHECKING:
    from minijit.build.builder import Builder
    from minijit.ir.bytecode import Code, Instruction
    from minijit.ir.region import Operand, Slot

HANDLERS = Handlers()
handles = HANDLERS.handles

CONTENT = Const(Field("cell_contents", 16, is_value=False))
CLOSURE = Const(Field("__closure__", 72, is_value=False))
"""Where a cell has what it holds, and a function its cells."""


def captured(code: Code) -> int:
    """How many variables a function has of those around it."""
    return len(code.code.co_freevars)


def own_cells(b: Builder, code: Code) -> list[Slot]:
    """The cells of the function that the region is entered by a call of."""
    return [_cell(b.op("free_variable", Const(k))) for k in range(captured(code))]


def cells_of(b: Builder, function: FunctionType, code: Code) -> list[Slot]:
    """Those of a function that is known."""
    assert function.__closure__ is not None or not captured(code)
    return [_cell(Const(cell)) for cell in function.__closure__ or ()]


def cells_in(b: Builder, slot: int, code: Code) -> list[Slot]:
    """Those of a function with this code that the entry has found in a slot."""
    if not captured(code):
        return []
    function = b.entry_object(slot)
    b.effect("guard_type", function, Const(FunctionType), reason=ExitReason.KIND)
    closure = b.op("load_field", function, CLOSURE, reason=ExitReason.UNBOUND)
    return [_cell(b.op("tuple_item", closure, Const(k))) for k in range(captured(code))]


def _cell(value: Operand) -> Reference:
    return Reference(value, Const(CellType))


@handles("COPY_FREE_VARS")
def _copy_free_vars(b: Builder, _: Instruction) -> None:
    """The cells are there already."""


@handles("LOAD_DEREF")
def _load_deref(b: Builder, i: Instruction) -> None:
    cell = _cell_in(b, i)
    if cell is None:
        b.unsupported(i.name)
        return
    content = _content(cell)
    if isinstance(content, type | FunctionType):
        found = b.op("load_field", cell, CONTENT, reason=ExitReason.UNBOUND)
        b.effect("guard_true", b.op("is_same", found, Const(content)), reason=ExitReason.KIND)
        b.state.push(Const(content))
    else:
        references.load_field(b, i, _cell(cell), CONTENT, content)


@handles("STORE_DEREF")
def _store_deref(b: Builder, i: Instruction) -> None:
    value, cell = b.state.pop(), _cell_in(b, i)
    if cell is None or not stores.store_field(b, i, _cell(cell), CONTENT, value):
        b.unsupported(i.name)


def _cell_in(b: Builder, i: Instruction) -> Operand | None:
    """The cell that an instruction is about; None if that is made by the frame itself."""
    slot = b.state.locals[i.arg]
    if isinstance(slot, Reference):
        return slot.value
    if not isinstance(slot, Entry) or b.request.root.point is not EntryPoint.LOOP or b.state.callers:
        return None
    cell = b.entry_object(slot.slot)
    # It is one: this says so to whoever looks at the region alone.
    b.effect("guard_type", cell, Const(CellType), reason=ExitReason.KIND)
    return cell


def _content(cell: Operand) -> object:
    """What a cell that is known holds now."""
    if not isinstance(cell, Const):
        return ABSENT
    try:
        return cell.value.cell_contents  # type: ignore[attr-defined]
    except ValueError:
        return ABSENT


@handles("LOAD_SUPER_ATTR")
def _load_super_attr(b: Builder, i: Instruction) -> None:
    """`super().name`: what a class behind the method's own has under a name, among all that the instance's is derived
    from."""
    owner, cls, kind_of_call = b.state.pop(), b.state.pop(), b.state.pop()
    name, is_called = b.code.code.co_names[i.arg >> 2], bool(i.arg & 1)
    kind = b.class_of(owner)
    found: Const | None = None
    is_super = kind_of_call == Const(super)
    if is_super and kind is not None and isinstance(cls, Const) and isinstance(cls.value, type):
        found = b.request.classes.behind(kind, cls.value, name)
    value = None if found is None else found.value
    if is_called and (isinstance(value, FunctionType) or value is object.__init__):
        b.state.push(Const(value))
        b.state.push(owner)
    else:
        b.unsupported(f"{i.name} {name}")


def is_nothing(function: object, arguments: list[Slot]) -> bool:
    """Whether a call does nothing: that of the constructor of `object`, for an instance whose class has its own."""
    return function is object.__init__ and len(arguments) == 1 and not isinstance(arguments[0], Hole)
