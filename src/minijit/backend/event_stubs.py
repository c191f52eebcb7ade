"""The stubs that `sys.monitoring` calls: they count starts and back edges, enter a loop's region, hand a recording's
steps on to its handler, and some events of code that is not known to the scout's, if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.entry import FOREIGN_WORD
from minijit.backend.sampling import DUE, RESTORE
from minijit.backend.stub_tools import address_of, word
from minijit.backend.words import SITE_WORDS, Call
from minijit.cpython import abi, superinstructions
from minijit.cpython.scout import DISABLE

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses


def event_text(at: StubAddresses) -> str:
    """The text of `on_start`, `on_jump` and `on_instruction`."""
    handled = _hand_on() + _scouted(at) + _disable()
    return _tables() + DUE + RESTORE + handled + _on_start(at) + _on_jump(at) + _on_instruction(at)


def _tables() -> str:
    found = superinstructions.tables()
    return f"@tables = internal constant [{len(found)} x i8] [{', '.join(f'i8 {each}' for each in found)}]\n"


def _hand_on() -> str:
    return f"""
; What the handler that is kept at %place answers to two or three arguments: None if there is no handler.
define internal ptr @hand_on(ptr %place, ptr %arguments, i64 %count) noinline {{
entry:
  %copy = alloca [4 x ptr]
  %handler = load ptr, ptr %place
  %off = icmp eq ptr %handler, null
  br i1 %off, label %none, label %tell
tell:
  %first = getelementptr ptr, ptr %copy, i64 1
  %one = load ptr, ptr %arguments
  store ptr %one, ptr %first
  %second = getelementptr ptr, ptr %copy, i64 2
  %two = call ptr @item_ptr(ptr %arguments, i64 1)
  store ptr %two, ptr %second
  %third = getelementptr ptr, ptr %copy, i64 3
  %last = sub i64 %count, 1
  %three = call ptr @item_ptr(ptr %arguments, i64 %last)
  store ptr %three, ptr %third
  %answer = call ptr @call_handler(ptr %handler, ptr %first, i64 %count)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %none, label %answered
none:
  ret ptr {address_of(None)}
answered:
  ret ptr %answer
}}
"""


def _scouted(at: StubAddresses) -> str:
    return f"""
; What a handler of the scout's answers, if this event is one of those that it is to hear of: else None.
define internal ptr @scouted(ptr %place, ptr %arguments, i64 %count) {{
entry:
  %due = call i1 @is_due(ptr inttoptr (i64 {at.sampling} to ptr))
  br i1 %due, label %tell, label %ignore
tell:
  %answer = call ptr @hand_on(ptr %place, ptr %arguments, i64 %count)
  %code = load ptr, ptr %arguments
  call void @restore(ptr %code, ptr @tables)
  ret ptr %answer
ignore:
  ret ptr {address_of(None)}
}}
"""


def _disable() -> str:
    return f"""
; The answer for what is not to be heard of again: DISABLE where the word %silent is set, else None.
define internal ptr @answer(ptr %silent) alwaysinline {{
entry:
  %word = load i64, ptr %silent
  %heard = icmp eq i64 %word, 0
  br i1 %heard, label %none, label %disable
none:
  ret ptr {address_of(None)}
disable:
  %reference = load i64, ptr {address_of(DISABLE)}
  %more = add i64 %reference, 1
  store i64 %more, ptr {address_of(DISABLE)}
  ret ptr {address_of(DISABLE)}
}}
"""


def _on_instruction(at: StubAddresses) -> str:
    return f"""
; PyCFunction (METH_FASTCALL): INSTRUCTION, arguments (code, offset). The handler says whether it wants to hear of this
; one again.
define ptr @on_instruction(ptr %self, ptr %arguments, i64 %count) {{
  %answer = call ptr @hand_on(ptr inttoptr (i64 {at.on_instruction} to ptr), ptr %arguments, i64 2)
  ret ptr %answer
}}
"""


def _on_start(at: StubAddresses) -> str:
    return f"""
; PyCFunction (METH_FASTCALL): PY_START, arguments (code, offset).
define ptr @on_start(ptr %self, ptr %arguments, i64 %count) {{
entry:
  %code = load ptr, ptr %arguments
  %site = call ptr @site(ptr %code, i64 0)
  %absent = icmp eq ptr %site, null
  br i1 %absent, label %unknown, label %counted
counted:
  %hot_at = call ptr @at(ptr %site, i64 {word(SITE_WORDS, "hot_at")})
  %silent = call ptr @at(ptr %site, i64 {word(SITE_WORDS, "silent")})
  %code_word = ptrtoint ptr %code to i64
  %site_word = ptrtoint ptr %site to i64
  %answer = call ptr @answer(ptr %silent)
  call void @count(ptr %site, ptr %hot_at, i64 {Call.START:d}, i64 %code_word, i64 %site_word)
  ret ptr %answer
unknown:
  %scouted = call ptr @scouted(ptr inttoptr (i64 {at.scout_start} to ptr), ptr %arguments, i64 2)
  ret ptr %scouted
}}
"""


def _on_jump(at: StubAddresses) -> str:
    none = address_of(None)
    return f"""
; PyCFunction (METH_FASTCALL): JUMP, arguments (code, from, to). Only back edges concern us.
define ptr @on_jump(ptr %self, ptr %arguments, i64 %count) {{
entry:
  %code = load ptr, ptr %arguments
  %from_object = call ptr @item_ptr(ptr %arguments, i64 1)
  %from = call i64 @offset(ptr %from_object)
  %to_object = call ptr @item_ptr(ptr %arguments, i64 2)
  %to = call i64 @offset(ptr %to_object)
  %forward = icmp ugt i64 %to, %from
  br i1 %forward, label %done, label %back
back:
  %site = call ptr @site(ptr %code, i64 %to)
  %absent = icmp eq ptr %site, null
  br i1 %absent, label %unknown, label %known
unknown:
  %scouted = call ptr @scouted(ptr inttoptr (i64 {at.scout_jump} to ptr), ptr %arguments, i64 3)
  ret ptr %scouted
known:
  %entry_place = call ptr @at(ptr %site, i64 {word(SITE_WORDS, "entry")})
  %code_word = ptrtoint ptr %code to i64
  %site_word = ptrtoint ptr %site to i64
  %region = load ptr, ptr %entry_place
  %cold = icmp eq ptr %region, null
  br i1 %cold, label %counted, label %watched
watched:
  %monitoring = call ptr @get_ptr(ptr %code, i64 {abi.CODE.monitoring})
  %first_place = call ptr @at(ptr %monitoring, i64 {abi.MONITORING.active_monitors})
  %second_place = call ptr @at(ptr %monitoring, i64 {abi.MONITORING.active_monitors + 7})
  %first = load i64, ptr %first_place
  %second = load i64, ptr %second_place
  %tools = or i64 %first, %second
  %foreign = and i64 %tools, {FOREIGN_WORD}
  %alone = icmp eq i64 %foreign, 0
  br i1 %alone, label %unchanged, label %done
unchanged:
  %due = call i1 @changes_are_due()
  br i1 %due, label %changed, label %enter
changed:
  ; At the next back edge there is a region still, or there is none.
  %due_still = call i1 @settle()
  br label %done
enter:
  %thread = call ptr @thread()
  %cframe = call ptr @get_ptr(ptr %thread, i64 {abi.THREAD.cframe})
  %frame = load ptr, ptr %cframe
  %left = call ptr %region(ptr %frame, ptr %thread, i64 0, ptr null)
  %how = ptrtoint ptr %left to i64
  switch i64 %how, label %done [ i64 0, label %missed i64 2, label %failed ]
failed:
  ret ptr null
missed:
  %misses = call ptr @at(ptr %site, i64 {word(SITE_WORDS, "misses")})
  %miss_hot_at = call ptr @at(ptr %site, i64 {word(SITE_WORDS, "miss_hot_at")})
  call void @count(ptr %misses, ptr %miss_hot_at, i64 {Call.LOOP_MISS:d}, i64 %code_word, i64 %site_word)
  br label %done
counted:
  %hot_at = call ptr @at(ptr %site, i64 {word(SITE_WORDS, "hot_at")})
  %silent = call ptr @at(ptr %site, i64 {word(SITE_WORDS, "silent")})
  %answer = call ptr @answer(ptr %silent)
  call void @count(ptr %site, ptr %hot_at, i64 {Call.LOOP:d}, i64 %code_word, i64 %site_word)
  ret ptr %answer
done:
  ret ptr {none}
}}
"""
