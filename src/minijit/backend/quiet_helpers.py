"""Helpers that tell, before a store, whether anybody could notice that what it overwrites ends late.

They look through an object as the garbage collector does, at everything that can be reached from it, breadth first.
"""

from __future__ import annotations

from minijit.backend.heap_helpers import SPARE, cases
from minijit.cpython import abi, raw
from minijit.ir.ops import QUIET_TYPES

HELPERS = ("may_end", "are_apart", "is_quiet")
"""The helpers' names."""
ENTRY_EFFORT, _STORE_EFFORT = 4096, 256
"""How many references are looked at to find that nothing is to be noticed: before a loop, of which that must cost less
than some rounds, and at a store."""
_MOST_FOUND, _MARK_BITS = 1024, 11
"""To how many objects that hold others; and how large the table of those is."""
_MIXER = -7046029254386353131
"""An odd number near 2**64 divided by the golden ratio (Knuth, multiplicative hashing)."""
_FOUND, _EFFORT, _OBJECTS = 0, 8, 16
_MARKS = _OBJECTS + 16 * _MOST_FOUND
LOOK_BYTES = _MARKS + (8 << _MARK_BITS)
"""The size of the buffer for a look: how many objects were found, how much it may still take, the objects, each with
the place of its mark, and the marks."""
_GC = 1 << 14
"""Of `tp_flags`: the garbage collector asks the class what its instances hold."""


class _Plain:
    """Ends as instances of all classes do that a program makes."""


def quiet_text(look: int) -> str:
    """The text of the helpers; `look` is the address of their buffer."""
    plain, of_sets = (raw.read_u64(id(each) + abi.TYPE.tp_dealloc) for each in (_Plain, set))
    places = (look + _FOUND, look + _EFFORT, look + _OBJECTS, look + _MARKS)
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
  %watchers = and i64 %version, {abi.DICT_WATCHERS}
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
