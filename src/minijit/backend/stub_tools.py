"""What the stubs have in common: where things are, and LLVM text that several of them use.

`common_text` has, among small ways to read and write: `ask`, which calls the driver at a threshold; `call_python`,
which does so with everything kept away that must not happen meanwhile; `settle`, which has changes dealt with; and
`relieve`, which accounts for the C stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.backend.words import Call
from minijit.cpython import abi, signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.cpython.changes import Changes

SHALLOW = 3000
"""Up to this recursion depth a frame below one of our stubs counts no C recursion, as it would not without us: the C
stack has room for it. Deeper, CPython's own limit protects the stack."""
HEADROOM = 500
"""How many frames more than the program's limit allows a handler of ours may have."""
EVAL_STACK_UNITS = 2
"""What one nested run of the interpreter loop takes from `c_recursion_remaining`."""


@dataclass(frozen=True, slots=True)
class StubAddresses:
    """What the stubs refer to: the words of the state, two maps, the argument buffer, the interpreter's words."""

    handler: int  # a word that holds the handler object, or NULL
    sites: int
    functions: int
    bound: int
    raw: int
    monitoring_version: int
    eval_breaker: int
    changes: Changes
    symbol: Callable[[str], int]


def word(words: tuple[str, ...], name: str) -> int:
    return 8 * words.index(name)


def c_function(at: StubAddresses, symbol: str) -> str:
    return f"inttoptr (i64 {at.symbol(symbol)} to ptr)"


def address_of(value: object) -> str:
    return f"inttoptr (i64 {id(value)} to ptr)"


def lift_limit() -> str:
    """A function that lets a thread go deeper for a while: our handlers need frames where the program has none left."""
    return f"""
define internal void @lift_limit(ptr %thread, i32 %by) alwaysinline {{
  %place = getelementptr i8, ptr %thread, i64 {abi.THREAD.py_recursion_remaining}
  %old = load i32, ptr %place
  %new = add i32 %old, %by
  store i32 %new, ptr %place
  %c_place = getelementptr i8, ptr %thread, i64 {abi.THREAD.c_recursion_remaining}
  %c_old = load i32, ptr %c_place
  %c_new = add i32 %c_old, %by
  store i32 %c_new, ptr %c_place
  ret void
}}
"""


def hold_back(symbol: Callable[[str], int]) -> str:
    """Two functions that do what `cpython.signals` does: `hold_back` gives what `let_through` takes."""
    main_thread = f"inttoptr (i64 {signals.main_thread()} to ptr)"
    return f"""
define internal i64 @hold_back() {{
  %main = load i64, ptr {main_thread}
  %me = call i64 inttoptr (i64 {symbol("PyThread_get_thread_ident")} to ptr)()
  %mine = icmp eq i64 %main, %me
  br i1 %mine, label %hold, label %others
hold:
  store i64 {signals.NOBODY}, ptr {main_thread}
  ret i64 %me
others:
  ret i64 {signals.NOBODY}
}}

define internal void @let_through(i64 %held_back) {{
  %nothing = icmp eq i64 %held_back, {signals.NOBODY}
  br i1 %nothing, label %done, label %let
let:
  store i64 %held_back, ptr {main_thread}
  %interpreter = call ptr inttoptr (i64 {symbol("PyInterpreterState_Main")} to ptr)()
  call void inttoptr (i64 {symbol("_PyEval_SignalReceived")} to ptr)(ptr %interpreter)
  br label %done
done:
  ret void
}}
"""


def common_text(at: StubAddresses) -> str:
    """The functions that the stubs share."""
    return f"""
define internal ptr @at(ptr %base, i64 %offset) alwaysinline {{
  %place = getelementptr i8, ptr %base, i64 %offset
  ret ptr %place
}}

define internal ptr @thread() alwaysinline {{
  %thread = call ptr {c_function(at, "PyThreadState_Get")}()
  ret ptr %thread
}}

define internal void @decref(ptr %object) {{
  call void {c_function(at, "Py_DecRef")}(ptr %object)
  ret void
}}

define internal i64 @bump(ptr %counter) alwaysinline {{
  %old = load i64, ptr %counter
  %new = add i64 %old, 1
  store i64 %new, ptr %counter
  ret i64 %new
}}

{lift_limit()}{hold_back(at.symbol)}
; Calls the handler at a threshold, which is kept at %hot_at; at the next occasion instead if the interpreter has been
; asked to do something else first.
define internal void @ask(i64 %kind, i64 %a, i64 %b, ptr %hot_at) noinline {{
entry:
  %asked = load volatile i32, ptr inttoptr (i64 {at.eval_breaker} to ptr)
  %free = icmp eq i32 %asked, 0
  br i1 %free, label %now, label %later
now:
  call void @call_python(i64 %kind, i64 %a, i64 %b)
  ret void
later:
  ; Not for ever: in a program that collects garbage all the time, something is always asked for.
  %postponed = call i64 @bump(ptr %hot_at)
  %low = and i64 %postponed, 7
  %enough = icmp eq i64 %low, 0
  br i1 %enough, label %now, label %done
done:
  ret void
}}

; Calls handler(kind, a, b) with monitoring off and signal handlers held back (see `signals`); nothing of it reaches
; the program.
define internal void @call_python(i64 %kind, i64 %a, i64 %b) noinline {{
entry:
  %arguments = alloca [4 x ptr]
  %handler = load ptr, ptr inttoptr (i64 {at.handler} to ptr)
  %off = icmp eq ptr %handler, null
  br i1 %off, label %done, label %box
box:
  %held_back = call i64 @hold_back()
  %thread = call ptr @thread()
  %tracing = call ptr @at(ptr %thread, i64 {abi.THREAD.tracing})
  %depth = load i32, ptr %tracing
  %deeper = add i32 %depth, 1
  store i32 %deeper, ptr %tracing
  call void @lift_limit(ptr %thread, i32 {HEADROOM})
  %kind_object = call ptr {c_function(at, "PyLong_FromLongLong")}(i64 %kind)
  %a_object = call ptr {c_function(at, "PyLong_FromLongLong")}(i64 %a)
  %b_object = call ptr {c_function(at, "PyLong_FromLongLong")}(i64 %b)
  %first = getelementptr ptr, ptr %arguments, i64 1
  store ptr %kind_object, ptr %first
  %second = getelementptr ptr, ptr %arguments, i64 2
  store ptr %a_object, ptr %second
  %third = getelementptr ptr, ptr %arguments, i64 3
  store ptr %b_object, ptr %third
  %result = call ptr {c_function(at, "PyObject_Vectorcall")}(ptr %handler, ptr %first, i64 {3 | -(2**63)}, ptr null)
  call void @decref(ptr %kind_object)
  call void @decref(ptr %a_object)
  call void @decref(ptr %b_object)
  call void @lift_limit(ptr %thread, i32 {-HEADROOM})
  store i32 %depth, ptr %tracing
  %raised = icmp eq ptr %result, null
  br i1 %raised, label %report, label %drop
report:
  call void {c_function(at, "PyErr_WriteUnraisable")}(ptr %handler)
  br label %ended
drop:
  call void @decref(ptr %result)
  br label %ended
ended:
  call void @let_through(i64 %held_back)
  br label %done
done:
  ret void
}}

; The value of a small non-negative int object, as the interpreter passes offsets.
define internal i64 @offset(ptr %object) alwaysinline {{
  %place = call ptr @at(ptr %object, i64 {abi.LONG.ob_digit})
  %digit = load i32, ptr %place
  %value = zext i32 %digit to i64
  ret i64 %value
}}

; Whether changes of namespaces have come up that were not dealt with (see `cpython.changes`).
define internal i1 @changes_are_due() alwaysinline {{
  %written = load i64, ptr inttoptr (i64 {at.changes.written} to ptr)
  %settled = load i64, ptr inttoptr (i64 {at.changes.settled} to ptr)
  %due = icmp ne i64 %written, %settled
  ret i1 %due
}}

; Has them dealt with, unless the interpreter has been asked to do something else first; whether any are due still.
define internal i1 @settle() noinline {{
entry:
  %asked = load volatile i32, ptr inttoptr (i64 {at.eval_breaker} to ptr)
  %free = icmp eq i32 %asked, 0
  br i1 %free, label %now, label %done
now:
  call void @call_python(i64 {Call.CHANGED:d}, i64 0, i64 0)
  br label %done
done:
  %due = call i1 @changes_are_due()
  ret i1 %due
}}

define internal ptr @site(ptr %code, i64 %offset) alwaysinline {{
  %address = ptrtoint ptr %code to i64
  %high = shl i64 %address, 16
  %key = or i64 %high, %offset
  %found = call i64 @map_find(ptr inttoptr (i64 {at.sites} to ptr), i64 %key)
  %site = inttoptr i64 %found to ptr
  ret ptr %site
}}

; Whether this thread is so little deep in Python calls that the C stack has room (see SHALLOW).
define internal i1 @is_shallow(ptr %thread) alwaysinline {{
  %limit_place = call ptr @at(ptr %thread, i64 {abi.THREAD.py_recursion_limit})
  %limit = load i32, ptr %limit_place
  %left_place = call ptr @at(ptr %thread, i64 {abi.THREAD.py_recursion_remaining})
  %left = load i32, ptr %left_place
  %depth = sub i32 %limit, %left
  %shallow = icmp slt i32 %depth, {SHALLOW}
  ret i1 %shallow
}}

; Gives back the C recursion that the interpreter loop below us is about to take; the amount given, to take back.
define internal i32 @relieve(ptr %thread) alwaysinline {{
  %shallow = call i1 @is_shallow(ptr %thread)
  %amount = select i1 %shallow, i32 {EVAL_STACK_UNITS}, i32 0
  call void @relieve_by(ptr %thread, i32 %amount)
  ret i32 %amount
}}

define internal void @relieve_by(ptr %thread, i32 %amount) alwaysinline {{
  %place = call ptr @at(ptr %thread, i64 {abi.THREAD.c_recursion_remaining})
  %old = load i32, ptr %place
  %new = add i32 %old, %amount
  store i32 %new, ptr %place
  ret void
}}
"""
