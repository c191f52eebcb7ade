"""What the stubs have in common: where things are, and LLVM text that several of them use.

`common_text` has, among small ways to read and write: `count`, which calls the driver at a threshold; `ask`, which
puts that off while the interpreter has other things to do; `call_python`, which does it now; `settle`, which has
changes dealt with; `end_run`, which says that a region is left; and `relieve` and `spare`, which look after the C
stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.backend.handler_stub import handler_text
from minijit.backend.words import SHALLOW, Call
from minijit.cpython import abi

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.cpython.changes import Changes

EVAL_STACK_UNITS = 2
"""What one nested run of the interpreter loop takes from `c_recursion_remaining`."""


@dataclass(frozen=True, slots=True)
class StubAddresses:
    """What the stubs refer to: the words of the state, two maps, the argument buffer, the interpreter's words."""

    handler: int  # a word that holds the handler object, or NULL
    on_instruction: int  # the same of the handler for a recording's steps
    checks: int  # the same of those for calls that are done both ways (`CHECK_WORDS`)
    scout_start: int  # the same of those for events of code that is not known
    scout_jump: int
    interpreting: int  # a word: how many calls are done by the interpreter alone, to be compared
    sampling: int  # the words that say which of those
    sites: int
    functions: int
    bound: int
    raw: int
    kept: int  # the buffer for what regions keep
    relied: int  # the map of what regions rely on in namespaces
    others: int  # a word with the bits of dict watchers that are not ours
    near: int  # a word: see `is_near`
    monitoring_version: int
    eval_breaker: int
    raising: int  # a PyMethodDef, of `raise_self`
    running: int  # the word that names the region in one of its first runs; 0 if there is none
    changes: Changes
    symbol: Callable[[str], int]


def word(words: tuple[str, ...], name: str) -> int:
    return 8 * words.index(name)


def c_function(at: StubAddresses, symbol: str) -> str:
    return f"inttoptr (i64 {at.symbol(symbol)} to ptr)"


def address_of(value: object) -> str:
    return f"inttoptr (i64 {id(value)} to ptr)"


def common_text(at: StubAddresses) -> str:
    """The functions that the stubs share."""
    asking = (handler_text(at.symbol), _count(), _ask(at), _call_python(at))
    changes = (_offset(), _changes_are_due(at), _settle(at), _site(at))
    return "".join((_access(), _small(at), *asking, *changes, _end_run(at), _is_shallow(), _is_near(at), _relieve()))


def _access() -> str:
    """`at`, what reads and writes there (`get_ptr`, `set_i32`), and the same by index (`item_ptr`, `set_item_i64`)."""
    place = """
define internal ptr @at(ptr %base, i64 %offset) alwaysinline {
  %place = getelementptr i8, ptr %base, i64 %offset
  ret ptr %place
}
"""
    fields = (_access_as("get_", "set_", "i8", kind) for kind in ("ptr", "i64", "i32", "i16", "i8"))
    items = (_access_as("item_", "set_item_", kind, kind) for kind in ("ptr", "i64"))
    return "".join((place, *fields, *items))


def _access_as(get: str, put: str, unit: str, kind: str) -> str:
    return f"""
define internal {kind} @{get}{kind}(ptr %base, i64 %offset) alwaysinline {{
  %place = getelementptr {unit}, ptr %base, i64 %offset
  %value = load {kind}, ptr %place
  ret {kind} %value
}}

define internal void @{put}{kind}(ptr %base, i64 %offset, {kind} %value) alwaysinline {{
  %place = getelementptr {unit}, ptr %base, i64 %offset
  store {kind} %value, ptr %place
  ret void
}}
"""


def _small(at: StubAddresses) -> str:
    return f"""
define internal ptr @thread() alwaysinline {{
  %thread = call ptr {c_function(at, "PyThreadState_Get")}()
  ret ptr %thread
}}

define internal void @decref(ptr %object) {{
  call void {c_function(at, "Py_DecRef")}(ptr %object)
  ret void
}}

; Where an object has an attribute (see `snapshots.where`).
define internal ptr @field_place(ptr %object, i64 %where) alwaysinline {{
entry:
  %offset = lshr i64 %where, 1
  %is_value = trunc i64 %where to i1
  br i1 %is_value, label %value, label %done
value:
  %word = call ptr @get_ptr(ptr %object, i64 {abi.INSTANCE.values})
  %values = getelementptr i8, ptr %word, i64 1
  br label %done
done:
  %base = phi ptr [ %object, %entry ], [ %values, %value ]
  %place = call ptr @at(ptr %base, i64 %offset)
  ret ptr %place
}}

; To a 32-bit word, such as those of a thread's state.
define internal void @add_to(ptr %place, i32 %more) alwaysinline {{
  %old = load i32, ptr %place
  %new = add i32 %old, %more
  store i32 %new, ptr %place
  ret void
}}

define internal i64 @bump(ptr %counter) alwaysinline {{
  %old = load i64, ptr %counter
  %new = add i64 %old, 1
  store i64 %new, ptr %counter
  ret i64 %new
}}
"""


def _count() -> str:
    return """
; Adds one to a counter and calls the handler if that makes it the threshold that is kept at %hot_at.
define internal void @count(ptr %counter, ptr %hot_at, i64 %kind, i64 %a, i64 %b) alwaysinline {
entry:
  %number = call i64 @bump(ptr %counter)
  %threshold = load i64, ptr %hot_at
  %hot = icmp eq i64 %number, %threshold
  br i1 %hot, label %tell, label %done
tell:
  call void @ask(i64 %kind, i64 %a, i64 %b, ptr %hot_at)
  br label %done
done:
  ret void
}
"""


def _ask(at: StubAddresses) -> str:
    return f"""
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
"""


def _call_python(at: StubAddresses) -> str:
    return f"""
; Calls handler(kind, a, b), if there is one.
define internal void @call_python(i64 %kind, i64 %a, i64 %b) noinline {{
entry:
  %arguments = alloca [4 x ptr]
  %handler = load ptr, ptr inttoptr (i64 {at.handler} to ptr)
  %off = icmp eq ptr %handler, null
  br i1 %off, label %done, label %box
box:
  %kind_object = call ptr {c_function(at, "PyLong_FromLongLong")}(i64 %kind)
  %a_object = call ptr {c_function(at, "PyLong_FromLongLong")}(i64 %a)
  %b_object = call ptr {c_function(at, "PyLong_FromLongLong")}(i64 %b)
  %first = getelementptr ptr, ptr %arguments, i64 1
  store ptr %kind_object, ptr %first
  call void @set_item_ptr(ptr %arguments, i64 2, ptr %a_object)
  call void @set_item_ptr(ptr %arguments, i64 3, ptr %b_object)
  %result = call ptr @call_handler(ptr %handler, ptr %first, i64 3)
  call void @decref(ptr %result)
  call void @decref(ptr %kind_object)
  call void @decref(ptr %a_object)
  call void @decref(ptr %b_object)
  br label %done
done:
  ret void
}}
"""


def _offset() -> str:
    return f"""
; The value of a small non-negative int object, as the interpreter passes offsets.
define internal i64 @offset(ptr %object) alwaysinline {{
  %digit = call i32 @get_i32(ptr %object, i64 {abi.LONG.ob_digit})
  %value = zext i32 %digit to i64
  ret i64 %value
}}
"""


def _changes_are_due(at: StubAddresses) -> str:
    return f"""
; Whether changes of namespaces have come up that were not dealt with (see `cpython.changes`).
define internal i1 @changes_are_due() alwaysinline {{
  %written = load i64, ptr inttoptr (i64 {at.changes.written} to ptr)
  %settled = load i64, ptr inttoptr (i64 {at.changes.settled} to ptr)
  %due = icmp ne i64 %written, %settled
  ret i1 %due
}}
"""


def _settle(at: StubAddresses) -> str:
    return f"""
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
"""


def _site(at: StubAddresses) -> str:
    return f"""
define internal ptr @site(ptr %code, i64 %offset) alwaysinline {{
  %address = ptrtoint ptr %code to i64
  %high = shl i64 %address, 16
  %key = or i64 %high, %offset
  %found = call i64 @map_find(ptr inttoptr (i64 {at.sites} to ptr), i64 %key)
  %site = inttoptr i64 %found to ptr
  ret ptr %site
}}
"""


def _end_run(at: StubAddresses) -> str:
    if not at.running:
        return "define internal void @end_run() alwaysinline {\n  ret void\n}\n"
    return f"""
; Says that the region is left, if anybody was told that it runs (see `entry.Trial`).
define internal void @end_run() alwaysinline {{
entry:
  %key = load volatile i64, ptr inttoptr (i64 {at.running} to ptr)
  %trusted = icmp eq i64 %key, 0
  br i1 %trusted, label %done, label %told
told:
  store volatile i64 0, ptr inttoptr (i64 {at.running} to ptr)
  br label %done
done:
  ret void
}}
"""


def _is_shallow() -> str:
    return f"""
; Whether this thread is so little deep in Python calls that the C stack has room (see SHALLOW).
define internal i1 @is_shallow(ptr %thread) alwaysinline {{
  %limit = call i32 @get_i32(ptr %thread, i64 {abi.THREAD.py_recursion_limit})
  %left = call i32 @get_i32(ptr %thread, i64 {abi.THREAD.py_recursion_remaining})
  %depth = sub i32 %limit, %left
  %shallow = icmp slt i32 %depth, {SHALLOW}
  ret i1 %shallow
}}
"""


def _is_near(at: StubAddresses) -> str:
    return f"""
; How much C stack is between the interpreter's loop, in whose frame `cframe` lies, and the stub that asks.
define internal i64 @distance(ptr %thread) alwaysinline {{
  %cframe = call i64 @get_i64(ptr %thread, i64 {abi.THREAD.cframe})
  %here = call ptr @llvm.frameaddress.p0(i32 0)
  %here_word = ptrtoint ptr %here to i64
  %distance = sub i64 %cframe, %here_word
  ret i64 %distance
}}

; Whether the interpreter's loop has called this stub by itself. Otherwise C code is in between, such as that of
; `sorted`, and C recursion counts as it would without us: CPython's limit protects the stack from that code.
define internal i1 @is_near(ptr %thread) alwaysinline {{
  %distance = call i64 @distance(ptr %thread)
  %most = load i64, ptr inttoptr (i64 {at.near} to ptr)
  %near = icmp ule i64 %distance, %most
  ret i1 %near
}}
"""


def _relieve() -> str:
    return f"""
; Leaves calls of the function to the interpreter where the thread is deep in Python calls.
define internal void @spare(ptr %thread, ptr %function) {{
  %shallow = call i1 @is_shallow(ptr %thread)
  br i1 %shallow, label %done, label %deep
deep:
  %function_word = ptrtoint ptr %function to i64
  call void @call_python(i64 {Call.DEEP:d}, i64 %function_word, i64 0)
  br label %done
done:
  ret void
}}

; Gives back the C recursion that the interpreter loop below us is about to take, if a call without us would take none;
; the amount given, to take back.
define internal i32 @relieve(ptr %thread) alwaysinline {{
  %near = call i1 @is_near(ptr %thread)
  %amount = call i32 @relieve_if(ptr %thread, i1 %near)
  ret i32 %amount
}}

; The same in a stub that knows whether the interpreter's loop has called the region by itself.
define internal i32 @relieve_if(ptr %thread, i1 %near) alwaysinline {{
  %shallow = call i1 @is_shallow(ptr %thread)
  %free = and i1 %shallow, %near
  %amount = select i1 %free, i32 {EVAL_STACK_UNITS}, i32 0
  call void @relieve_by(ptr %thread, i32 %amount)
  ret i32 %amount
}}

define internal void @relieve_by(ptr %thread, i32 %amount) alwaysinline {{
  %place = call ptr @at(ptr %thread, i64 {abi.THREAD.c_recursion_remaining})
  call void @add_to(ptr %place, i32 %amount)
  ret void
}}
"""
