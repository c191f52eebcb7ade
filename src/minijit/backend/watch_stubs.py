"""The watcher callbacks as machine code: they filter, and only what concerns us reaches Python.

In: the addresses of a word that holds the handler and of the filters' maps, and the ring of changes. Out: LLVM text, a
callback for each sort of watcher. CPython calls watchers at awkward moments: with an exception pending, in the midst of
a deallocation. So a hit sets the pending exception aside, calls `handler(kind, event, subject, new)` with the subject
as an address (it may be dying), reports what the handler raises, and puts the pending exception back. In the midst of
a dict's change not even that is possible: it is noted. The callbacks always return 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.backend.handler_stub import handler_text
from minijit.backend.map_stub import LOOKUP_IR
from minijit.cpython import abi
from minijit.cpython.changes import CAPACITY
from minijit.cpython.watch import CALLBACKS, CodeEvent, DictEvent, FunctionEvent, Watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.cpython.changes import Changes


@dataclass(frozen=True, slots=True)
class WatchAddresses:
    """What the callbacks refer to: the word that holds the handler (or NULL), the filters' maps, the ring."""

    handler: int
    changes: Changes
    dict_keys: int
    functions: int
    codes: int
    symbol: Callable[[str], int]


def watcher_text(at: WatchAddresses) -> str:
    """The LLVM text of the callbacks, which are named as in `watch.CALLBACKS`."""
    assert set(CALLBACKS) == {"on_dict", "on_function", "on_type", "on_code"}
    callbacks = (_on_dict(at), _on_function(at), _on_code(at), _on_type())
    return "\n".join((LOOKUP_IR, handler_text(at.symbol), _tell(at), *callbacks))


def _function(at: WatchAddresses, name: str) -> str:
    return f"inttoptr (i64 {at.symbol(name)} to ptr)"


def _tell(at: WatchAddresses) -> str:
    none = f"inttoptr (i64 {id(None)} to ptr)"
    return f"""
define internal void @tell(i64 %kind, i64 %event, ptr %subject, ptr %new) noinline {{
entry:
  %arguments = alloca [5 x ptr]
  %handler = load ptr, ptr inttoptr (i64 {at.handler} to ptr)
  %off = icmp eq ptr %handler, null
  br i1 %off, label %done, label %call
call:
  %pending = call ptr {_function(at, "PyErr_GetRaisedException")}()
  %kind_object = call ptr {_function(at, "PyLong_FromLongLong")}(i64 %kind)
  %event_object = call ptr {_function(at, "PyLong_FromLongLong")}(i64 %event)
  %subject_word = ptrtoint ptr %subject to i64
  %subject_object = call ptr {_function(at, "PyLong_FromLongLong")}(i64 %subject_word)
  %no_new = icmp eq ptr %new, null
  %new_object = select i1 %no_new, ptr {none}, ptr %new
  %a1 = getelementptr ptr, ptr %arguments, i64 1
  store ptr %kind_object, ptr %a1
  %a2 = getelementptr ptr, ptr %arguments, i64 2
  store ptr %event_object, ptr %a2
  %a3 = getelementptr ptr, ptr %arguments, i64 3
  store ptr %subject_object, ptr %a3
  %a4 = getelementptr ptr, ptr %arguments, i64 4
  store ptr %new_object, ptr %a4
  %result = call ptr @call_handler(ptr %handler, ptr %a1, i64 4)
  call void {_function(at, "Py_DecRef")}(ptr %result)
  call void {_function(at, "Py_DecRef")}(ptr %kind_object)
  call void {_function(at, "Py_DecRef")}(ptr %event_object)
  call void {_function(at, "Py_DecRef")}(ptr %subject_object)
  call void {_function(at, "PyErr_SetRaisedException")}(ptr %pending)
  br label %done
done:
  ret void
}}
"""


def _on_dict(at: WatchAddresses) -> str:
    ring = f"inttoptr (i64 {at.changes.written} to ptr)"
    entries = f"inttoptr (i64 {at.changes.entries} to ptr)"
    return f"""
; A change of one key concerns us if the pair of dict and key is in the filter; what is no plain str might equal one
; of them. It is noted only (see `cpython.changes`); the end of a dict, which nobody else can touch by then, is told.
define i32 @on_dict(i32 %event32, ptr %dict, ptr %key, ptr %new) {{
entry:
  %event = zext i32 %event32 to i64
  %address = ptrtoint ptr %dict to i64
  switch i32 %event32, label %note [
    i32 {DictEvent.ADDED:d}, label %typed
    i32 {DictEvent.MODIFIED:d}, label %typed
    i32 {DictEvent.DELETED:d}, label %typed
    i32 {DictEvent.DEALLOCATED:d}, label %end
  ]
typed:
  %type_place = getelementptr i8, ptr %key, i64 {abi.OBJECT.ob_type}
  %type = load i64, ptr %type_place
  %plain = icmp eq i64 %type, {id(str)}
  br i1 %plain, label %filter, label %note
filter:
  %hash_place = getelementptr i8, ptr %key, i64 {abi.UNICODE.hash}
  %hash = load i64, ptr %hash_place
  %unhashed = icmp eq i64 %hash, -1
  br i1 %unhashed, label %note, label %look
look:
  %mixed = xor i64 %address, %hash
  %filter_key = or i64 %mixed, 1
  %found = call i64 @map_find(ptr inttoptr (i64 {at.dict_keys} to ptr), i64 %filter_key)
  %miss = icmp eq i64 %found, 0
  br i1 %miss, label %done, label %note
note:
  %key_hash = phi i64 [ 0, %entry ], [ 0, %typed ], [ 0, %filter ], [ %hash, %look ]
  %number = load i64, ptr {ring}
  %next = add i64 %number, 1
  store i64 %next, ptr {ring}
  %index = and i64 %number, {CAPACITY - 1}
  %place = getelementptr [4 x i64], ptr {entries}, i64 %index
  store i64 %event, ptr %place
  %dict_place = getelementptr i64, ptr %place, i64 1
  store i64 %address, ptr %dict_place
  %hash_cell = getelementptr i64, ptr %place, i64 2
  store i64 %key_hash, ptr %hash_cell
  %new_cell = getelementptr i64, ptr %place, i64 3
  store ptr %new, ptr %new_cell
  br label %done
end:
  call void @tell(i64 {Watched.DICT:d}, i64 %event, ptr %dict, ptr null)
  br label %done
done:
  ret i32 0
}}
"""


def _on_function(at: WatchAddresses) -> str:
    return f"""
define i32 @on_function(i32 %event32, ptr %function, ptr %new) {{
entry:
  %event = zext i32 %event32 to i64
  %created = icmp eq i32 %event32, {FunctionEvent.CREATE:d}
  br i1 %created, label %by_code, label %by_address
by_code:
  %code_place = getelementptr i8, ptr %function, i64 {abi.FUNCTION.func_code}
  %code = load i64, ptr %code_place
  %known_code = call i64 @map_find(ptr inttoptr (i64 {at.codes} to ptr), i64 %code)
  br label %filtered
by_address:
  %address = ptrtoint ptr %function to i64
  %known = call i64 @map_find(ptr inttoptr (i64 {at.functions} to ptr), i64 %address)
  br label %filtered
filtered:
  %found = phi i64 [ %known_code, %by_code ], [ %known, %by_address ]
  %miss = icmp eq i64 %found, 0
  br i1 %miss, label %done, label %hit
hit:
  call void @tell(i64 {Watched.FUNCTION:d}, i64 %event, ptr %function, ptr %new)
  br label %done
done:
  ret i32 0
}}
"""


def _on_code(at: WatchAddresses) -> str:
    return f"""
define i32 @on_code(i32 %event32, ptr %code) {{
entry:
  %event = zext i32 %event32 to i64
  %destroyed = icmp eq i32 %event32, {CodeEvent.DESTROY:d}
  br i1 %destroyed, label %filter, label %done
filter:
  %address = ptrtoint ptr %code to i64
  %found = call i64 @map_find(ptr inttoptr (i64 {at.codes} to ptr), i64 %address)
  %miss = icmp eq i64 %found, 0
  br i1 %miss, label %done, label %hit
hit:
  call void @tell(i64 {Watched.CODE:d}, i64 %event, ptr %code, ptr null)
  br label %done
done:
  ret i32 0
}}
"""


def _on_type() -> str:
    return f"""
; Only types that are watched fire, so there is nothing to filter.
define i32 @on_type(ptr %type) {{
  call void @tell(i64 {Watched.TYPE:d}, i64 0, ptr %type, ptr null)
  ret i32 0
}}
"""
