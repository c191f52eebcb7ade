"""Helpers by which regions change the heap: places get other values, objects are made.

A region holds no reference to what it has by its address. So nothing that it may have still must end as long as it
runs: what a store takes the last reference of is *kept*, in a buffer of the process, and let go when the region is left
and its frame is whole (`let_go`). Numbers are not: no region has a number by its address.

Objects are kept only if nobody can notice that they end late: `may_end` says so before the store. It looks through the
object as the garbage collector does, at everything that can be reached from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.cpython import abi, raw
from minijit.ir.ops import QUIET_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HELPERS = (
    *("put_float", "put_int", "put_object", "may_end", "are_apart", "is_quiet", "keep_stale"),
    *("new_object", "new_tuple", "note_value", "let_go", "let_go_first"),
)
"""The helpers' names."""
MOST_KEPT = 1024
"""How many objects may be kept; what would come close to it leaves the region."""
SPARE = 64
"""So many more are kept without asking: what one statement stores, at most."""
RECENT = 8
"""Among so many of the last that are kept, a store looks for what it stores."""
ENTRY_EFFORT, _STORE_EFFORT = 4096, 256
"""How many references are looked at to find that nothing is to be noticed: before a loop, of which that must cost less
than some rounds, and at a store."""
_MOST_FOUND, _MARK_BITS = 1024, 11
"""To how many objects that hold others; and how large the table of those is."""
_MIXER = -7046029254386353131
"""An odd number near 2**64 divided by the golden ratio (Knuth, multiplicative hashing)."""
_STALE = 8 * (1 + MOST_KEPT)
_FOUND = _STALE + 8 * (1 + SPARE)
_OBJECTS = _FOUND + 16
_MARKS = _OBJECTS + 16 * _MOST_FOUND
KEPT_BYTES = _MARKS + (8 << _MARK_BITS)
"""The buffer's size: how many are kept, and these objects; the same of stale ones; of a look at what can be reached,
how many objects were found, how much it may still take, the objects, each with the place of its mark, and the marks."""
_GC = 1 << 14
"""Of `tp_flags`: the garbage collector asks the class what its instances hold."""


class _Plain:
    """Ends as instances of all classes do that a program makes."""


def cases(types: Iterable[type], label: str) -> str:
    """Of a switch over types: where these lead to."""
    return " ".join(f"i64 {id(each)}, label %{label}" for each in types)


def heap_text(symbol: Callable[[str], int], kept: int) -> str:
    """The text of the helpers; `kept` is the buffer's address."""
    return _keeping(symbol, kept) + _may_end(kept) + _puts(symbol) + _makes(symbol)


def _keeping(symbol: Callable[[str], int], kept: int) -> str:
    count, decref = f"inttoptr (i64 {kept} to ptr)", f"inttoptr (i64 {symbol('Py_DecRef')} to ptr)"
    stale = f"inttoptr (i64 {kept + _STALE} to ptr)"
    return f"""
define internal void @keep(ptr %object) nounwind {{
  %count = load i64, ptr {count}
  %more = add i64 %count, 1
  %place = getelementptr ptr, ptr {count}, i64 %more
  store ptr %object, ptr %place
  store i64 %more, ptr {count}
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
  %more = add i64 %count, 1
  %place = getelementptr ptr, ptr {stale}, i64 %more
  store ptr %object, ptr %place
  store i64 %more, ptr {stale}
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


def _may_end(kept: int) -> str:
    plain, of_sets = (raw.read_u64(id(each) + abi.TYPE.tp_dealloc) for each in (_Plain, set))
    places = (kept + _FOUND, kept + _FOUND + 8, kept + _OBJECTS, kept + _MARKS)
    found, effort, objects, marks = (f"inttoptr (i64 {place} to ptr)" for place in places)
    return f"""
; Whether a reference that a place has can be given back: nobody notices if the object ends then, nor if that is late;
; and there is room to keep it.
define i1 @may_end(ptr %object) nounwind {{
entry:
  %room = call i1 @has_room()
  br i1 %room, label %some, label %no
some:
  %absent = icmp eq ptr %object, null
  br i1 %absent, label %yes, label %present
present:
  ; What is kept may be all that still holds it.
  %none_kept = call i1 @keeps_nothing()
  %stale = call i64 @stale_references(ptr %object)
  %own = add i64 %stale, 1
  %most = select i1 %none_kept, i64 %own, i64 {SPARE}
  %count = load i64, ptr %object
  %held = icmp ugt i64 %count, %most
  br i1 %held, label %yes, label %through
through:
  %quiet = call i1 @is_quiet(ptr %object, i64 {_STORE_EFFORT})
  ret i1 %quiet
yes:
  ret i1 true
no:
  ret i1 false
}}

; Whether two references can be given back at once, if each can: not if they are the last to one object.
define i1 @are_apart(ptr %one, ptr %other) nounwind {{
entry:
  %same = icmp eq ptr %one, %other
  br i1 %same, label %look, label %yes
look:
  %absent = icmp eq ptr %one, null
  br i1 %absent, label %yes, label %present
present:
  %count = load i64, ptr %one
  %held = icmp ugt i64 %count, {SPARE}
  ret i1 %held
yes:
  ret i1 true
}}

; Whether nobody notices the end of an object, nor of anything that can be reached from it: so it does not matter who
; else holds that, and is about to end. Of none there is no end. False where it would take more effort.
define i1 @is_quiet(ptr %object, i64 %effort) nounwind {{
entry:
  store i64 0, ptr {found}
  store i64 %effort, ptr {effort}
  %absent = icmp eq ptr %object, null
  br i1 %absent, label %yes, label %present
present:
  %first = call i32 @visit(ptr %object, ptr null)
  br label %next
next:
  %k = phi i64 [ 0, %present ], [ %k1, %through ]
  %noticed = phi i32 [ %first, %present ], [ %told, %through ]
  %count = load i64, ptr {found}
  %over = icmp eq i64 %k, %count
  %known = icmp ne i32 %noticed, 0
  %ends = or i1 %over, %known
  br i1 %ends, label %forget, label %through
through:
  %object_place = getelementptr [2 x i64], ptr {objects}, i64 %k
  %one = load ptr, ptr %object_place
  %type_place = getelementptr i8, ptr %one, i64 {abi.OBJECT.ob_type}
  %type = load ptr, ptr %type_place
  %traverse_place = getelementptr i8, ptr %type, i64 {abi.TYPE.tp_traverse}
  %traverse_function = load ptr, ptr %traverse_place
  %told = call i32 %traverse_function(ptr %one, ptr @visit, ptr null)
  %k1 = add i64 %k, 1
  br label %next
forget:
  %f = phi i64 [ 0, %next ], [ %f1, %forget_one ]
  %forgotten = icmp eq i64 %f, %count
  br i1 %forgotten, label %done, label %forget_one
forget_one:
  %pair = getelementptr [2 x i64], ptr {objects}, i64 %f
  %index_place = getelementptr i64, ptr %pair, i64 1
  %index = load i64, ptr %index_place
  %mark = getelementptr i64, ptr {marks}, i64 %index
  store i64 0, ptr %mark
  %f1 = add i64 %f, 1
  br label %forget
done:
  %quiet = icmp eq i32 %noticed, 0
  ret i1 %quiet
yes:
  ret i1 true
}}

; Judges an object that can be reached: whether somebody notices its end. One that holds others is noted, to be looked
; through.
define internal i32 @visit(ptr %object, ptr %unused) nounwind {{
entry:
  %left = load i64, ptr {effort}
  %less = sub i64 %left, 1
  store i64 %less, ptr {effort}
  %enough = icmp slt i64 %left, 0
  br i1 %enough, label %noticed, label %judge
judge:
  %type_place = getelementptr i8, ptr %object, i64 {abi.OBJECT.ob_type}
  %type_word = load i64, ptr %type_place
  %type = inttoptr i64 %type_word to ptr
  switch i64 %type_word, label %look [
    i64 {id(tuple)}, label %holds
    i64 {id(list)}, label %holds
    i64 {id(dict)}, label %dict
    {cases((type, *QUIET_TYPES), "quiet")}
  ]
dict:
  ; Of the end of a dict, its watchers are told.
  %version_place = getelementptr i8, ptr %object, i64 {abi.DICT.ma_version_tag}
  %version = load i64, ptr %version_place
  %watchers = and i64 %version, 255
  %unwatched = icmp eq i64 %watchers, 0
  br i1 %unwatched, label %holds, label %noticed
look:
  %dealloc_place = getelementptr i8, ptr %type, i64 {abi.TYPE.tp_dealloc}
  %dealloc = load i64, ptr %dealloc_place
  %plain = icmp eq i64 %dealloc, {plain}
  %a_set = icmp eq i64 %dealloc, {of_sets}
  %known = or i1 %plain, %a_set
  %untold = call i1 @is_untold(ptr %object, ptr %type)
  %unnoticed = and i1 %known, %untold
  br i1 %unnoticed, label %sort, label %noticed
sort:
  br i1 %a_set, label %holds, label %base
base:
  ; What the class is derived from that no program has made.
  %derived = phi ptr [ %type, %sort ], [ %under, %base ]
  %base_place = getelementptr i8, ptr %derived, i64 {abi.TYPE.tp_base}
  %under = load ptr, ptr %base_place
  %under_dealloc_place = getelementptr i8, ptr %under, i64 {abi.TYPE.tp_dealloc}
  %under_dealloc = load i64, ptr %under_dealloc_place
  %goes_on = icmp eq i64 %under_dealloc, {plain}
  br i1 %goes_on, label %base, label %solid
solid:
  %solid_word = ptrtoint ptr %under to i64
  switch i64 %solid_word, label %noticed [ {cases((object, list, tuple), "holds")} ]
holds:
  %flags_place = getelementptr i8, ptr %type, i64 {abi.TYPE.tp_flags}
  %flags = load i64, ptr %flags_place
  %gc = and i64 %flags, {_GC}
  %is_leaf = icmp eq i64 %gc, 0
  br i1 %is_leaf, label %quiet, label %start
start:
  ; Which objects are noted, a table of marks knows.
  %word = ptrtoint ptr %object to i64
  %units = lshr i64 %word, 4
  %mixed = mul i64 %units, {_MIXER}
  %high = lshr i64 %mixed, {64 - _MARK_BITS}
  br label %probe
probe:
  %at = phi i64 [ %high, %start ], [ %following, %other ]
  %mark = getelementptr i64, ptr {marks}, i64 %at
  %marked = load i64, ptr %mark
  %same = icmp eq i64 %marked, %word
  br i1 %same, label %quiet, label %compare
compare:
  %free = icmp eq i64 %marked, 0
  br i1 %free, label %note, label %other
other:
  %next = add i64 %at, 1
  %following = and i64 %next, {(1 << _MARK_BITS) - 1}
  br label %probe
note:
  %count = load i64, ptr {found}
  %full = icmp eq i64 %count, {_MOST_FOUND}
  br i1 %full, label %noticed, label %take
take:
  store i64 %word, ptr %mark
  %pair = getelementptr [2 x i64], ptr {objects}, i64 %count
  store i64 %word, ptr %pair
  %index_place = getelementptr i64, ptr %pair, i64 1
  store i64 %at, ptr %index_place
  %more = add i64 %count, 1
  store i64 %more, ptr {found}
  br label %quiet
quiet:
  ret i32 0
noticed:
  ret i32 1
}}

; Whether an object of this type has no finaliser, and no weak reference.
define internal i1 @is_untold(ptr %object, ptr %type) nounwind {{
  %finalize_place = getelementptr i8, ptr %type, i64 {abi.TYPE.tp_finalize}
  %finalize = load i64, ptr %finalize_place
  %del_place = getelementptr i8, ptr %type, i64 {abi.TYPE.tp_del}
  %del = load i64, ptr %del_place
  %told = or i64 %finalize, %del
  %untold = icmp eq i64 %told, 0
  ; A class without weak references has a zero there, and no object begins with one.
  %weak_place = getelementptr i8, ptr %type, i64 {abi.TYPE.tp_weaklistoffset}
  %weak_offset = load i64, ptr %weak_place
  %without = icmp eq i64 %weak_offset, 0
  %first_place = getelementptr i8, ptr %object, i64 %weak_offset
  %first = load ptr, ptr %first_place
  %unreferred = icmp eq ptr %first, null
  %alone = or i1 %without, %unreferred
  %both = and i1 %untold, %alone
  ret i1 %both
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
