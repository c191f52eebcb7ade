"""Helpers that find and change what has a name: attributes of instances that may have dicts of their own, and globals.

An instance has its attributes among values, whose names its class knows, or in a dict. Both are looked through as the
interpreter does it, without a comparison of keys: names of attributes are interned. Where a key has the same hash and
is another object, or the table is no table of strs, or large, or others have the dict as well, nothing is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.cpython import abi

if TYPE_CHECKING:
    from collections.abc import Callable

HELPERS = ("find_named", "put_named", "is_unwatched", "put_global")
"""The helpers' names."""
UNKNOWN_OWN = 1
"""In the place of an address: it is not to be told."""
_ABSENT, _UNKNOWN = -1, -2
"""In the place of an index."""
_GENERAL, _SMALL, _SHIFT = 0, 8, 5
"""The kind of tables whose keys may be anything; from how many bits on indices take more than a byte; of what remains
of a hash at each step."""


def name_text(symbol: Callable[[str], int], relied: int, others: int) -> str:
    """The text of the helpers. `relied` is the map of what regions rely on (`watch.Filters`), `others` the address of
    a word with the bits of dict watchers that are not ours."""
    return _FIND_KEY + _FIND_NAMED + _put(symbol) + _put_named(symbol) + _put_global(symbol, relied, others)


_FIND_KEY = f"""
; An entry of a table of keys: the key, and the value. They stand behind the indices.
define internal ptr @entry_of(ptr %keys, i64 %index) alwaysinline nounwind {{
  %bits_place = getelementptr i8, ptr %keys, i64 {abi.DICT_KEYS.dk_log2_index_bytes}
  %bits8 = load i8, ptr %bits_place
  %bits = zext i8 %bits8 to i64
  %size = shl i64 1, %bits
  %indices = getelementptr i8, ptr %keys, i64 {abi.DICT_KEYS.dk_indices}
  %entries = getelementptr i8, ptr %indices, i64 %size
  %entry = getelementptr [2 x ptr], ptr %entries, i64 %index
  ret ptr %entry
}}

; Which entry of a table of keys has a name.
define internal i64 @find_key(ptr %keys, ptr %name) nounwind {{
entry:
  %kind_place = getelementptr i8, ptr %keys, i64 {abi.DICT_KEYS.dk_kind}
  %kind = load i8, ptr %kind_place
  %general = icmp eq i8 %kind, {_GENERAL}
  %bits_place = getelementptr i8, ptr %keys, i64 {abi.DICT_KEYS.dk_log2_size}
  %bits8 = load i8, ptr %bits_place
  %bits = zext i8 %bits8 to i64
  %large = icmp uge i64 %bits, {_SMALL}
  %other = or i1 %general, %large
  br i1 %other, label %unknown, label %start
start:
  %one_more = shl i64 1, %bits
  %mask = sub i64 %one_more, 1
  %indices = getelementptr i8, ptr %keys, i64 {abi.DICT_KEYS.dk_indices}
  %hash_place = getelementptr i8, ptr %name, i64 {abi.UNICODE.hash}
  %hash = load i64, ptr %hash_place
  %first = and i64 %hash, %mask
  br label %probe
probe:
  %at = phi i64 [ %first, %start ], [ %following, %next ]
  %rest = phi i64 [ %hash, %start ], [ %less, %next ]
  %index_place = getelementptr i8, ptr %indices, i64 %at
  %index8 = load i8, ptr %index_place
  %index = sext i8 %index8 to i64
  %empty = icmp eq i64 %index, {_ABSENT}
  br i1 %empty, label %absent, label %used
used:
  %deleted = icmp slt i64 %index, 0
  br i1 %deleted, label %next, label %look
look:
  %key_place = call ptr @entry_of(ptr %keys, i64 %index)
  %key = load ptr, ptr %key_place
  %same = icmp eq ptr %key, %name
  br i1 %same, label %found, label %compare
compare:
  %other_place = getelementptr i8, ptr %key, i64 {abi.UNICODE.hash}
  %other_hash = load i64, ptr %other_place
  %alike = icmp eq i64 %other_hash, %hash
  br i1 %alike, label %unknown, label %next
next:
  %less = lshr i64 %rest, {_SHIFT}
  %five = mul i64 %at, 5
  %sum = add i64 %five, %less
  %sum1 = add i64 %sum, 1
  %following = and i64 %sum1, %mask
  br label %probe
found:
  ret i64 %index
absent:
  ret i64 {_ABSENT}
unknown:
  ret i64 {_UNKNOWN}
}}
"""


_FIND_NAMED = f"""
; What an object has under a name: NULL for nothing.
define ptr @find_named(ptr %object, ptr %name) nounwind {{
entry:
  %tagged_place = getelementptr i8, ptr %object, i64 {abi.INSTANCE.values}
  %tagged = load i64, ptr %tagged_place
  %tag = and i64 %tagged, 1
  %among_values = icmp ne i64 %tag, 0
  br i1 %among_values, label %values, label %dict
values:
  %type_place = getelementptr i8, ptr %object, i64 {abi.OBJECT.ob_type}
  %type = load ptr, ptr %type_place
  %shared_place = getelementptr i8, ptr %type, i64 {abi.TYPE.ht_cached_keys}
  %shared = load ptr, ptr %shared_place
  %values_word = add i64 %tagged, 1
  %own_values = inttoptr i64 %values_word to ptr
  %place_among = call i64 @find_key(ptr %shared, ptr %name)
  br label %indexed
dict:
  %none = icmp eq i64 %tagged, 0
  br i1 %none, label %absent, label %some
some:
  %own = inttoptr i64 %tagged to ptr
  ; Others may have the same dict, or be told of what it gets.
  %holders = load i64, ptr %own
  %alone = icmp eq i64 %holders, 1
  %version_place = getelementptr i8, ptr %own, i64 {abi.DICT.ma_version_tag}
  %version = load i64, ptr %version_place
  %watchers = and i64 %version, {abi.DICT_WATCHERS}
  %unwatched = icmp eq i64 %watchers, 0
  %its_own = and i1 %alone, %unwatched
  br i1 %its_own, label %only, label %unknown
only:
  %keys_place = getelementptr i8, ptr %own, i64 {abi.DICT.ma_keys}
  %keys = load ptr, ptr %keys_place
  %place_in = call i64 @find_key(ptr %keys, ptr %name)
  %split_place = getelementptr i8, ptr %own, i64 {abi.DICT.ma_values}
  %split = load ptr, ptr %split_place
  %combined = icmp eq ptr %split, null
  %out = icmp slt i64 %place_in, 0
  %not_here = xor i1 %out, true
  %in_entry = and i1 %combined, %not_here
  br i1 %in_entry, label %entry_value, label %indexed
entry_value:
  %entry_place = call ptr @entry_of(ptr %keys, i64 %place_in)
  %in_place = getelementptr i8, ptr %entry_place, i64 8
  %in_own = load ptr, ptr %in_place
  ret ptr %in_own
indexed:
  %index = phi i64 [ %place_among, %values ], [ %place_in, %only ]
  %array = phi ptr [ %own_values, %values ], [ %split, %only ]
  switch i64 %index, label %take [ i64 {_ABSENT}, label %absent i64 {_UNKNOWN}, label %unknown ]
take:
  %value_place = getelementptr ptr, ptr %array, i64 %index
  %value = load ptr, ptr %value_place
  ret ptr %value
absent:
  ret ptr null
unknown:
  ret ptr inttoptr (i64 {UNKNOWN_OWN} to ptr)
}}
"""


def _put(symbol: Callable[[str], int]) -> str:
    return f"""
; Puts a value in the place of an old one by a C function, which takes a reference of its own; whether that went well.
define internal i1 @put_by(ptr %function, ptr %owner, ptr %name, ptr %old, ptr %new) nounwind alwaysinline {{
  call void @incref(ptr %old)
  call void @hand_over(ptr %new)
  %how = call i32 %function(ptr %owner, ptr %name, ptr %new)
  call void inttoptr (i64 {symbol("Py_DecRef")} to ptr)(ptr %new)
  call void @give_back(ptr %old)
  %well = icmp eq i32 %how, 0
  ret i1 %well
}}
"""


def _put_named(symbol: Callable[[str], int]) -> str:
    put = f"inttoptr (i64 {symbol('PyObject_GenericSetAttr')} to ptr)"
    return f"""
; Gives an object another value under a name that it has, and of which its class says nothing that goes before; false
; where it has none, or where there is no memory.
define i1 @put_named(ptr %object, ptr %name, ptr %new) nounwind {{
entry:
  %missing = icmp eq ptr %new, null
  br i1 %missing, label %no, label %look
look:
  %old = call ptr @find_named(ptr %object, ptr %name)
  %old_word = ptrtoint ptr %old to i64
  %nothing = icmp ule i64 %old_word, {UNKNOWN_OWN}
  br i1 %nothing, label %no, label %over
over:
  %well = call i1 @put_by(ptr {put}, ptr %object, ptr %name, ptr %old, ptr %new)
  ret i1 %well
no:
  ret i1 false
}}
"""


def _put_global(symbol: Callable[[str], int], relied: int, others: int) -> str:
    names = ("_PyDict_GetItem_KnownHash", "PyDict_SetItem")
    find, put = (f"inttoptr (i64 {symbol(name)} to ptr)" for name in names)
    return f"""
; Whether nobody is told when a namespace gets another value under a key that it has, and no region relies on that: so
; the watcher finds it, too.
define i1 @is_unwatched(ptr %namespace, ptr %key, i64 %hash) nounwind {{
entry:
  %keys_place = getelementptr i8, ptr %namespace, i64 {abi.DICT.ma_keys}
  %keys = load ptr, ptr %keys_place
  %kind_place = getelementptr i8, ptr %keys, i64 {abi.DICT_KEYS.dk_kind}
  %kind = load i8, ptr %kind_place
  %plain = icmp ne i8 %kind, {_GENERAL}
  %version_place = getelementptr i8, ptr %namespace, i64 {abi.DICT.ma_version_tag}
  %version = load i64, ptr %version_place
  %others = load i64, ptr inttoptr (i64 {others} to ptr)
  %told = and i64 %version, %others
  %untold = icmp eq i64 %told, 0
  %possible = and i1 %plain, %untold
  br i1 %possible, label %look, label %no
look:
  %address = ptrtoint ptr %namespace to i64
  %mixed = xor i64 %address, %hash
  %filter_key = or i64 %mixed, 1
  %found = call i64 @map_find(ptr inttoptr (i64 {relied} to ptr), i64 %filter_key)
  %free = icmp eq i64 %found, 0
  ret i1 %free
no:
  ret i1 false
}}

; Gives a namespace another value under a key that it has; false, with an exception set, where there is no memory.
define i1 @put_global(ptr %namespace, ptr %key, i64 %hash, ptr %new) nounwind {{
entry:
  %missing = icmp eq ptr %new, null
  br i1 %missing, label %no, label %put
put:
  %old = call ptr {find}(ptr %namespace, ptr %key, i64 %hash)
  %well = call i1 @put_by(ptr {put}, ptr %namespace, ptr %key, ptr %old, ptr %new)
  ret i1 %well
no:
  ret i1 false
}}
"""
