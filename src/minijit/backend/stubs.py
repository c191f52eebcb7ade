"""The stubs: machine code that exists once a process and stands between the interpreter and regions.

| stub | called by | does |
| --- | --- | --- |
| `on_start`, `on_jump` | `sys.monitoring`, PY_START and JUMP | counts; enters a loop's region in the live frame |
| `miss`, `watched` | a call entry that cannot take the call | counts, interprets |
| `bind` | a call entry | makes a positional argument array of keywords and defaults |
| `leave_call` | an exit of a region entered by a call | builds the interpreter frame and lets the interpreter run it |
| `leave_loop` | an exit of a region entered in a live frame | rewrites that frame |
| `leave_return` | a return of an object that must be made | makes it |

The helpers of `prelude`, which regions call, are compiled along with them.

**Leaving a call** (the teleport): a frame is pushed on the thread's data stack as the interpreter's own call does it,
filled from the snapshot, and given to `_PyEval_EvalFrameDefault`, which goes on with the instruction that the record
names and pops the frame when it is done. No event is needed and nothing runs in between. See docs/decisions/0002.

**Python is called** through one handler, `handler(kind, a, b)`, at thresholds only (`Call` lists the kinds). The
handler never raises into the program, and the program's signal handlers do not run inside of it: signals are blocked
for the time, and while one is waiting to be handled, a threshold is put off by one.

Native memory that Python writes and the stubs read: a `Site` for each place that is counted (a code object's start, a
loop header), found in the map `sites` under `site_key`; a `Chain` for each function with call entries, found in the map
`functions` under the function's address; the `State`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minijit.backend.entry import FOREIGN_WORD
from minijit.backend.map_stub import LOOKUP_IR
from minijit.backend.prelude import HELPERS, helper_text
from minijit.backend.snapshots import KEEP_SLOT, RECORD_WORDS, TAGS, Make
from minijit.cpython import abi
from minijit.cpython.signals import BLOCKED

if TYPE_CHECKING:
    from collections.abc import Callable


class Call(enum.IntEnum):
    """Why the handler is called, with the two words that come along."""

    START = 0  # a code object's start is hot: code, site
    LOOP = 1  # a loop header is hot: code, site
    EXIT = 2  # an exit is hot: record, 0
    MISS = 3  # calls with types that no version takes: function, chain
    LOOP_MISS = 4  # a loop is reached with types that no version takes: code, site
    WATCHED = 5  # a call entry found that somebody else watches the code: function, 0
    STALE = 6  # a frame is about to be resumed in code whose instrumentation is out of date: code, 0


SITE_WORDS = ("count", "hot_at", "entry", "misses", "miss_hot_at")
CHAIN_WORDS = ("misses", "miss_hot_at")
STUBS = (*HELPERS, "on_start", "on_jump", "miss", "watched", "bind", "leave_call", "leave_loop", "leave_return")

SHALLOW = 3000
"""Up to this recursion depth a frame below one of our stubs counts no C recursion, as it would not without us: the C
stack has room for it. Deeper, CPython's own limit protects the stack."""
HEADROOM = 500
"""How many frames more than the program's limit allows a handler of ours may have."""
MAX_BOUND = 256
"""The most parameters of a function with a call entry."""
SIG_SETMASK = 2
EVAL_STACK_UNITS = 2
"""What one nested run of the interpreter loop takes from `c_recursion_remaining`."""


def site_key(code: int, offset: int) -> int:
    """The key of a place in the map of sites: code objects lie below 2**48, offsets below 2**16."""
    return (code << 16) | offset


@dataclass(frozen=True, slots=True)
class StubAddresses:
    """What the stubs refer to: the words of the state, two maps, the argument buffer, the interpreter's words."""

    handler: int  # a word that holds the handler object, or NULL
    sites: int
    functions: int
    bound: int
    raw: int
    monitoring_version: int
    eval_breaker: int
    symbol: Callable[[str], int]


def _word(words: tuple[str, ...], name: str) -> int:
    return 8 * words.index(name)


def stub_text(at: StubAddresses) -> str:
    """The LLVM text of all stubs."""
    parts = (
        helper_text(at.symbol),
        LOOKUP_IR,
        _helpers(at),
        _events(),
        _calls(at),
        _bind(at),
        _make(at),
        _leave(at),
    )
    return "\n".join(parts)


def _function(at: StubAddresses, symbol: str) -> str:
    return f"inttoptr (i64 {at.symbol(symbol)} to ptr)"


def _object(value: object) -> str:
    return f"inttoptr (i64 {id(value)} to ptr)"


def lift_limit() -> str:
    """A function that lets a thread go deeper for a while: our handlers need frames where the program has none left."""
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


def _helpers(at: StubAddresses) -> str:
    return f"""
define internal ptr @at(ptr %base, i64 %offset) alwaysinline {{
  %place = getelementptr i8, ptr %base, i64 %offset
  ret ptr %place
}}

define internal ptr @thread() alwaysinline {{
  %thread = call ptr {_function(at, "PyThreadState_Get")}()
  ret ptr %thread
}}

define internal void @decref(ptr %object) {{
  call void {_function(at, "Py_DecRef")}(ptr %object)
  ret void
}}

define internal i64 @bump(ptr %counter) alwaysinline {{
  %old = load i64, ptr %counter
  %new = add i64 %old, 1
  store i64 %new, ptr %counter
  ret i64 %new
}}

{lift_limit()}
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
  %postponed = call i64 @bump(ptr %hot_at)
  ret void
}}

; Calls handler(kind, a, b) with monitoring off and signals blocked for this thread; nothing of it reaches the program.
@signals = internal constant [16 x i64] [i64 {BLOCKED}, {", ".join(["i64 0"] * 15)}]
define internal void @call_python(i64 %kind, i64 %a, i64 %b) noinline {{
entry:
  %arguments = alloca [4 x ptr]
  %mask = alloca [16 x i64]
  %handler = load ptr, ptr inttoptr (i64 {at.handler} to ptr)
  %off = icmp eq ptr %handler, null
  br i1 %off, label %done, label %box
box:
  %blocked = call i32 {_function(at, "pthread_sigmask")}(i32 {SIG_SETMASK}, ptr @signals, ptr %mask)
  %thread = call ptr @thread()
  %tracing = call ptr @at(ptr %thread, i64 {abi.THREAD.tracing})
  %depth = load i32, ptr %tracing
  %deeper = add i32 %depth, 1
  store i32 %deeper, ptr %tracing
  call void @lift_limit(ptr %thread, i32 {HEADROOM})
  %kind_object = call ptr {_function(at, "PyLong_FromLongLong")}(i64 %kind)
  %a_object = call ptr {_function(at, "PyLong_FromLongLong")}(i64 %a)
  %b_object = call ptr {_function(at, "PyLong_FromLongLong")}(i64 %b)
  %first = getelementptr ptr, ptr %arguments, i64 1
  store ptr %kind_object, ptr %first
  %second = getelementptr ptr, ptr %arguments, i64 2
  store ptr %a_object, ptr %second
  %third = getelementptr ptr, ptr %arguments, i64 3
  store ptr %b_object, ptr %third
  %result = call ptr {_function(at, "PyObject_Vectorcall")}(ptr %handler, ptr %first, i64 {3 | -(2**63)}, ptr null)
  call void @decref(ptr %kind_object)
  call void @decref(ptr %a_object)
  call void @decref(ptr %b_object)
  call void @lift_limit(ptr %thread, i32 {-HEADROOM})
  store i32 %depth, ptr %tracing
  %raised = icmp eq ptr %result, null
  br i1 %raised, label %report, label %drop
report:
  call void {_function(at, "PyErr_WriteUnraisable")}(ptr %handler)
  br label %unblock
drop:
  call void @decref(ptr %result)
  br label %unblock
unblock:
  %unblocked = call i32 {_function(at, "pthread_sigmask")}(i32 {SIG_SETMASK}, ptr %mask, ptr null)
  br label %done
done:
  ret void
}}

; The value of a small non-negative int object, as the interpreter passes offsets.
define internal i64 @offset(ptr %object) alwaysinline {{
  %place = call ptr @at(ptr %object, i64 {abi.LONG.ob_digit})
  %digit = load i32, ptr %place
  %value = zext i32 %digit to i64
  ret i64 %value
}}

define internal ptr @site(ptr %code, i64 %offset) alwaysinline {{
  %address = ptrtoint ptr %code to i64
  %high = shl i64 %address, 16
  %key = or i64 %high, %offset
  %found = call i64 @map_find(ptr inttoptr (i64 {at.sites} to ptr), i64 %key)
  %site = inttoptr i64 %found to ptr
  ret ptr %site
}}
"""


def _events() -> str:
    none = _object(None)
    return f"""
; PyCFunction (METH_FASTCALL): PY_START, arguments (code, offset).
define ptr @on_start(ptr %self, ptr %arguments, i64 %count) {{
entry:
  %code = load ptr, ptr %arguments
  %site = call ptr @site(ptr %code, i64 0)
  %absent = icmp eq ptr %site, null
  br i1 %absent, label %done, label %counted
counted:
  %number = call i64 @bump(ptr %site)
  %hot_at_place = call ptr @at(ptr %site, i64 {_word(SITE_WORDS, "hot_at")})
  %hot_at = load i64, ptr %hot_at_place
  %hot = icmp eq i64 %number, %hot_at
  br i1 %hot, label %tell, label %done
tell:
  %code_word = ptrtoint ptr %code to i64
  %site_word = ptrtoint ptr %site to i64
  call void @ask(i64 {Call.START:d}, i64 %code_word, i64 %site_word, ptr %hot_at_place)
  br label %done
done:
  ret ptr {none}
}}

; PyCFunction (METH_FASTCALL): JUMP, arguments (code, from, to). Only back edges concern us.
define ptr @on_jump(ptr %self, ptr %arguments, i64 %count) {{
entry:
  %code = load ptr, ptr %arguments
  %from_place = getelementptr ptr, ptr %arguments, i64 1
  %from_object = load ptr, ptr %from_place
  %from = call i64 @offset(ptr %from_object)
  %to_place = getelementptr ptr, ptr %arguments, i64 2
  %to_object = load ptr, ptr %to_place
  %to = call i64 @offset(ptr %to_object)
  %forward = icmp ugt i64 %to, %from
  br i1 %forward, label %done, label %back
back:
  %site = call ptr @site(ptr %code, i64 %to)
  %absent = icmp eq ptr %site, null
  br i1 %absent, label %done, label %known
known:
  %entry_place = call ptr @at(ptr %site, i64 {_word(SITE_WORDS, "entry")})
  %code_word = ptrtoint ptr %code to i64
  %site_word = ptrtoint ptr %site to i64
  %region = load ptr, ptr %entry_place
  %cold = icmp eq ptr %region, null
  br i1 %cold, label %counted, label %watched
watched:
  %monitoring_place = call ptr @at(ptr %code, i64 {abi.CODE.monitoring})
  %monitoring = load ptr, ptr %monitoring_place
  %first_place = call ptr @at(ptr %monitoring, i64 {abi.MONITORING.active_monitors})
  %second_place = call ptr @at(ptr %monitoring, i64 {abi.MONITORING.active_monitors + 7})
  %first = load i64, ptr %first_place
  %second = load i64, ptr %second_place
  %tools = or i64 %first, %second
  %foreign = and i64 %tools, {FOREIGN_WORD}
  %alone = icmp eq i64 %foreign, 0
  br i1 %alone, label %enter, label %done
enter:
  %thread = call ptr @thread()
  %cframe_place = call ptr @at(ptr %thread, i64 {abi.THREAD.cframe})
  %cframe = load ptr, ptr %cframe_place
  %frame = load ptr, ptr %cframe
  %left = call ptr %region(ptr %frame, ptr %thread, i64 0, ptr null)
  %how = ptrtoint ptr %left to i64
  switch i64 %how, label %done [ i64 0, label %missed i64 2, label %failed ]
failed:
  ret ptr null
missed:
  %misses = call ptr @at(ptr %site, i64 {_word(SITE_WORDS, "misses")})
  %missed_now = call i64 @bump(ptr %misses)
  %miss_hot_place = call ptr @at(ptr %site, i64 {_word(SITE_WORDS, "miss_hot_at")})
  %miss_hot_at = load i64, ptr %miss_hot_place
  %miss_hot = icmp eq i64 %missed_now, %miss_hot_at
  br i1 %miss_hot, label %tell_miss, label %done
tell_miss:
  call void @ask(i64 {Call.LOOP_MISS:d}, i64 %code_word, i64 %site_word, ptr %miss_hot_place)
  br label %done
counted:
  %number = call i64 @bump(ptr %site)
  %hot_at_place = call ptr @at(ptr %site, i64 {_word(SITE_WORDS, "hot_at")})
  %hot_at = load i64, ptr %hot_at_place
  %hot = icmp eq i64 %number, %hot_at
  br i1 %hot, label %tell, label %done
tell:
  call void @ask(i64 {Call.LOOP:d}, i64 %code_word, i64 %site_word, ptr %hot_at_place)
  br label %done
done:
  ret ptr {none}
}}
"""


def _calls(at: StubAddresses) -> str:
    return f"""
; Whether this thread is so little deep in Python calls that the C stack has room (see SHALLOW).
define internal i1 @is_shallow(ptr %thread) alwaysinline {{
  %limit_place = call ptr @at(ptr %thread, i64 {abi.THREAD.py_recursion_limit})
  %limit = load i32, ptr %limit_place
  %left_place = call ptr @at(ptr %thread, i64 {abi.THREAD.py_recursion_remaining})
  %left = load i32, ptr %left_place
  %depth = sub i32 %limit, %left
  %shallow = icmp slt i32 %depth, {SHALLOW}
  ret i1 %shallow
}}

; Gives back the C recursion that the interpreter loop below us is about to take; the amount given, to take back.
define internal i32 @relieve(ptr %thread) alwaysinline {{
  %shallow = call i1 @is_shallow(ptr %thread)
  %amount = select i1 %shallow, i32 {EVAL_STACK_UNITS}, i32 0
  call void @relieve_by(ptr %thread, i32 %amount)
  ret i32 %amount
}}

define internal void @relieve_by(ptr %thread, i32 %amount) alwaysinline {{
  %place = call ptr @at(ptr %thread, i64 {abi.THREAD.c_recursion_remaining})
  %old = load i32, ptr %place
  %new = add i32 %old, %amount
  store i32 %new, ptr %place
  ret void
}}

define internal ptr @interpret(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
  %thread = call ptr @thread()
  %amount = call i32 @relieve(ptr %thread)
  %result = call ptr {_function(at, "_PyFunction_Vectorcall")}(ptr %function, ptr %arguments, i64 %count, ptr %names)
  %back = sub i32 0, %amount
  call void @relieve_by(ptr %thread, i32 %back)
  ret ptr %result
}}

; The last link of a function's chain of versions: none took the call.
define ptr @miss(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
entry:
  %function_word = ptrtoint ptr %function to i64
  %found = call i64 @map_find(ptr inttoptr (i64 {at.functions} to ptr), i64 %function_word)
  %absent = icmp eq i64 %found, 0
  br i1 %absent, label %go, label %counted
counted:
  %chain = inttoptr i64 %found to ptr
  %number = call i64 @bump(ptr %chain)
  %hot_at_place = call ptr @at(ptr %chain, i64 {_word(CHAIN_WORDS, "miss_hot_at")})
  %hot_at = load i64, ptr %hot_at_place
  %hot = icmp eq i64 %number, %hot_at
  br i1 %hot, label %tell, label %go
tell:
  call void @ask(i64 {Call.MISS:d}, i64 %function_word, i64 %found, ptr %hot_at_place)
  br label %go
go:
  %result = call ptr @interpret(ptr %function, ptr %arguments, i64 %count, ptr %names)
  ret ptr %result
}}

define ptr @watched(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
  %function_word = ptrtoint ptr %function to i64
  call void @call_python(i64 {Call.WATCHED:d}, i64 %function_word, i64 0)
  %result = call ptr @interpret(ptr %function, ptr %arguments, i64 %count, ptr %names)
  ret ptr %result
}}
"""


def _bind(at: StubAddresses) -> str:
    """Binding: positional arguments, keywords found by identity of the name, defaults. NULL where it takes more."""
    return f"""
define ptr @bind(ptr %function, ptr %arguments, i64 %nargsf, ptr %names) {{
entry:
  %bound = getelementptr i8, ptr inttoptr (i64 {at.bound} to ptr), i64 0
  %given = and i64 %nargsf, {2**63 - 1}
  %code_place = call ptr @at(ptr %function, i64 {abi.FUNCTION.func_code})
  %code = load ptr, ptr %code_place
  %positional_place = call ptr @at(ptr %code, i64 {abi.CODE.co_argcount})
  %positional32 = load i32, ptr %positional_place
  %positional = zext i32 %positional32 to i64
  %keyword_place = call ptr @at(ptr %code, i64 {abi.CODE.co_kwonlyargcount})
  %keyword32 = load i32, ptr %keyword_place
  %keyword_only = zext i32 %keyword32 to i64
  %all = add i64 %positional, %keyword_only
  %too_many = icmp ugt i64 %given, %positional
  br i1 %too_many, label %no, label %clear
clear:
  %bytes = shl i64 %all, 3
  call void @llvm.memset.p0.i64(ptr %bound, i8 0, i64 %bytes, i1 false)
  %given_bytes = shl i64 %given, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %bound, ptr %arguments, i64 %given_bytes, i1 false)
  %name_tuple_place = call ptr @at(ptr %code, i64 {abi.CODE.co_localsplusnames})
  %name_tuple = load ptr, ptr %name_tuple_place
  %parameters = call ptr @at(ptr %name_tuple, i64 {abi.TUPLE.ob_item})
  %bare = icmp eq ptr %names, null
  br i1 %bare, label %defaults, label %keywords
keywords:
  %keywords_place = call ptr @at(ptr %names, i64 {abi.VAR_OBJECT.ob_size})
  %keyword_count = load i64, ptr %keywords_place
  %keyword_names = call ptr @at(ptr %names, i64 {abi.TUPLE.ob_item})
  %nameless_place = call ptr @at(ptr %code, i64 {abi.CODE.co_posonlyargcount})
  %nameless32 = load i32, ptr %nameless_place
  %nameless = zext i32 %nameless32 to i64
  br label %keyword
keyword:
  %k = phi i64 [ 0, %keywords ], [ %k1, %placed ]
  %keywords_done = icmp eq i64 %k, %keyword_count
  br i1 %keywords_done, label %defaults, label %find
find:
  %wanted_place = getelementptr ptr, ptr %keyword_names, i64 %k
  %wanted = load ptr, ptr %wanted_place
  br label %search
search:
  %p = phi i64 [ %nameless, %find ], [ %p1, %other ]
  %unknown = icmp eq i64 %p, %all
  br i1 %unknown, label %no, label %compare
compare:
  %parameter_place = getelementptr ptr, ptr %parameters, i64 %p
  %parameter = load ptr, ptr %parameter_place
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
  %value_place = getelementptr ptr, ptr %arguments, i64 %position
  %value = load ptr, ptr %value_place
  store ptr %value, ptr %slot
  %k1 = add i64 %k, 1
  br label %keyword
defaults:
  %defaults_place = call ptr @at(ptr %function, i64 {abi.FUNCTION.func_defaults})
  %defaults_tuple = load ptr, ptr %defaults_place
  %no_defaults = icmp eq ptr %defaults_tuple, null
  br i1 %no_defaults, label %first_missing, label %count_defaults
count_defaults:
  %size_place = call ptr @at(ptr %defaults_tuple, i64 {abi.VAR_OBJECT.ob_size})
  %size = load i64, ptr %size_place
  br label %first_missing
first_missing:
  %default_count = phi i64 [ 0, %defaults ], [ %size, %count_defaults ]
  %first_default = sub i64 %positional, %default_count
  br label %fill
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
  %item_place = getelementptr ptr, ptr %items, i64 %index
  %item = load ptr, ptr %item_place
  store ptr %item, ptr %f_slot
  br label %filled
from_dict:
  %dict_place = call ptr @at(ptr %function, i64 {abi.FUNCTION.func_kwdefaults})
  %dict = load ptr, ptr %dict_place
  %no_dict = icmp eq ptr %dict, null
  br i1 %no_dict, label %no, label %in_dict
in_dict:
  %f_name_place = getelementptr ptr, ptr %parameters, i64 %f
  %f_name = load ptr, ptr %f_name_place
  %hash_place = call ptr @at(ptr %f_name, i64 {abi.UNICODE.hash})
  %hash = load i64, ptr %hash_place
  %found = call ptr {_function(at, "_PyDict_GetItem_KnownHash")}(ptr %dict, ptr %f_name, i64 %hash)
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


def _make(at: StubAddresses) -> str:
    """The interpreter of a record's program."""
    true, false, none = _object(True), _object(False), _object(None)
    return f"""
define internal ptr @box_any(i64 %tag, i64 %bits) {{
  switch i64 %tag, label %unbound [
    i64 {TAGS["none"]}, label %none
    i64 {TAGS["int"]}, label %int
    i64 {TAGS["float"]}, label %float
    i64 {TAGS["bool"]}, label %bool
  ]
unbound:
  ret ptr null
none:
  ret ptr {none}
int:
  %i = call ptr {_function(at, "PyLong_FromLongLong")}(i64 %bits)
  ret ptr %i
float:
  %d = bitcast i64 %bits to double
  %f = call ptr {_function(at, "PyFloat_FromDouble")}(double %d)
  ret ptr %f
bool:
  %set = icmp ne i64 %bits, 0
  %b = select i1 %set, ptr {true}, ptr {false}
  ret ptr %b
}}

define internal ptr @new_range_iterator(i64 %start, i64 %step, i64 %length) {{
  %new = call ptr {_function(at, "_PyObject_New")}(ptr inttoptr (i64 {id(type(iter(range(0))))} to ptr))
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %done, label %fill
fill:
  %start_place = call ptr @at(ptr %new, i64 {abi.RANGE_ITERATOR.start})
  store i64 %start, ptr %start_place
  %step_place = call ptr @at(ptr %new, i64 {abi.RANGE_ITERATOR.step})
  store i64 %step, ptr %step_place
  %length_place = call ptr @at(ptr %new, i64 {abi.RANGE_ITERATOR.length})
  store i64 %length, ptr %length_place
  br label %done
done:
  ret ptr %new
}}

define internal i64 @raw(ptr %word) alwaysinline {{
  %position = load i64, ptr %word
  %place = getelementptr i64, ptr inttoptr (i64 {at.raw} to ptr), i64 %position
  %value = load i64, ptr %place
  ret i64 %value
}}

define internal ptr @part(ptr %word, ptr %boxes) alwaysinline {{
  %number = load i64, ptr %word
  %place = getelementptr ptr, ptr %boxes, i64 %number
  %object = load ptr, ptr %place
  ret ptr %object
}}

; Makes the objects of a record into %boxes; whether all went well. Boxes that were not made are NULL.
define internal i1 @make(ptr %record, ptr %entries, ptr %boxes) {{
entry:
  %count_place = call ptr @at(ptr %record, i64 {_word(RECORD_WORDS, "boxes")})
  %count = load i64, ptr %count_place
  %bytes = shl i64 %count, 3
  call void @llvm.memset.p0.i64(ptr %boxes, i8 0, i64 %bytes, i1 false)
  %program_place = call ptr @at(ptr %record, i64 {_word(RECORD_WORDS, "program")})
  %program = load ptr, ptr %program_place
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
  ]
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
  %bits_place = getelementptr i64, ptr %tag_place, i64 1
  %bits = load i64, ptr %bits_place
  %any_box = call ptr @box_any(i64 %tag, i64 %bits)
  %no_object = icmp eq i64 %tag, {TAGS["unbound"]}
  br i1 %no_object, label %made_any, label %checked
made_any:
  br label %made
const:
  %constant = load ptr, ptr %w1
  call void @incref(ptr %constant)
  br label %checked
entry_slot:
  %slot = load i64, ptr %w1
  %slot_place = getelementptr ptr, ptr %entries, i64 %slot
  %object = load ptr, ptr %slot_place
  %absent = icmp eq ptr %object, null
  br i1 %absent, label %made_any, label %held
held:
  call void @incref(ptr %object)
  br label %checked
tuple:
  %tuple_box = call ptr @make_tuple(ptr %w1, ptr %boxes)
  %items = load i64, ptr %w1
  %after_tuple = getelementptr i64, ptr %w2, i64 %items
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
  %home_place = getelementptr ptr, ptr %entries, i64 %home_slot
  %iterator = load ptr, ptr %home_place
  %start = call i64 @raw(ptr %w2)
  %length = call i64 @raw(ptr %w3)
  %start_place = call ptr @at(ptr %iterator, i64 {abi.RANGE_ITERATOR.start})
  store i64 %start, ptr %start_place
  %length_place = call ptr @at(ptr %iterator, i64 {abi.RANGE_ITERATOR.length})
  store i64 %length, ptr %length_place
  call void @incref(ptr %iterator)
  br label %checked
checked:
  %box = phi ptr [ %int_box, %int ], [ %float_box, %float ], [ %bool_box, %bool ], [ %any_box, %any ],
    [ %constant, %const ], [ %object, %held ], [ %tuple_box, %tuple ], [ %range_box, %range ],
    [ %iterator_box, %range_iterator ], [ %iterator, %home ]
  %after = phi ptr [ %w2, %int ], [ %w2, %float ], [ %w2, %bool ], [ %w2, %any ], [ %w2, %const ], [ %w2, %held ],
    [ %after_tuple, %tuple ], [ %w4, %range ], [ %w4, %range_iterator ], [ %w4, %home ]
  %failed = icmp eq ptr %box, null
  br i1 %failed, label %no, label %made
made:
  %result = phi ptr [ null, %made_any ], [ %box, %checked ]
  %word1 = phi ptr [ %w2, %made_any ], [ %after, %checked ]
  %box_place = getelementptr ptr, ptr %boxes, i64 %k
  store ptr %result, ptr %box_place
  %k1 = add i64 %k, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}}

define internal ptr @make_tuple(ptr %words, ptr %boxes) {{
entry:
  %count = load i64, ptr %words
  %tuple = call ptr {_function(at, "PyTuple_New")}(i64 %count)
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
  %place = getelementptr ptr, ptr %items, i64 %k
  store ptr %item, ptr %place
  br label %next
done:
  ret ptr %tuple
}}

define internal ptr @make_range(ptr %words, ptr %boxes) {{
  %arguments = alloca [3 x ptr]
  %start = call ptr @part(ptr %words, ptr %boxes)
  store ptr %start, ptr %arguments
  %w2 = getelementptr i64, ptr %words, i64 1
  %stop = call ptr @part(ptr %w2, ptr %boxes)
  %a2 = getelementptr ptr, ptr %arguments, i64 1
  store ptr %stop, ptr %a2
  %w3 = getelementptr i64, ptr %words, i64 2
  %step = call ptr @part(ptr %w3, ptr %boxes)
  %a3 = getelementptr ptr, ptr %arguments, i64 2
  store ptr %step, ptr %a3
  %range = call ptr {_function(at, "PyObject_Vectorcall")}(ptr {_object(range)}, ptr %arguments, i64 3, ptr null)
  ret ptr %range
}}

define internal void @drop(ptr %objects, i64 %count) {{
entry:
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %one ]
  %end = icmp eq i64 %k, %count
  br i1 %end, label %done, label %one
one:
  %place = getelementptr ptr, ptr %objects, i64 %k
  %object = load ptr, ptr %place
  call void @decref(ptr %object)
  %k1 = add i64 %k, 1
  br label %next
done:
  ret void
}}

; The object for a slot, with a new reference (NULL for a slot without one).
define internal ptr @slot_object(i64 %number, ptr %boxes) {{
  %null = icmp slt i64 %number, 0
  br i1 %null, label %none, label %some
none:
  ret ptr null
some:
  %place = getelementptr ptr, ptr %boxes, i64 %number
  %object = load ptr, ptr %place
  %unbound = icmp eq ptr %object, null
  br i1 %unbound, label %none, label %held
held:
  call void @incref(ptr %object)
  ret ptr %object
}}
"""


def _leave(at: StubAddresses) -> str:
    load = "\n".join(
        f"  %{name}_place = call ptr @at(ptr %record, i64 {_word(RECORD_WORDS, name)})\n"
        f"  %{name} = load {'i64' if name in ('hot_at', 'slots', 'boxes') else 'ptr'}, ptr %{name}_place"
        for name in RECORD_WORDS
        if name not in ("count", "program")
    )
    return f"""
; Room for a frame of %size words on the thread's data stack; a new chunk where there is none, as the interpreter does
; it.
define internal ptr @push_frame(ptr %thread, i64 %size) {{
  %top_place = call ptr @at(ptr %thread, i64 {abi.THREAD.datastack_top})
  %limit_place = call ptr @at(ptr %thread, i64 {abi.THREAD.datastack_limit})
  %chunk_place = call ptr @at(ptr %thread, i64 {abi.THREAD.datastack_chunk})
  %top = load ptr, ptr %top_place
  %limit = load ptr, ptr %limit_place
  %new_top = getelementptr ptr, ptr %top, i64 %size
  %room = icmp ult ptr %new_top, %limit
  br i1 %room, label %here, label %grow
here:
  store ptr %new_top, ptr %top_place
  ret ptr %top
grow:
  %bytes = shl i64 %size, 3
  %wanted = add i64 %bytes, {abi.STACK_CHUNK.data + 16384}
  %pages = add i64 %wanted, 16383
  %whole = and i64 %pages, -16384
  %new = call ptr @chunk_memory(i64 %whole)
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %no, label %link
no:
  call void {_function(at, "PyErr_NoMemory")}()
  ret ptr null
link:
  %old = load ptr, ptr %chunk_place
  %previous_place = call ptr @at(ptr %new, i64 {abi.STACK_CHUNK.previous})
  store ptr %old, ptr %previous_place
  %size_place = call ptr @at(ptr %new, i64 {abi.STACK_CHUNK.size})
  store i64 %whole, ptr %size_place
  %new_top_place = call ptr @at(ptr %new, i64 {abi.STACK_CHUNK.top})
  store i64 0, ptr %new_top_place
  store ptr %new, ptr %chunk_place
  %new_limit = call ptr @at(ptr %new, i64 %whole)
  store ptr %new_limit, ptr %limit_place
  %data = call ptr @at(ptr %new, i64 {abi.STACK_CHUNK.data})
  ; A thread's first chunk is never popped: its first word stays unused, so that no frame is the chunk's beginning.
  %is_first = icmp eq ptr %old, null
  %second = getelementptr ptr, ptr %data, i64 1
  %frame = select i1 %is_first, ptr %second, ptr %data
  %frame_end = getelementptr ptr, ptr %frame, i64 %size
  store ptr %frame_end, ptr %top_place
  br i1 %is_first, label %done, label %save
save:
  %old_data = call ptr @at(ptr %old, i64 {abi.STACK_CHUNK.data})
  %top_word = ptrtoint ptr %top to i64
  %data_word = ptrtoint ptr %old_data to i64
  %used_bytes = sub i64 %top_word, %data_word
  %used = ashr i64 %used_bytes, 3
  %old_top_place = call ptr @at(ptr %old, i64 {abi.STACK_CHUNK.top})
  store i64 %used, ptr %old_top_place
  br label %done
done:
  ret ptr %frame
}}

; Memory that the interpreter's arena allocator frees with munmap: anonymous pages.
define internal ptr @chunk_memory(i64 %bytes) {{
  %pages = call ptr {_function(at, "mmap")}(ptr null, i64 %bytes, i32 3, i32 34, i32 -1, i64 0)
  %failed = icmp eq ptr %pages, inttoptr (i64 -1 to ptr)
  %result = select i1 %failed, ptr null, ptr %pages
  ret ptr %result
}}

; %a is the function, %b its arguments in the order of its parameters, borrowed.
define ptr @leave_call(ptr %function, ptr %arguments, i64 %record_word, ptr %unused) {{
entry:
  %record = inttoptr i64 %record_word to ptr
{load}
  %number = call i64 @bump(ptr %record)
  %hot = icmp eq i64 %number, %hot_at
  %objects = alloca ptr, i64 %boxes
  %made = call i1 @make(ptr %record, ptr %arguments, ptr %objects)
  br i1 %made, label %frame, label %fail
frame:
  %thread = call ptr @thread()
  %framesize_place = call ptr @at(ptr %code, i64 {abi.CODE.co_framesize})
  %framesize32 = load i32, ptr %framesize_place
  %framesize = zext i32 %framesize32 to i64
  %frame_memory = call ptr @push_frame(ptr %thread, i64 %framesize)
  %no_frame = icmp eq ptr %frame_memory, null
  br i1 %no_frame, label %fail, label %fill
fail:
  call void @drop(ptr %objects, i64 %boxes)
  ret ptr null
fill:
  call void @fill_frame(ptr %frame_memory, ptr %function, ptr %code, ptr %resume, i64 %slots)
  %first = call ptr @at(ptr %frame_memory, i64 {abi.FRAME.localsplus})
  br label %next
next:
  %k = phi i64 [ 0, %fill ], [ %k1, %one ]
  %end = icmp eq i64 %k, %slots
  br i1 %end, label %filled, label %one
one:
  %number_place = getelementptr i64, ptr %map, i64 %k
  %box = load i64, ptr %number_place
  %object = call ptr @slot_object(i64 %box, ptr %objects)
  %slot = getelementptr ptr, ptr %first, i64 %k
  store ptr %object, ptr %slot
  %k1 = add i64 %k, 1
  br label %next
filled:
  call void @drop(ptr %objects, i64 %boxes)
  br i1 %hot, label %tell, label %check
tell:
  call void @ask(i64 {Call.EXIT:d}, i64 %record_word, i64 0, ptr %hot_at_place)
  br label %check
check:
  %have_place = call ptr @at(ptr %code, i64 {abi.CODE.instrumentation_version})
  %have = load i64, ptr %have_place
  %current = load i64, ptr inttoptr (i64 {at.monitoring_version} to ptr)
  %fresh = icmp eq i64 %have, %current
  br i1 %fresh, label %go, label %stale
stale:
  %code_word = ptrtoint ptr %code to i64
  call void @call_python(i64 {Call.STALE:d}, i64 %code_word, i64 0)
  br label %go
go:
  %amount = call i32 @relieve(ptr %thread)
  %result = call ptr {_function(at, "_PyEval_EvalFrameDefault")}(ptr %thread, ptr %frame_memory, i32 0)
  %back = sub i32 0, %amount
  call void @relieve_by(ptr %thread, i32 %back)
  ret ptr %result
}}

; What a new frame of the function has before its slots are filled; the interpreter goes on after `prev_instr`.
define internal void @fill_frame(ptr %frame, ptr %function, ptr %code, ptr %resume, i64 %slots) {{
  call void @incref(ptr %function)
  call void @incref(ptr %code)
  store ptr %code, ptr %frame
  %function_place = call ptr @at(ptr %frame, i64 {abi.FRAME.f_funcobj})
  store ptr %function, ptr %function_place
  %globals_from = call ptr @at(ptr %function, i64 {abi.FUNCTION.func_globals})
  %globals = load ptr, ptr %globals_from
  %globals_place = call ptr @at(ptr %frame, i64 {abi.FRAME.f_globals})
  store ptr %globals, ptr %globals_place
  %builtins_from = call ptr @at(ptr %function, i64 {abi.FUNCTION.func_builtins})
  %builtins = load ptr, ptr %builtins_from
  %builtins_place = call ptr @at(ptr %frame, i64 {abi.FRAME.f_builtins})
  store ptr %builtins, ptr %builtins_place
  %locals_place = call ptr @at(ptr %frame, i64 {abi.FRAME.f_locals})
  store ptr null, ptr %locals_place
  %object_place = call ptr @at(ptr %frame, i64 {abi.FRAME.frame_obj})
  store ptr null, ptr %object_place
  %previous_place = call ptr @at(ptr %frame, i64 {abi.FRAME.previous})
  store ptr null, ptr %previous_place
  %before = getelementptr i8, ptr %resume, i64 -2
  %instruction_place = call ptr @at(ptr %frame, i64 {abi.FRAME.prev_instr})
  store ptr %before, ptr %instruction_place
  %top = trunc i64 %slots to i32
  %top_place = call ptr @at(ptr %frame, i64 {abi.FRAME.stacktop})
  store i32 %top, ptr %top_place
  %offset_place = call ptr @at(ptr %frame, i64 {abi.FRAME.return_offset})
  store i16 0, ptr %offset_place
  %owner_place = call ptr @at(ptr %frame, i64 {abi.FRAME.owner})
  store i8 0, ptr %owner_place
  ret void
}}

; %frame is live: its slots get what the snapshot says, and the jump that is under way ends at `resume`. 1, or 2 with an
; exception set where an object could not be made.
define ptr @leave_loop(ptr %frame, ptr %thread, i64 %record_word, ptr %unused) {{
entry:
  %record = inttoptr i64 %record_word to ptr
{load}
  %number = call i64 @bump(ptr %record)
  %hot = icmp eq i64 %number, %hot_at
  %objects = alloca ptr, i64 %boxes
  %first = call ptr @at(ptr %frame, i64 {abi.FRAME.localsplus})
  %made = call i1 @make(ptr %record, ptr %first, ptr %objects)
  br i1 %made, label %write, label %fail
fail:
  call void @drop(ptr %objects, i64 %boxes)
  ret ptr inttoptr (i64 2 to ptr)
write:
  %old_top_place = call ptr @at(ptr %frame, i64 {abi.FRAME.stacktop})
  %old_top32 = load i32, ptr %old_top_place
  %old_top = sext i32 %old_top32 to i64
  %most = call i64 @llvm.smax.i64(i64 %old_top, i64 %slots)
  ; What is overwritten is given back only when the frame is whole again: it may run any code.
  %olds = alloca ptr, i64 %most
  br label %next
next:
  %k = phi i64 [ 0, %write ], [ %k1, %put ]
  %end = icmp eq i64 %k, %most
  br i1 %end, label %written, label %one
one:
  %slot = getelementptr ptr, ptr %first, i64 %k
  %is_old = icmp slt i64 %k, %old_top
  %loaded = load ptr, ptr %slot
  %old = select i1 %is_old, ptr %loaded, ptr null
  %is_new = icmp slt i64 %k, %slots
  br i1 %is_new, label %mapped, label %put
mapped:
  %number_place = getelementptr i64, ptr %map, i64 %k
  %box = load i64, ptr %number_place
  %kept = icmp eq i64 %box, {KEEP_SLOT}
  br i1 %kept, label %put, label %replaced
replaced:
  %object = call ptr @slot_object(i64 %box, ptr %objects)
  br label %put
put:
  %new = phi ptr [ null, %one ], [ %old, %mapped ], [ %object, %replaced ]
  %given_back = phi ptr [ %old, %one ], [ null, %mapped ], [ %old, %replaced ]
  store ptr %new, ptr %slot
  %old_place = getelementptr ptr, ptr %olds, i64 %k
  store ptr %given_back, ptr %old_place
  %k1 = add i64 %k, 1
  br label %next
written:
  %top = trunc i64 %slots to i32
  store i32 %top, ptr %old_top_place
  %instruction_place = call ptr @at(ptr %frame, i64 {abi.FRAME.prev_instr})
  store ptr %resume, ptr %instruction_place
  br i1 %hot, label %tell, label %release
tell:
  call void @ask(i64 {Call.EXIT:d}, i64 %record_word, i64 0, ptr %hot_at_place)
  br label %release
release:
  ; This may run any code, which may take the region out of service: the record is not touched any more.
  call void @drop(ptr %objects, i64 %boxes)
  call void @drop(ptr %olds, i64 %most)
  br label %done
done:
  ret ptr inttoptr (i64 1 to ptr)
}}

; Makes the objects of a record with one slot and returns that slot's.
define ptr @leave_return(ptr %function, ptr %arguments, i64 %record_word, ptr %unused) {{
entry:
  %record = inttoptr i64 %record_word to ptr
{load}
  %objects = alloca ptr, i64 %boxes
  %made = call i1 @make(ptr %record, ptr %arguments, ptr %objects)
  br i1 %made, label %give, label %fail
fail:
  call void @drop(ptr %objects, i64 %boxes)
  ret ptr null
give:
  %box = load i64, ptr %map
  %object = call ptr @slot_object(i64 %box, ptr %objects)
  call void @drop(ptr %objects, i64 %boxes)
  ret ptr %object
}}
"""
