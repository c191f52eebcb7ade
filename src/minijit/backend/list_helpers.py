"""Helpers by which regions search lists and tuples, change their length, and make lists.

What is found is what `ir.searching` says; what is deleted is kept as what is overwritten (`heap_helpers`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.heap_helpers import cases, new_text
from minijit.backend.snapshots import TAGS
from minijit.cpython import abi, raw
from minijit.ir.searching import APART, NUMBERS, SINGLE

if TYPE_CHECKING:
    from collections.abc import Callable

MAKERS = {
    "new_list": ("PyList_New", "i64 %size"),
    "list_slice": ("PyList_GetSlice", "ptr %list, i64 %start, i64 %stop"),
    "list_repeat": ("PySequence_Repeat", "ptr %list, i64 %times"),
    "list_concat": ("PySequence_Concat", "ptr %list, ptr %other"),
}
"""What makes a list: a C function, and its parameters."""
HELPERS = ("find_number", "find_object", "append_object", "insert_object", "delete_item", *MAKERS)
"""The helpers' names."""
NONE, UNKNOWN = -1, -2
"""Answers to a search: there is none; it would take more to find out."""
_INT, _FLOAT = TAGS["int"], TAGS["float"]


def list_text(symbol: Callable[[str], int]) -> str:
    """The text of the helpers."""
    clear = f"inttoptr (i64 {symbol('PyErr_Clear')} to ptr)"
    made = (
        new_text(name, params, f"inttoptr (i64 {symbol(function)} to ptr)({params})", clear)
        for name, (function, params) in MAKERS.items()
    )
    return _IS_APART + _find_number() + _find_object(symbol) + _changes(symbol) + "".join(made)


_IS_APART = f"""
; Whether objects of a type, which is no number's, equal nothing of another type: some of the interpreter's, and all
; whose classes leave it to `object`.
define internal i1 @is_apart(i64 %type) nounwind {{
  switch i64 %type, label %other [ {cases(APART, "yes")} ]
other:
  %address = inttoptr i64 %type to ptr
  %place = getelementptr i8, ptr %address, i64 {abi.TYPE.tp_richcompare}
  %compare = load i64, ptr %place
  %plain = icmp eq i64 %compare, {raw.read_u64(id(object) + abi.TYPE.tp_richcompare)}
  ret i1 %plain
yes:
  ret i1 true
}}
"""


def _search(name: str, sought: str, first: str, compare: str) -> str:
    """A function that gives the index of the first item that equals what is sought. `first` leads to `start`, or to
    `unknown`; `compare` looks at `%item`, and leads to `found`, `other` or `unknown`."""
    return f"""
define i64 @{name}(ptr %items, i64 %count, {sought}) nounwind {{
entry:{first}
start:
  br label %next
next:
  %k = phi i64 [ 0, %start ], [ %following, %other ]
  %over = icmp sge i64 %k, %count
  br i1 %over, label %none, label %look
look:
  %place = getelementptr ptr, ptr %items, i64 %k
  %item = load ptr, ptr %place
  %type_place = getelementptr i8, ptr %item, i64 {abi.OBJECT.ob_type}
  %type = load i64, ptr %type_place{compare}
no_number:
  %apart = call i1 @is_apart(i64 %type)
  br i1 %apart, label %other, label %unknown
other:
  %following = add i64 %k, 1
  br label %next
found:
  ret i64 %k
none:
  ret i64 {NONE}
unknown:
  ret i64 {UNKNOWN}
}}
"""


def _find_number() -> str:
    """Of a number of any sort."""
    first = f"""
  %is_float = icmp eq i64 %tag, {_FLOAT}
  %float = bitcast i64 %bits to double
  %unequal = fcmp uno double %float, %float
  %nan = and i1 %is_float, %unequal
  br i1 %nan, label %unknown, label %start"""
    compare = f"""
  switch i64 %type, label %no_number [
    i64 {id(int)}, label %int
    i64 {id(float)}, label %float_item
    i64 {id(bool)}, label %bool
  ]
int:
  %pair = call {{i64, i1}} @unbox_int(ptr %item)
  %value = extractvalue {{i64, i1}} %pair, 0
  %fits = extractvalue {{i64, i1}} %pair, 1
  br i1 %fits, label %compare, label %large
large:
  br i1 %is_float, label %unknown, label %other
float_item:
  %value_place = getelementptr i8, ptr %item, i64 {abi.FLOAT.ob_fval}
  %float_bits = load i64, ptr %value_place
  br label %compare
bool:
  %true = icmp eq ptr %item, inttoptr (i64 {id(True)} to ptr)
  %bool_bits = zext i1 %true to i64
  br label %compare
compare:
  %item_tag = phi i64 [ {_INT}, %int ], [ {_FLOAT}, %float_item ], [ {_INT}, %bool ]
  %item_bits = phi i64 [ %value, %int ], [ %float_bits, %float_item ], [ %bool_bits, %bool ]
  %order = call i32 @number_order(i64 %item_tag, i64 %item_bits, i64 %tag, i64 %bits)
  %same = icmp eq i32 %order, 0
  br i1 %same, label %found, label %other"""
    return _search("find_number", "i64 %tag, i64 %bits", first, compare)


def _find_object(symbol: Callable[[str], int]) -> str:
    """Of an object that is no number."""
    never = (*NUMBERS, *(each for each in APART if each not in SINGLE))
    first = f"""
  %own_place = getelementptr i8, ptr %object, i64 {abi.OBJECT.ob_type}
  %own = load i64, ptr %own_place
  %is_text = icmp eq i64 %own, {id(str)}
  %plain = call i1 @is_apart(i64 %own)
  switch i64 %own, label %asked [ {cases(never, "unknown")} ]
asked:
  br i1 %plain, label %start, label %unknown"""
    compare = f"""
  %is_it = icmp eq ptr %item, %object
  br i1 %is_it, label %found, label %unlike
unlike:
  switch i64 %type, label %no_number [ i64 {id(str)}, label %text {cases(NUMBERS, "other")} ]
text:
  br i1 %is_text, label %texts, label %other
texts:
  %order = call i32 inttoptr (i64 {symbol("PyUnicode_Compare")} to ptr)(ptr %item, ptr %object)
  %same = icmp eq i32 %order, 0
  br i1 %same, label %found, label %other"""
    return _search("find_object", "ptr %object", first, compare)


def _changes(symbol: Callable[[str], int]) -> str:
    append, insert, put, decref = (
        f"inttoptr (i64 {symbol(name)} to ptr)"
        for name in ("PyList_Append", "PyList_Insert", "PyList_SetSlice", "Py_DecRef")
    )
    return f"""
; Gives a list one item more; false, with an exception set, where there is no memory.
{_longer("append_object", "", append, decref)}{_longer("insert_object", "i64 %index, ", insert, decref)}
; Takes an item out of a list; false, with an exception set, where there is no memory.
define i1 @delete_item(ptr %list, i64 %index) nounwind {{
  %items_place = getelementptr i8, ptr %list, i64 {abi.LIST.ob_item}
  %items = load ptr, ptr %items_place
  %place = getelementptr ptr, ptr %items, i64 %index
  %item = load ptr, ptr %place
  call void @incref(ptr %item)
  %behind = add i64 %index, 1
  %how = call i32 {put}(ptr %list, i64 %index, i64 %behind, ptr null)
  call void @give_back(ptr %item)
  %done = icmp eq i32 %how, 0
  ret i1 %done
}}
"""


def _longer(name: str, where: str, function: str, decref: str) -> str:
    return f"""
define i1 @{name}(ptr %list, {where}ptr %object) nounwind {{
  %how = call i32 {function}(ptr %list, {where}ptr %object)
  %done = icmp eq i32 %how, 0
  br i1 %done, label %longer, label %no
longer:
  ; It has a reference more: of an object that was kept last, that is one too many.
  call void @hand_over(ptr %object)
  call void {decref}(ptr %object)
  ret i1 true
no:
  ret i1 false
}}
"""
