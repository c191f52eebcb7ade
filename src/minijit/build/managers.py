"""Context managers: `with` for instances whose classes have `__enter__` and `__exit__` as functions.

In its block the interpreter has the bound `__exit__` on the stack, and so it is here; it is made where the region is
left.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from minijit.build import operators, references
from minijit.build.handlers import Handlers
from minijit.build.inline import call_function
from minijit.ir.region import Const, Moot, VirtualMethod

if TYPE_CHECKING:
    from minijit.build.builder import Builder
    from minijit.ir.bytecode import Instruction
    from minijit.ir.region import Slot

HANDLERS = Handlers()
handles = HANDLERS.handles


@handles("BEFORE_WITH")
def _before_with(b: Builder, i: Instruction) -> None:
    """Beneath what `__enter__` gives is the `__exit__` of the object, as it was before."""
    if references.meet(b, i):
        return
    manager = b.state.pop()
    leave = operators.special(b, manager, "__exit__")
    if leave is None:
        b.unsupported(f"{i.name} __exit__")
        return
    b.state.push(VirtualMethod(Const(leave), manager, b.identity()))
    operators.call_special(b, manager, "__enter__", [], i)


@handles("WITH_EXCEPT_START")
def _with_except_start(b: Builder, i: Instruction) -> None:
    """Calls `__exit__` with the class of what was raised, the exception, and its traceback."""
    leave, raised = b.state.stack[-4], b.state.stack[-1]
    if not isinstance(leave, VirtualMethod) or not isinstance(raised, Moot):
        b.unsupported(i.name)
        return
    given: list[Slot] = [leave.owner, raised.cls, raised, Moot(Const(TracebackType))]
    call_function(b, leave.function.value, given, (), i)  # type: ignore[arg-type]
