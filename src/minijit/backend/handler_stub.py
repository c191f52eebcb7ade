"""How machine code calls a handler of ours in Python, at any moment, without the program's noticing.

In: the address lookup for C functions. Out: LLVM text that defines `@call_handler(handler, arguments, count)`, where
`arguments` has a free word before it, as vectorcalls like it. While the handler runs, the program's signal handlers
are held back (see `cpython.signals`: one that raised would leave undone what the handler is there for), monitoring
and tracing are off in this thread, so that no debugger steps into it, it may go deeper than the program, and the
garbage collector is off and does not count the objects that it makes, so that collections are where they would be.
That is so only where there is one thread: others, which run whenever this one waits, make garbage of their own, and
must not be left with it. The handler's answer is returned, as a new reference; NULL if it raised, which is reported as
unraisable. An exception that is pending must have been set aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.cpython import abi, signals

if TYPE_CHECKING:
    from collections.abc import Callable

HEADROOM = 500
"""How many frames more than the program's limit allows a handler of ours may have."""


def handler_text(symbol: Callable[[str], int]) -> str:
    """The text of `call_handler` and of what it consists of."""

    def function(name: str) -> str:
        return f"inttoptr (i64 {symbol(name)} to ptr)"

    return f"""{_hold_back(function)}{lift_limit()}{_is_alone(function)}
define internal ptr @call_handler(ptr %handler, ptr %arguments, i64 %count) noinline {{
entry:
  ; It may be replaced while it runs.
  call void {function("Py_IncRef")}(ptr %handler)
  %held_back = call i64 @hold_back()
  %thread = call ptr {function("PyThreadState_Get")}()
  %tracing = getelementptr i8, ptr %thread, i64 {abi.THREAD.tracing}
  %depth = load i32, ptr %tracing
  %deeper = add i32 %depth, 1
  store i32 %deeper, ptr %tracing
  call void @lift_limit(ptr %thread, i32 {HEADROOM})
  %interpreter = call ptr {function("PyInterpreterState_Main")}()
  %collects_place = getelementptr i8, ptr %interpreter, i64 {abi.INTERPRETER.gc_enabled}
  %collects = load i32, ptr %collects_place
  %young_place = getelementptr i8, ptr %interpreter, i64 {abi.INTERPRETER.gc_count}
  %young = load i32, ptr %young_place
  %was_alone = call i1 @is_alone(ptr %interpreter)
  br i1 %was_alone, label %off, label %work
off:
  store i32 0, ptr %collects_place
  br label %work
work:
  %how = or i64 %count, {-(2**63)}
  %result = call ptr {function("PyObject_Vectorcall")}(ptr %handler, ptr %arguments, i64 %how, ptr null)
  br i1 %was_alone, label %on, label %settle
on:
  store i32 %young, ptr %young_place
  store i32 %collects, ptr %collects_place
  br label %settle
settle:
  call void @lift_limit(ptr %thread, i32 {-HEADROOM})
  store i32 %depth, ptr %tracing
  %raised = icmp eq ptr %result, null
  br i1 %raised, label %report, label %done
report:
  call void {function("PyErr_WriteUnraisable")}(ptr %handler)
  br label %done
done:
  call void {function("Py_DecRef")}(ptr %handler)
  call void @let_through(i64 %held_back)
  ret ptr %result
}}
"""


def _hold_back(function: Callable[[str], str]) -> str:
    """Two functions that do what `cpython.signals` does: `hold_back` gives what `let_through` takes."""
    main_thread = f"inttoptr (i64 {signals.main_thread()} to ptr)"
    return f"""
define internal i64 @hold_back() {{
  %main = load i64, ptr {main_thread}
  %me = call i64 {function("PyThread_get_thread_ident")}()
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
  %interpreter = call ptr {function("PyInterpreterState_Main")}()
  call void {function("_PyEval_SignalReceived")}(ptr %interpreter)
  br label %done
done:
  ret void
}}

; The destructor of a capsule whose pointer is what `hold_back` gave.
define void @release(ptr %capsule) {{
  %me = call i64 {function("PyCapsule_GetPointer")}(ptr %capsule, ptr null)
  call void @let_through(i64 %me)
  ret void
}}
"""


def lift_limit() -> str:
    """Lets a thread go deeper for a while: the program may have no frames left."""
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


def _is_alone(function: Callable[[str], str]) -> str:
    return f"""
; Whether an interpreter has no thread but this one.
define internal i1 @is_alone(ptr %interpreter) {{
  %first = call ptr {function("PyInterpreterState_ThreadHead")}(ptr %interpreter)
  %second = call ptr {function("PyThreadState_Next")}(ptr %first)
  %alone = icmp eq ptr %second, null
  ret i1 %alone
}}
"""
