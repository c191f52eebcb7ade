"""Frames that the stubs make, fill and have run: as the interpreter's own calls do it.

In: the words of a record and the objects that were made for it. Out: LLVM text: `push_frame` takes a frame's memory off
the thread's data stack, `fill_frame` and `fill_slots` write what the interpreter expects there, and `run_frame` has it
go on with the instruction that the record names, and pop the frame when it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.snapshots import RECORD_WORDS
from minijit.backend.stub_tools import c_function, word
from minijit.backend.words import Call
from minijit.cpython import abi

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses


def frame_text(at: StubAddresses) -> str:
    """The text of `push_frame`, `fill_frame`, `fill_slots`, `freshen` and `run_frame`."""
    return "".join((_push_frame(at), _chunk_memory(at), _fill_frame(), _fill_slots(), _run_frame(at)))


def load_record() -> str:
    """What a stub reads of its record (`%record`) first, and where each word is."""
    return "\n".join(
        f"  %{name}_place = call ptr @at(ptr %record, i64 {word(RECORD_WORDS, name)})\n"
        f"  %{name} = load {'i64' if name in ('hot_at', 'slots', 'boxes', 'stores') else 'ptr'}, ptr %{name}_place"
        for name in RECORD_WORDS
        if name not in ("count", "program")  # `bump` and `make` read these
    )


def _push_frame(at: StubAddresses) -> str:
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
  call void {c_function(at, "PyErr_NoMemory")}()
  ret ptr null
link:
  %old = load ptr, ptr %chunk_place
  call void @set_ptr(ptr %new, i64 {abi.STACK_CHUNK.previous}, ptr %old)
  call void @set_i64(ptr %new, i64 {abi.STACK_CHUNK.size}, i64 %whole)
  call void @set_i64(ptr %new, i64 {abi.STACK_CHUNK.top}, i64 0)
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
  call void @set_i64(ptr %old, i64 {abi.STACK_CHUNK.top}, i64 %used)
  br label %done
done:
  ret ptr %frame
}}
"""


def _chunk_memory(at: StubAddresses) -> str:
    return f"""
; Memory that the interpreter's arena allocator frees with munmap: anonymous pages.
define internal ptr @chunk_memory(i64 %bytes) {{
  %pages = call ptr {c_function(at, "mmap")}(ptr null, i64 %bytes, i32 3, i32 34, i32 -1, i64 0)
  %failed = icmp eq ptr %pages, inttoptr (i64 -1 to ptr)
  %result = select i1 %failed, ptr null, ptr %pages
  ret ptr %result
}}
"""


def _fill_frame() -> str:
    return f"""
; In words.
define internal i64 @frame_size(ptr %code) alwaysinline {{
  %framesize32 = call i32 @get_i32(ptr %code, i64 {abi.CODE.co_framesize})
  %framesize = zext i32 %framesize32 to i64
  ret i64 %framesize
}}

; What a new frame of the function has before its slots are filled; the interpreter goes on after `prev_instr`.
define internal void @fill_frame(ptr %frame, ptr %function, ptr %code, ptr %resume, i64 %slots) {{
  call void @incref(ptr %function)
  call void @incref(ptr %code)
  store ptr %code, ptr %frame
  call void @set_ptr(ptr %frame, i64 {abi.FRAME.f_funcobj}, ptr %function)
  %globals = call ptr @get_ptr(ptr %function, i64 {abi.FUNCTION.func_globals})
  call void @set_ptr(ptr %frame, i64 {abi.FRAME.f_globals}, ptr %globals)
  %builtins = call ptr @get_ptr(ptr %function, i64 {abi.FUNCTION.func_builtins})
  call void @set_ptr(ptr %frame, i64 {abi.FRAME.f_builtins}, ptr %builtins)
  call void @set_ptr(ptr %frame, i64 {abi.FRAME.f_locals}, ptr null)
  call void @set_ptr(ptr %frame, i64 {abi.FRAME.frame_obj}, ptr null)
  call void @set_ptr(ptr %frame, i64 {abi.FRAME.previous}, ptr null)
  %before = getelementptr i8, ptr %resume, i64 -2
  call void @set_ptr(ptr %frame, i64 {abi.FRAME.prev_instr}, ptr %before)
  %top = trunc i64 %slots to i32
  call void @set_i32(ptr %frame, i64 {abi.FRAME.stacktop}, i32 %top)
  call void @set_i16(ptr %frame, i64 {abi.FRAME.return_offset}, i16 0)
  call void @set_i8(ptr %frame, i64 {abi.FRAME.owner}, i8 0)
  ret void
}}
"""


def _fill_slots() -> str:
    return """
; The slots of a frame from a record's map.
define internal void @fill_slots(ptr %first, ptr %map, i64 %slots, ptr %objects) {
entry:
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %one ]
  %end = icmp eq i64 %k, %slots
  br i1 %end, label %done, label %one
one:
  %box = call i64 @item_i64(ptr %map, i64 %k)
  %object = call ptr @slot_object(i64 %box, ptr %objects)
  call void @set_item_ptr(ptr %first, i64 %k, ptr %object)
  %k1 = add i64 %k, 1
  br label %next
done:
  ret void
}
"""


def _run_frame(at: StubAddresses) -> str:
    return f"""
; Has the instrumentation of a frame's code brought up to date, if it is not. No exception is set.
define internal void @freshen(ptr %code) {{
  %have = call i64 @get_i64(ptr %code, i64 {abi.CODE.instrumentation_version})
  %current = load i64, ptr inttoptr (i64 {at.monitoring_version} to ptr)
  %fresh = icmp eq i64 %have, %current
  br i1 %fresh, label %done, label %stale
stale:
  %code_word = ptrtoint ptr %code to i64
  call void @call_python(i64 {Call.STALE:d}, i64 %code_word, i64 0)
  br label %done
done:
  ret void
}}

; Has the interpreter run a frame from where it stands to its end; if it %throws, from the exception that is set.
; %near: whether the interpreter's loop has called the region by itself.
define internal ptr @run_frame(ptr %thread, ptr %frame, i32 %throws, i1 %near) {{
entry:
  %code = load ptr, ptr %frame
  %function = call ptr @get_ptr(ptr %frame, i64 {abi.FRAME.f_funcobj})
  %calm = icmp eq i32 %throws, 0
  br i1 %calm, label %check, label %go
check:
  call void @spare(ptr %thread, ptr %function)
  call void @freshen(ptr %code)
  br label %go
go:
  %amount = call i32 @relieve_if(ptr %thread, i1 %near)
  %result = call ptr {c_function(at, "_PyEval_EvalFrameDefault")}(ptr %thread, ptr %frame, i32 %throws)
  %back = sub i32 0, %amount
  call void @relieve_by(ptr %thread, i32 %back)
  ret ptr %result
}}
"""
