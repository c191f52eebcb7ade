"""Making the objects of a record: a small interpreter of the programs that `snapshots` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.snapshots import RECORD_WORDS, REFERENCE_TAG, TAGS, Make
from minijit.backend.stub_tools import address_of, c_function, word
from minijit.cpython import abi, raw

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses


def make_text(at: StubAddresses) -> str:
    """The text of `make`, `drop` and `slot_object`, which the stubs that leave regions call."""
    new = (_box_any(at), _new_range_iterator(at), _new_item_iterator(at))
    made = (_make_tuple(at), _make_range(at), _make_instance())
    return "".join((*new, _words(at), _make(at), *made, _drop(), _slot_object()))


def _make(at: StubAddresses) -> str:
    """One round of the loop for each object: a block for each way to make one, joined in `checked`."""
    return _make_head() + _make_scalars(at) + _make_held() + _make_named(at) + _make_others(at) + _make_tail()


def _box_any(at: StubAddresses) -> str:
    true, false = address_of(True), address_of(False)
    none = address_of(None)
    return f"""
define internal ptr @box_any(i64 %tag, i64 %bits) {{
  switch i64 %tag, label %unbound [
    i64 {TAGS["none"]}, label %none
    i64 {TAGS["int"]}, label %int
    i64 {TAGS["float"]}, label %float
    i64 {TAGS["bool"]}, label %bool
    i64 {REFERENCE_TAG}, label %reference
  ]
unbound:
  ret ptr null
none:
  ret ptr {none}
int:
  %i = call ptr {c_function(at, "PyLong_FromLongLong")}(i64 %bits)
  ret ptr %i
float:
  %d = bitcast i64 %bits to double
  %f = call ptr {c_function(at, "PyFloat_FromDouble")}(double %d)
  ret ptr %f
bool:
  %set = icmp ne i64 %bits, 0
  %b = select i1 %set, ptr {true}, ptr {false}
  ret ptr %b
reference:
  %object = inttoptr i64 %bits to ptr
  call void @incref(ptr %object)
  ret ptr %object
}}
"""


def _new_range_iterator(at: StubAddresses) -> str:
    return f"""
define internal ptr @new_range_iterator(i64 %start, i64 %step, i64 %length) {{
  %new = call ptr {c_function(at, "_PyObject_New")}(ptr inttoptr (i64 {id(type(iter(range(0))))} to ptr))
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %done, label %fill
fill:
  call void @set_i64(ptr %new, i64 {abi.RANGE_ITERATOR.start}, i64 %start)
  call void @set_i64(ptr %new, i64 {abi.RANGE_ITERATOR.step}, i64 %step)
  call void @set_i64(ptr %new, i64 {abi.RANGE_ITERATOR.length}, i64 %length)
  br label %done
done:
  ret ptr %new
}}
"""


def _new_item_iterator(at: StubAddresses) -> str:
    return f"""
define internal ptr @new_item_iterator(ptr %items, i64 %index) {{
  %new = call ptr {c_function(at, "PyObject_GetIter")}(ptr %items)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %done, label %fill
fill:
  call void @set_i64(ptr %new, i64 {abi.ITEM_ITERATOR.index}, i64 %index)
  br label %done
done:
  ret ptr %new
}}
"""


def _words(at: StubAddresses) -> str:
    """Reading a program: a raw value that a word names, and an object that was made before."""
    return f"""
define internal i64 @raw(ptr %word) alwaysinline {{
  %position = load i64, ptr %word
  %value = call i64 @item_i64(ptr inttoptr (i64 {at.raw} to ptr), i64 %position)
  ret i64 %value
}}

define internal ptr @part(ptr %word, ptr %boxes) alwaysinline {{
  %number = load i64, ptr %word
  %object = call ptr @item_ptr(ptr %boxes, i64 %number)
  ret ptr %object
}}
"""


def _make_head() -> str:
    return f"""
; Makes the objects of a record into %boxes; whether all went well. Boxes that were not made are NULL.
define internal i1 @make(ptr %record, ptr %entries, ptr %boxes) {{
entry:
  %count = call i64 @get_i64(ptr %record, i64 {word(RECORD_WORDS, "boxes")})
  %bytes = shl i64 %count, 3
  call void @llvm.memset.p0.i64(ptr %boxes, i8 0, i64 %bytes, i1 false)
  %program = call ptr @get_ptr(ptr %record, i64 {word(RECORD_WORDS, "program")})
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %made ]
  %word = phi ptr [ %program, %entry ], [ %word1, %made ]
  %done = icmp eq i64 %k, %count
  br i1 %done, label %yes, label %step
step:
  %make = load i64, ptr %word
  %w1 = getelementptr i64, ptr %word, i64 1
  %w2 = getelementptr i64, ptr %word, i64 2
  %w3 = getelementptr i64, ptr %word, i64 3
  %w4 = getelementptr i64, ptr %word, i64 4
  switch i64 %make, label %int [
    i64 {Make.FLOAT:d}, label %float
    i64 {Make.BOOL:d}, label %bool
    i64 {Make.ANY:d}, label %any
    i64 {Make.CONST:d}, label %const
    i64 {Make.ENTRY:d}, label %entry_slot
    i64 {Make.TUPLE:d}, label %tuple
    i64 {Make.RANGE:d}, label %range
    i64 {Make.RANGE_ITERATOR:d}, label %range_iterator
    i64 {Make.HOME:d}, label %home
    i64 {Make.NAME:d}, label %name
    i64 {Make.FIELD:d}, label %field
    i64 {Make.INSTANCE:d}, label %instance
    i64 {Make.OBJECT:d}, label %reference
    i64 {Make.ITEM_ITERATOR:d}, label %item_iterator
    i64 {Make.ITEM_HOME:d}, label %item_home
    i64 {Make.METHOD:d}, label %method
  ]
"""


def _make_scalars(at: StubAddresses) -> str:
    return f"""
int:
  %int_value = call i64 @raw(ptr %w1)
  %int_box = call ptr @box_any(i64 {TAGS["int"]}, i64 %int_value)
  br label %checked
float:
  %float_value = call i64 @raw(ptr %w1)
  %float_box = call ptr @box_any(i64 {TAGS["float"]}, i64 %float_value)
  br label %checked
bool:
  %bool_value = call i64 @raw(ptr %w1)
  %bool_box = call ptr @box_any(i64 {TAGS["bool"]}, i64 %bool_value)
  br label %checked
any:
  %tag_position = load i64, ptr %w1
  %tag_place = getelementptr i64, ptr inttoptr (i64 {at.raw} to ptr), i64 %tag_position
  %tag = load i64, ptr %tag_place
  %bits = call i64 @item_i64(ptr %tag_place, i64 1)
  %any_box = call ptr @box_any(i64 %tag, i64 %bits)
  %no_object = icmp eq i64 %tag, {TAGS["unbound"]}
  br i1 %no_object, label %made_any, label %checked
made_any:
  br label %made
"""


def _make_held() -> str:
    return """
const:
  %constant = load ptr, ptr %w1
  call void @incref(ptr %constant)
  br label %checked
entry_slot:
  %slot = load i64, ptr %w1
  %object = call ptr @item_ptr(ptr %entries, i64 %slot)
  %absent = icmp eq ptr %object, null
  br i1 %absent, label %made_any, label %held
held:
  call void @incref(ptr %object)
  br label %checked
reference:
  %address = call i64 @raw(ptr %w1)
  %referred = inttoptr i64 %address to ptr
  call void @incref(ptr %referred)
  br label %checked
"""


def _make_named(at: StubAddresses) -> str:
    """Names of loops only, whose entries are the slots of a live frame; and attributes."""
    return f"""
name:
  %globals_place = getelementptr i8, ptr %entries, i64 {abi.FRAME.f_globals - abi.FRAME.localsplus}
  %globals = load ptr, ptr %globals_place
  %key = load ptr, ptr %w1
  %hash = call i64 @get_i64(ptr %key, i64 {abi.UNICODE.hash})
  %named = call ptr {c_function(at, "_PyDict_GetItem_KnownHash")}(ptr %globals, ptr %key, i64 %hash)
  %unnamed = icmp eq ptr %named, null
  br i1 %unnamed, label %made_any, label %found
found:
  call void @incref(ptr %named)
  br label %checked
field:
  %holder = call ptr @part(ptr %w1, ptr %boxes)
  %where = load i64, ptr %w2
  %field_place = call ptr @field_place(ptr %holder, i64 %where)
  %attribute = load ptr, ptr %field_place
  call void @incref(ptr %attribute)
  br label %checked
"""


def _make_others(at: StubAddresses) -> str:
    return f"""
tuple:
  %tuple_box = call ptr @make_tuple(ptr %w1, ptr %boxes)
  %length_of_tuple = load i64, ptr %w1
  %after_tuple = getelementptr i64, ptr %w2, i64 %length_of_tuple
  br label %checked
instance:
  %instance_box = call ptr @make_instance(ptr %w1, ptr %boxes)
  %attributes = load i64, ptr %w2
  %twice = shl i64 %attributes, 1
  %after_instance = getelementptr i64, ptr %w3, i64 %twice
  br label %checked
range:
  %range_box = call ptr @make_range(ptr %w1, ptr %boxes)
  br label %checked
range_iterator:
  %new_start = call i64 @raw(ptr %w1)
  %new_step = call i64 @raw(ptr %w2)
  %new_length = call i64 @raw(ptr %w3)
  %iterator_box = call ptr @new_range_iterator(i64 %new_start, i64 %new_step, i64 %new_length)
  br label %checked
home:
  %home_slot = load i64, ptr %w1
  %iterator = call ptr @item_ptr(ptr %entries, i64 %home_slot)
  %start = call i64 @raw(ptr %w2)
  %length = call i64 @raw(ptr %w3)
  call void @set_i64(ptr %iterator, i64 {abi.RANGE_ITERATOR.start}, i64 %start)
  call void @set_i64(ptr %iterator, i64 {abi.RANGE_ITERATOR.length}, i64 %length)
  call void @incref(ptr %iterator)
  br label %checked
item_iterator:
  %iterated = call ptr @part(ptr %w1, ptr %boxes)
  %new_index = call i64 @raw(ptr %w2)
  %item_iterator_box = call ptr @new_item_iterator(ptr %iterated, i64 %new_index)
  br label %checked
item_home:
  %item_home_slot = load i64, ptr %w1
  %over = call ptr @item_ptr(ptr %entries, i64 %item_home_slot)
  %index = call i64 @raw(ptr %w2)
  call void @set_i64(ptr %over, i64 {abi.ITEM_ITERATOR.index}, i64 %index)
  call void @incref(ptr %over)
  br label %checked
method:
  %bound_function = load ptr, ptr %w1
  %bound_to = call ptr @part(ptr %w2, ptr %boxes)
  %method_box = call ptr {c_function(at, "PyMethod_New")}(ptr %bound_function, ptr %bound_to)
  br label %checked
"""


def _make_tail() -> str:
    return """
checked:
  %box = phi ptr [ %int_box, %int ], [ %float_box, %float ], [ %bool_box, %bool ], [ %any_box, %any ],
    [ %constant, %const ], [ %object, %held ], [ %tuple_box, %tuple ], [ %range_box, %range ],
    [ %iterator_box, %range_iterator ], [ %iterator, %home ], [ %named, %found ], [ %attribute, %field ],
    [ %instance_box, %instance ], [ %referred, %reference ], [ %item_iterator_box, %item_iterator ],
    [ %over, %item_home ], [ %method_box, %method ]
  %after = phi ptr [ %w2, %int ], [ %w2, %float ], [ %w2, %bool ], [ %w2, %any ], [ %w2, %const ], [ %w2, %held ],
    [ %after_tuple, %tuple ], [ %after_instance, %instance ], [ %w4, %range ], [ %w4, %range_iterator ], [ %w4, %home ],
    [ %w2, %found ], [ %w3, %field ], [ %w2, %reference ], [ %w3, %item_iterator ], [ %w3, %item_home ],
    [ %w3, %method ]
  %failed = icmp eq ptr %box, null
  br i1 %failed, label %no, label %made
made:
  %result = phi ptr [ null, %made_any ], [ %box, %checked ]
  %word1 = phi ptr [ %w2, %made_any ], [ %after, %checked ]
  call void @set_item_ptr(ptr %boxes, i64 %k, ptr %result)
  %k1 = add i64 %k, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}
"""


def _make_tuple(at: StubAddresses) -> str:
    return f"""
define internal ptr @make_tuple(ptr %words, ptr %boxes) {{
entry:
  %count = load i64, ptr %words
  %tuple = call ptr {c_function(at, "PyTuple_New")}(i64 %count)
  %failed = icmp eq ptr %tuple, null
  br i1 %failed, label %done, label %fill
fill:
  %items = call ptr @at(ptr %tuple, i64 {abi.TUPLE.ob_item})
  br label %next
next:
  %k = phi i64 [ 0, %fill ], [ %k1, %put ]
  %end = icmp eq i64 %k, %count
  br i1 %end, label %done, label %put
put:
  %k1 = add i64 %k, 1
  %word = getelementptr i64, ptr %words, i64 %k1
  %item = call ptr @part(ptr %word, ptr %boxes)
  call void @incref(ptr %item)
  call void @set_item_ptr(ptr %items, i64 %k, ptr %item)
  br label %next
done:
  ret ptr %tuple
}}
"""


def _make_instance() -> str:
    """As `object` makes instances of a class for which it does (see `cpython.instances.is_made_plainly`)."""
    maker = f"inttoptr (i64 {raw.read_u64(id(object) + abi.TYPE.tp_new)} to ptr)"
    return f"""
define internal ptr @make_instance(ptr %words, ptr %boxes) {{
entry:
  %class = load ptr, ptr %words
  %new = call ptr {maker}(ptr %class, ptr {address_of(())}, ptr null)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %done, label %fill
fill:
  %count = call i64 @item_i64(ptr %words, i64 1)
  %pairs = getelementptr i64, ptr %words, i64 2
  br label %next
next:
  %k = phi i64 [ 0, %fill ], [ %k1, %put ], [ %k1, %note ]
  %end = icmp eq i64 %k, %count
  br i1 %end, label %done, label %put
put:
  %k1 = add i64 %k, 1
  %pair = getelementptr [2 x i64], ptr %pairs, i64 %k
  %where = load i64, ptr %pair
  %part_word = getelementptr i64, ptr %pair, i64 1
  %part = call ptr @part(ptr %part_word, ptr %boxes)
  call void @incref(ptr %part)
  %place = call ptr @field_place(ptr %new, i64 %where)
  store ptr %part, ptr %place
  %is_value = trunc i64 %where to i1
  br i1 %is_value, label %note, label %next
note:
  %index = lshr i64 %where, 4
  call void @note_value(ptr %new, i64 %index)
  br label %next
done:
  ret ptr %new
}}
"""


def _make_range(at: StubAddresses) -> str:
    return f"""
define internal ptr @make_range(ptr %words, ptr %boxes) {{
  %arguments = alloca [3 x ptr]
  %start = call ptr @part(ptr %words, ptr %boxes)
  store ptr %start, ptr %arguments
  %w2 = getelementptr i64, ptr %words, i64 1
  %stop = call ptr @part(ptr %w2, ptr %boxes)
  call void @set_item_ptr(ptr %arguments, i64 1, ptr %stop)
  %w3 = getelementptr i64, ptr %words, i64 2
  %step = call ptr @part(ptr %w3, ptr %boxes)
  call void @set_item_ptr(ptr %arguments, i64 2, ptr %step)
  %range = call ptr {c_function(at, "PyObject_Vectorcall")}(ptr {address_of(range)}, ptr %arguments, i64 3, ptr null)
  ret ptr %range
}}
"""


def _drop() -> str:
    return """
define internal void @drop(ptr %objects, i64 %count) {
entry:
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %one ]
  %end = icmp eq i64 %k, %count
  br i1 %end, label %done, label %one
one:
  %object = call ptr @item_ptr(ptr %objects, i64 %k)
  call void @decref(ptr %object)
  %k1 = add i64 %k, 1
  br label %next
done:
  ret void
}
"""


def _slot_object() -> str:
    return """
; The object for a slot, with a new reference (NULL for a slot without one).
define internal ptr @slot_object(i64 %number, ptr %boxes) {
  %null = icmp slt i64 %number, 0
  br i1 %null, label %none, label %some
none:
  ret ptr null
some:
  %object = call ptr @item_ptr(ptr %boxes, i64 %number)
  %unbound = icmp eq ptr %object, null
  br i1 %unbound, label %none, label %held
held:
  call void @incref(ptr %object)
  ret ptr %object
}
"""
