"""The stubs that call entries go on to: what no version takes is interpreted, what is out of date is settled first,
and arguments that are not simply positional are bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.stub_tools import c_function, word
from minijit.backend.words import CHAIN_WORDS, Call
from minijit.cpython import abi

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses


def call_text(at: StubAddresses) -> str:
    """The text of `miss`, `changed`, `watched`, `reach` and `bind`."""
    return _calls(at) + _reach(at) + _bind(at)


def _calls(at: StubAddresses) -> str:
    return _interpret(at) + _miss(at) + _changed() + _watched()


def _interpret(at: StubAddresses) -> str:
    return f"""
define internal ptr @interpret(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
  %thread = call ptr @thread()
  call void @spare(ptr %thread, ptr %function)
  %amount = call i32 @relieve(ptr %thread)
  %result = call ptr {c_function(at, "_PyFunction_Vectorcall")}(ptr %function, ptr %arguments, i64 %count, ptr %names)
  %back = sub i32 0, %amount
  call void @relieve_by(ptr %thread, i32 %back)
  ret ptr %result
}}
"""


def _miss(at: StubAddresses) -> str:
    return f"""
; The last link of a function's chain of versions: none took the call.
define ptr @miss(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
entry:
  %function_word = ptrtoint ptr %function to i64
  %found = call i64 @map_find(ptr inttoptr (i64 {at.functions} to ptr), i64 %function_word)
  %absent = icmp eq i64 %found, 0
  br i1 %absent, label %go, label %counted
counted:
  %chain = inttoptr i64 %found to ptr
  %hot_at = call ptr @at(ptr %chain, i64 {word(CHAIN_WORDS, "miss_hot_at")})
  call void @count(ptr %chain, ptr %hot_at, i64 {Call.MISS:d}, i64 %function_word, i64 %found)
  br label %go
go:
  %result = call ptr @interpret(ptr %function, ptr %arguments, i64 %count, ptr %names)
  ret ptr %result
}}
"""


def _changed() -> str:
    return f"""
; Whatever broke has been taken out of service when this goes on, so the call starts anew.
define ptr @changed(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
  %due = call i1 @settle()
  %entry = call ptr @get_ptr(ptr %function, i64 {abi.FUNCTION.vectorcall})
  %target = select i1 %due, ptr @interpret, ptr %entry
  %result = musttail call ptr %target(ptr %function, ptr %arguments, i64 %count, ptr %names)
  ret ptr %result
}}
"""


def _watched() -> str:
    return f"""
define ptr @watched(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
  %function_word = ptrtoint ptr %function to i64
  call void @call_python(i64 {Call.WATCHED:d}, i64 %function_word, i64 0)
  %result = call ptr @interpret(ptr %function, ptr %arguments, i64 %count, ptr %names)
  ret ptr %result
}}
"""


def _reach(at: StubAddresses) -> str:
    return f"""
; A function's entry that gives the distance from the interpreter's loop that has called it, to learn what is near.
define ptr @reach(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
  %thread = call ptr @thread()
  %distance = call i64 @distance(ptr %thread)
  %result = call ptr {c_function(at, "PyLong_FromLongLong")}(i64 %distance)
  ret ptr %result
}}
"""


def _bind(at: StubAddresses) -> str:
    """Binding: positional arguments, keywords found by identity of the name, defaults. NULL where it takes more."""
    return _bind_positional(at) + _bind_keywords() + _find_defaults() + _bind_defaults(at)


def _bind_positional(at: StubAddresses) -> str:
    return f"""
define ptr @bind(ptr %function, ptr %arguments, i64 %nargsf, ptr %names) {{
entry:
  %bound = getelementptr i8, ptr inttoptr (i64 {at.bound} to ptr), i64 0
  %given = and i64 %nargsf, {2**63 - 1}
  %code = call ptr @get_ptr(ptr %function, i64 {abi.FUNCTION.func_code})
  %positional32 = call i32 @get_i32(ptr %code, i64 {abi.CODE.co_argcount})
  %positional = zext i32 %positional32 to i64
  %keyword32 = call i32 @get_i32(ptr %code, i64 {abi.CODE.co_kwonlyargcount})
  %keyword_only = zext i32 %keyword32 to i64
  %all = add i64 %positional, %keyword_only
  %too_many = icmp ugt i64 %given, %positional
  br i1 %too_many, label %no, label %clear
clear:
  %bytes = shl i64 %all, 3
  call void @llvm.memset.p0.i64(ptr %bound, i8 0, i64 %bytes, i1 false)
  %given_bytes = shl i64 %given, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %bound, ptr %arguments, i64 %given_bytes, i1 false)
  %name_tuple = call ptr @get_ptr(ptr %code, i64 {abi.CODE.co_localsplusnames})
  %parameters = call ptr @at(ptr %name_tuple, i64 {abi.TUPLE.ob_item})
  %bare = icmp eq ptr %names, null
  br i1 %bare, label %defaults, label %keywords
"""


def _bind_keywords() -> str:
    return f"""
keywords:
  %keyword_count = call i64 @get_i64(ptr %names, i64 {abi.VAR_OBJECT.ob_size})
  %keyword_names = call ptr @at(ptr %names, i64 {abi.TUPLE.ob_item})
  %nameless32 = call i32 @get_i32(ptr %code, i64 {abi.CODE.co_posonlyargcount})
  %nameless = zext i32 %nameless32 to i64
  br label %keyword
keyword:
  %k = phi i64 [ 0, %keywords ], [ %k1, %placed ]
  %keywords_done = icmp eq i64 %k, %keyword_count
  br i1 %keywords_done, label %defaults, label %find
find:
  %wanted = call ptr @item_ptr(ptr %keyword_names, i64 %k)
  br label %search
search:
  %p = phi i64 [ %nameless, %find ], [ %p1, %other ]
  %unknown = icmp eq i64 %p, %all
  br i1 %unknown, label %no, label %compare
compare:
  %parameter = call ptr @item_ptr(ptr %parameters, i64 %p)
  %same = icmp eq ptr %parameter, %wanted
  br i1 %same, label %place, label %other
other:
  %p1 = add i64 %p, 1
  br label %search
place:
  %slot = getelementptr ptr, ptr %bound, i64 %p
  %already = load ptr, ptr %slot
  %twice = icmp ne ptr %already, null
  br i1 %twice, label %no, label %placed
placed:
  %position = add i64 %given, %k
  %value = call ptr @item_ptr(ptr %arguments, i64 %position)
  store ptr %value, ptr %slot
  %k1 = add i64 %k, 1
  br label %keyword
"""


def _find_defaults() -> str:
    return f"""
defaults:
  %defaults_tuple = call ptr @get_ptr(ptr %function, i64 {abi.FUNCTION.func_defaults})
  %no_defaults = icmp eq ptr %defaults_tuple, null
  br i1 %no_defaults, label %first_missing, label %count_defaults
count_defaults:
  %size = call i64 @get_i64(ptr %defaults_tuple, i64 {abi.VAR_OBJECT.ob_size})
  br label %first_missing
first_missing:
  %default_count = phi i64 [ 0, %defaults ], [ %size, %count_defaults ]
  %first_default = sub i64 %positional, %default_count
  br label %fill
"""


def _bind_defaults(at: StubAddresses) -> str:
    return f"""
fill:
  %f = phi i64 [ 0, %first_missing ], [ %f1, %filled ]
  %filled_all = icmp eq i64 %f, %all
  br i1 %filled_all, label %yes, label %look
look:
  %f_slot = getelementptr ptr, ptr %bound, i64 %f
  %f_value = load ptr, ptr %f_slot
  %present = icmp ne ptr %f_value, null
  br i1 %present, label %filled, label %absent
absent:
  %is_positional = icmp ult i64 %f, %positional
  br i1 %is_positional, label %from_tuple, label %from_dict
from_tuple:
  %index = sub i64 %f, %first_default
  %required = icmp slt i64 %index, 0
  br i1 %required, label %no, label %take
take:
  %items = call ptr @at(ptr %defaults_tuple, i64 {abi.TUPLE.ob_item})
  %item = call ptr @item_ptr(ptr %items, i64 %index)
  store ptr %item, ptr %f_slot
  br label %filled
from_dict:
  %dict = call ptr @get_ptr(ptr %function, i64 {abi.FUNCTION.func_kwdefaults})
  %no_dict = icmp eq ptr %dict, null
  br i1 %no_dict, label %no, label %kind
kind:
  ; Looking among keys that are no plain strs may run Python code.
  %keys = call ptr @get_ptr(ptr %dict, i64 {abi.DICT.ma_keys})
  %kind_of_keys = call i8 @get_i8(ptr %keys, i64 {abi.DICT_KEYS.dk_kind})
  %any_keys = icmp eq i8 %kind_of_keys, 0
  br i1 %any_keys, label %no, label %in_dict
in_dict:
  %f_name = call ptr @item_ptr(ptr %parameters, i64 %f)
  %hash = call i64 @get_i64(ptr %f_name, i64 {abi.UNICODE.hash})
  %found = call ptr {c_function(at, "_PyDict_GetItem_KnownHash")}(ptr %dict, ptr %f_name, i64 %hash)
  %not_found = icmp eq ptr %found, null
  br i1 %not_found, label %no, label %take_found
take_found:
  store ptr %found, ptr %f_slot
  br label %filled
filled:
  %f1 = add i64 %f, 1
  br label %fill
yes:
  ret ptr %bound
no:
  ret ptr null
}}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""
