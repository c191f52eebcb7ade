"""The stub `checked`: one call, done by machine code and by the interpreter, for two outcomes that can be compared.

In: a call, as a vectorcall, of a function that has call entries; an entry came here before it touched anything. Out:
the call's result, or its exception. Three handlers decide, each of which is called as all handlers are (see
`handler_stub`):

| handler | is given | answers |
| --- | --- | --- |
| `check_begin` | the function, where arguments are, how many have no name, the names of others | a ticket; or None |
| `check_again` | the ticket, the outcome of machine code | whether the interpreter is to do it, too |
| `check_verdict` | the ticket, both outcomes | whether the program gets the first; else it gets the second |

An outcome is a value, or the exception that was raised. The first way is nothing but a call of the entry,
as it would be without us. The second is the interpreter's alone: events are off in this thread, so nothing is counted
or recorded, no loop is entered, and no tool sees the function run again; and a word says to the entries of functions
that are called (by other threads, too) that these are the interpreter's. The program's signal handlers run in the midst
of both: what they raise is an outcome, too, that is none of the function's.

No frame of a region is on the stack below a handler: entries come here by a tail call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.handler_stub import HEADROOM
from minijit.backend.stub_tools import address_of, c_function, word
from minijit.backend.words import CHECK_WORDS
from minijit.cpython import abi

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses


def check_text(at: StubAddresses) -> str:
    """The text of `checked` and `plainly`."""
    return "".join((_outcomes(at), _begin(at), _ask_ticket(), _interpreted(at), _both(at), _checked()))


def _handler(at: StubAddresses, name: str) -> str:
    return f"inttoptr (i64 {at.checks + word(CHECK_WORDS, name)} to ptr)"


def _outcomes(at: StubAddresses) -> str:
    return f"""
; A call's result as an object, of which we have a reference: the exception where it raised one.
define internal ptr @outcome(ptr %result) {{
entry:
  %raised = icmp eq ptr %result, null
  br i1 %raised, label %take, label %done
take:
  %exception = call ptr {c_function(at, "PyErr_GetRaisedException")}()
  ret ptr %exception
done:
  ret ptr %result
}}

; The result that has this outcome, whose reference is given to the caller.
define internal ptr @conclude(ptr %result, ptr %outcome) {{
entry:
  %raised = icmp eq ptr %result, null
  br i1 %raised, label %raise, label %done
raise:
  call void {c_function(at, "PyErr_SetRaisedException")}(ptr %outcome)
  ret ptr null
done:
  ret ptr %outcome
}}
"""


def _begin(at: StubAddresses) -> str:
    return f"""
; The ticket, or NULL.
define internal ptr @begin_check(ptr %function, ptr %arguments, i64 %count, ptr %names) noinline {{
entry:
  %room = alloca [5 x ptr]
  %handler = load ptr, ptr {_handler(at, "check_begin")}
  %off = icmp eq ptr %handler, null
  br i1 %off, label %no, label %box
box:
  %place = ptrtoint ptr %arguments to i64
  %given = and i64 %count, {2**63 - 1}
  %place_object = call ptr {c_function(at, "PyLong_FromLongLong")}(i64 %place)
  %given_object = call ptr {c_function(at, "PyLong_FromLongLong")}(i64 %given)
  %bare = icmp eq ptr %names, null
  %names_object = select i1 %bare, ptr {address_of(None)}, ptr %names
  %a1 = getelementptr ptr, ptr %room, i64 1
  %a2 = getelementptr ptr, ptr %room, i64 2
  %a3 = getelementptr ptr, ptr %room, i64 3
  %a4 = getelementptr ptr, ptr %room, i64 4
  store ptr %function, ptr %a1
  store ptr %place_object, ptr %a2
  store ptr %given_object, ptr %a3
  store ptr %names_object, ptr %a4
  %ticket = call ptr @call_handler(ptr %handler, ptr %a1, i64 4)
  call void @decref(ptr %place_object)
  call void @decref(ptr %given_object)
  %none = icmp eq ptr %ticket, {address_of(None)}
  br i1 %none, label %no, label %yes
yes:
  ret ptr %ticket
no:
  ret ptr null
}}
"""


def _ask_ticket() -> str:
    return f"""
; What a handler, if there is one still, says of a ticket and one or two outcomes.
define internal i1 @ask_ticket(ptr %word, ptr %ticket, ptr %first, ptr %second, i64 %count) noinline {{
entry:
  %room = alloca [4 x ptr]
  %handler = load ptr, ptr %word
  %off = icmp eq ptr %handler, null
  br i1 %off, label %no, label %ask
ask:
  %a1 = getelementptr ptr, ptr %room, i64 1
  %a2 = getelementptr ptr, ptr %room, i64 2
  %a3 = getelementptr ptr, ptr %room, i64 3
  store ptr %ticket, ptr %a1
  store ptr %first, ptr %a2
  store ptr %second, ptr %a3
  %answer = call ptr @call_handler(ptr %handler, ptr %a1, i64 %count)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %no, label %answered
answered:
  %yes = icmp eq ptr %answer, {address_of(True)}
  call void @decref(ptr %answer)
  ret i1 %yes
no:
  ret i1 false
}}
"""


def _interpreted(at: StubAddresses) -> str:
    interpreting = f"inttoptr (i64 {at.interpreting} to ptr)"
    return f"""
; The call, done by the interpreter alone. It may go a frame deeper than machine code did.
define internal ptr @interpreted(ptr %function, ptr %arguments, i64 %count, ptr %names) noinline {{
  %thread = call ptr @thread()
  %tracing = call ptr @at(ptr %thread, i64 {abi.THREAD.tracing})
  %depth = load i32, ptr %tracing
  %deeper = add i32 %depth, 1
  store i32 %deeper, ptr %tracing
  %others = load i64, ptr {interpreting}
  %one_more = add i64 %others, 1
  store i64 %one_more, ptr {interpreting}
  call void @lift_limit(ptr %thread, i32 {HEADROOM})
  %result = call ptr {c_function(at, "_PyFunction_Vectorcall")}(ptr %function, ptr %arguments, i64 %count, ptr %names)
  call void @lift_limit(ptr %thread, i32 {-HEADROOM})
  %all = load i64, ptr {interpreting}
  %one_less = sub i64 %all, 1
  store i64 %one_less, ptr {interpreting}
  store i32 %depth, ptr %tracing
  ret ptr %result
}}

define ptr @plainly(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
  %result = musttail call ptr @interpret(ptr %function, ptr %arguments, i64 %count, ptr %names)
  ret ptr %result
}}
"""


def _both(at: StubAddresses) -> str:
    return f"""
define internal ptr @both_ways(ptr %function, ptr %arguments, i64 %count, ptr %names, ptr %ticket) noinline {{
entry:
  %code = call ptr @get_ptr(ptr %function, i64 {abi.FUNCTION.vectorcall})
  %first = call ptr %code(ptr %function, ptr %arguments, i64 %count, ptr %names)
  %was = call ptr @outcome(ptr %first)
  %again = call i1 @ask_ticket(ptr {_handler(at, "check_again")}, ptr %ticket, ptr %was, ptr null, i64 2)
  br i1 %again, label %rerun, label %single
single:
  call void @decref(ptr %ticket)
  %only = call ptr @conclude(ptr %first, ptr %was)
  ret ptr %only
rerun:
  %second = call ptr @interpreted(ptr %function, ptr %arguments, i64 %count, ptr %names)
  %is = call ptr @outcome(ptr %second)
  %same = call i1 @ask_ticket(ptr {_handler(at, "check_verdict")}, ptr %ticket, ptr %was, ptr %is, i64 3)
  call void @decref(ptr %ticket)
  br i1 %same, label %keep, label %replace
keep:
  call void @decref(ptr %is)
  %kept = call ptr @conclude(ptr %first, ptr %was)
  ret ptr %kept
replace:
  call void @decref(ptr %was)
  %replaced = call ptr @conclude(ptr %second, ptr %is)
  ret ptr %replaced
}}
"""


def _checked() -> str:
    return f"""
define ptr @checked(ptr %function, ptr %arguments, i64 %count, ptr %names) {{
entry:
  %ticket = call ptr @begin_check(ptr %function, ptr %arguments, i64 %count, ptr %names)
  %none = icmp eq ptr %ticket, null
  br i1 %none, label %once, label %twice
once:
  ; As it is by now: a handler has run.
  %code = call ptr @get_ptr(ptr %function, i64 {abi.FUNCTION.vectorcall})
  %result = musttail call ptr %code(ptr %function, ptr %arguments, i64 %count, ptr %names)
  ret ptr %result
twice:
  ; The entry is not as near to the interpreter's loop as it would be without us.
  %thread = call ptr @thread()
  %amount = call i32 @relieve(ptr %thread)
  %outcome = call ptr @both_ways(ptr %function, ptr %arguments, i64 %count, ptr %names, ptr %ticket)
  %back = sub i32 0, %amount
  call void @relieve_by(ptr %thread, i32 %back)
  ret ptr %outcome
}}
"""
