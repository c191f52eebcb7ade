"""Helpers by which regions change the heap: places get other values, objects are made.

A region holds no reference to what it has by its address. So nothing that it may have still must end as long as it
runs: what a store takes the last reference of is *kept*, in a buffer of the process, and let go when the region is left
and its frame is whole (`let_go`). Numbers are not: no region has a number by its address.

Objects are kept only if nobody can notice that they end late: `quiet_helpers` tell that before the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.cpython import abi, raw
from minijit.ir.ops import QUIET_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HELPERS = (
    *("put_float", "put_int", "put_object", "keep_stale", "let_go", "let_go_first"),
    *("new_object", "new_tuple", "note_value"),
)
"""The helpers' names."""
MOST_KEPT = 1024
"""How many objects may be kept; what would come close to it leaves the region."""
SPARE = 64
"""So many more are kept without asking: what one statement stores, at most."""
RECENT = 8
"""Among so many of the last that are kept, a store looks for what it stores."""
_STALE = 8 * (1 + MOST_KEPT)
KEPT_BYTES = _STALE + 8 * (1 + SPARE)
"""The buffer's size: how many are kept, and these objects; the same of stale ones."""


def cases(types: Iterable[type], label: str) -> str:
    """Of a switch over types: where these lead to."""
    return " ".join(f"i64 {id(each)}, label %{label}" for each in types)


def heap_text(symbol: Callable[[str], int], kept: int) -> str:
    """The text of the helpers; `kept` is the buffer's address."""
    return _keeping(symbol, kept) + _puts(symbol) + _makes(symbol)


def _keeping(symbol: Callable[[str], int], kept: int) -> str:
    count, decref = f"inttoptr (i64 {kept} to ptr)", f"inttoptr (i64 {symbol('Py_DecRef')} to ptr)"
    stale = f"inttoptr (i64 {kept + _STALE} to ptr)"
    return f"""
; An object more in a part of the buffer: behind the count.
define internal void @append(ptr %part, ptr %object) nounwind alwaysinline {{
  %count = load i64, ptr %part
  %more = add i64 %count, 1
  %place = getelementptr ptr, ptr %part, i64 %more
  store ptr %object, ptr %place
  store i64 %more, ptr %part
  ret void
}}

define internal void @keep(ptr %object) nounwind {{
  call void @append(ptr {count}, ptr %object)
  ret void
}}

; A reference more to an object, for a place that is to have it: that by which it was kept, if that is not long ago.
define internal void @hand_over(ptr %object) nounwind {{
entry:
  %count = load i64, ptr {count}
  br label %next
next:
  %k = phi i64 [ %count, %entry ], [ %before, %other ]
  %back = sub i64 %count, %k
  %none = icmp eq i64 %k, 0
  %far = icmp eq i64 %back, {RECENT}
  %over = or i1 %none, %far
  br i1 %over, label %more, label %look
look:
  %place = getelementptr ptr, ptr {count}, i64 %k
  %kept = load ptr, ptr %place
  %is_it = icmp eq ptr %kept, %object
  br i1 %is_it, label %take, label %other
other:
  %before = sub i64 %k, 1
  br label %next
take:
  %last_place = getelementptr ptr, ptr {count}, i64 %count
  %last = load ptr, ptr %last_place
  store ptr %last, ptr %place
  %less = sub i64 %count, 1
  store i64 %less, ptr {count}
  ret void
more:
  call void @incref(ptr %object)
  ret void
}}

define internal i1 @has_room() nounwind alwaysinline {{
  %count = load i64, ptr {count}
  %room = icmp ult i64 %count, {MOST_KEPT - SPARE}
  ret i1 %room
}}

define internal i1 @keeps_nothing() nounwind alwaysinline {{
  %count = load i64, ptr {count}
  %none = icmp eq i64 %count, 0
  ret i1 %none
}}

; How many references to an object are stale: frames have them still, and would not in the interpreter.
define internal i64 @stale_references(ptr %object) nounwind {{
entry:
  %count = load i64, ptr {stale}
  br label %next
next:
  %k = phi i64 [ %count, %entry ], [ %before, %one ]
  %sum = phi i64 [ 0, %entry ], [ %sum1, %one ]
  %none = icmp eq i64 %k, 0
  br i1 %none, label %done, label %one
one:
  %place = getelementptr ptr, ptr {stale}, i64 %k
  %other = load ptr, ptr %place
  %same = icmp eq ptr %other, %object
  %more = zext i1 %same to i64
  %sum1 = add i64 %sum, %more
  %before = sub i64 %k, 1
  br label %next
done:
  ret i64 %sum
}}

; An object that the frame holds still, though it would not any more. If nobody else holds it, it is kept: as long as
; something is, no reference tells for sure that an object goes on.
define void @keep_stale(ptr %object) nounwind {{
entry:
  %absent = icmp eq ptr %object, null
  br i1 %absent, label %done, label %present
present:
  %type_place = getelementptr i8, ptr %object, i64 {abi.OBJECT.ob_type}
  %type = load i64, ptr %type_place
  switch i64 %type, label %other [ {cases(QUIET_TYPES, "done")} ]
other:
  %count = load i64, ptr {stale}
  %full = icmp eq i64 %count, {SPARE}
  br i1 %full, label %kept, label %noted
kept:
  ; Where there is no room, enough is kept.
  %room = call i1 @has_room()
  br i1 %room, label %taken, label %done
taken:
  call void @incref(ptr %object)
  call void @keep(ptr %object)
  br label %done
noted:
  call void @append(ptr {stale}, ptr %object)
  ; If nobody else holds it, it is about to end.
  %references = load i64, ptr %object
  %own = call i64 @stale_references(ptr %object)
  %held = icmp ugt i64 %references, %own
  br i1 %held, label %done, label %kept
done:
  ret void
}}

; Gives back what is kept. This may run any code, which may enter regions that keep something, and let it go.
define void @let_go() {{
entry:
  store i64 0, ptr {stale}
  br label %next
next:
  %count = load i64, ptr {count}
  %none = icmp eq i64 %count, 0
  br i1 %none, label %done, label %one
one:
  %place = getelementptr ptr, ptr {count}, i64 %count
  %object = load ptr, ptr %place
  %less = sub i64 %count, 1
  store i64 %less, ptr {count}
  call void {decref}(ptr %object)
  br label %next
done:
  ret void
}}

; Returns an object from a region to the interpreter, when what is kept has been let go: the region is left by then.
define ptr @let_go_first(ptr %object, ptr %b, i64 %c, ptr %d) {{
  call void @let_go()
  ret ptr %object
}}

; Gives a reference back that a place had, if to any object: the last one to what is no number is kept.
define internal void @give_back(ptr %object) nounwind {{
entry:
  %absent = icmp eq ptr %object, null
  br i1 %absent, label %done, label %present
present:
  %count = load i64, ptr %object
  %low = trunc i64 %count to i32
  %immortal = icmp slt i32 %low, 0
  br i1 %immortal, label %done, label %mortal
mortal:
  %alone = icmp eq i64 %count, 1
  br i1 %alone, label %last, label %held
held:
  ; What only frames hold that would not is about to end, and all that it holds: it is kept.
  %stale = call i64 @stale_references(ptr %object)
  %own = add i64 %stale, 1
  %shared = icmp ugt i64 %count, %own
  br i1 %shared, label %fewer, label %last
fewer:
  %less = sub i64 %count, 1
  store i64 %less, ptr %object
  br label %done
last:
  %type_place = getelementptr i8, ptr %object, i64 {abi.OBJECT.ob_type}
  %type = load i64, ptr %type_place
  switch i64 %type, label %other [ i64 {id(float)}, label %number i64 {id(int)}, label %number ]
number:
  call void {decref}(ptr %object)
  br label %done
other:
  call void @keep(ptr %object)
  br label %done
done:
  ret void
}}
"""


def _puts(symbol: Callable[[str], int]) -> str:
    """Functions that give a place of an object another value. They give false, with an exception set, where there is no
    memory for that. A float that nobody else holds is overwritten."""
    float_from, long_from = (symbol(n) for n in ("PyFloat_FromDouble", "PyLong_FromLongLong"))
    return f"""
define internal i1 @put_new(ptr %place, ptr %new) nounwind {{
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %no, label %put
no:
  ret i1 false
put:
  %old = load ptr, ptr %place
  store ptr %new, ptr %place
  call void @give_back(ptr %old)
  ret i1 true
}}

; Of NULL an exception is set already.
define i1 @put_object(ptr %place, ptr %object) nounwind {{
  %missing = icmp eq ptr %object, null
  br i1 %missing, label %no, label %put
no:
  ret i1 false
put:
  call void @hand_over(ptr %object)
  %done = call i1 @put_new(ptr %place, ptr %object)
  ret i1 %done
}}

define i1 @put_int(ptr %place, i64 %value) nounwind {{
  %new = call ptr inttoptr (i64 {long_from} to ptr)(i64 %value)
  %done = call i1 @put_new(ptr %place, ptr %new)
  ret i1 %done
}}

define i1 @put_float(ptr %place, double %value) nounwind {{
entry:
  %old = load ptr, ptr %place
  %absent = icmp eq ptr %old, null
  br i1 %absent, label %other, label %present
present:
  %type_place = getelementptr i8, ptr %old, i64 {abi.OBJECT.ob_type}
  %type = load i64, ptr %type_place
  %is_float = icmp eq i64 %type, {id(float)}
  %count_place = getelementptr i8, ptr %old, i64 {abi.OBJECT.ob_refcnt}
  %count = load i64, ptr %count_place
  %is_own = icmp eq i64 %count, 1
  %reused = and i1 %is_float, %is_own
  br i1 %reused, label %same, label %other
same:
  %value_place = getelementptr i8, ptr %old, i64 {abi.FLOAT.ob_fval}
  store double %value, ptr %value_place
  ret i1 true
other:
  %new = call ptr inttoptr (i64 {float_from} to ptr)(double %value)
  %done = call i1 @put_new(ptr %place, ptr %new)
  ret i1 %done
}}
"""


def _makes(symbol: Callable[[str], int]) -> str:
    maker = f"inttoptr (i64 {raw.read_u64(id(object) + abi.TYPE.tp_new)} to ptr)"
    clear, tuple_new = (f"inttoptr (i64 {symbol(name)} to ptr)" for name in ("PyErr_Clear", "PyTuple_New"))
    empty = f"{tuple_new}(i64 %size)"
    instance = f"{maker}(ptr %class, ptr inttoptr (i64 {id(())} to ptr), ptr null)"
    return f"""
; An instance without attributes.{new_text("new_object", "ptr %class", instance, clear)}
; A tuple with so many items, none of which is there yet.{new_text("new_tuple", "i64 %size", empty, clear)}
; Notes that an instance has got a value it had not: before its values it has the order in which it got them, backwards,
; and how many they are.
define void @note_value(ptr %object, i64 %number) nounwind {{
  %tagged_place = getelementptr i8, ptr %object, i64 {abi.INSTANCE.values}
  %tagged = load ptr, ptr %tagged_place
  %size_place = getelementptr i8, ptr %tagged, i64 -1
  %size = load i8, ptr %size_place
  %more = add i8 %size, 1
  %back8 = sub i8 0, %more
  %back = sext i8 %back8 to i64
  %order_place = getelementptr i8, ptr %size_place, i64 %back
  %number8 = trunc i64 %number to i8
  store i8 %number8, ptr %order_place
  store i8 %more, ptr %size_place
  ret void
}}
"""


def new_text(name: str, parameter: str, call: str, clear: str) -> str:
    """A function that makes an object, which is kept; NULL, with no exception set, where there is no room."""
    return f"""
define ptr @{name}({parameter}) nounwind {{
entry:
  %room = call i1 @has_room()
  br i1 %room, label %make, label %no
make:
  %new = call ptr {call}
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %raised, label %made
raised:
  call void {clear}()
  br label %no
made:
  call void @keep(ptr %new)
  ret ptr %new
no:
  ret ptr null
}}
"""
