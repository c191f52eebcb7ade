"""The stubs that leave regions.

**Leaving a call** (the teleport): a frame is pushed on the thread's data stack as the interpreter's own call does it,
filled from the snapshot, and given to `_PyEval_EvalFrameDefault`, which goes on with the instruction that the record
names and pops the frame when it is done. No event is needed and nothing runs in between. See docs/decisions/0002.

**Leaving a loop**: the live frame gets what the snapshot says, and the jump that is under way ends elsewhere.

A run of the region ends (`end_run`) when its values are objects: from there on it is the interpreter's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend.snapshots import KEEP_SLOT, RECORD_WORDS
from minijit.backend.stub_tools import c_function, word
from minijit.backend.words import Call
from minijit.cpython import abi

if TYPE_CHECKING:
    from minijit.backend.stub_tools import StubAddresses


def leave_text(at: StubAddresses) -> str:
    """The text of `leave_call`, `leave_loop` and `leave_return`."""
    frames = (_push_frame(at), _chunk_memory(at), _fill_frame(), _fill_slots(), _run_frame(at))
    return "".join((*frames, _write_names(at), _leave_call(), _rewrite(), _leave_loop(), _leave_return()))


def _load_record() -> str:
    """What a stub reads of its record first, and where each word is."""
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


def _leave_call() -> str:
    load = _load_record()
    return f"""
declare ptr @llvm.stacksave.p0()
declare void @llvm.stackrestore.p0(ptr)

; %a is the function, %b its arguments in the order of its parameters, borrowed.
define ptr @leave_call(ptr %function, ptr %arguments, i64 %record_word, ptr %unused) {{
entry:
  %record = inttoptr i64 %record_word to ptr
{load}
  %number = call i64 @bump(ptr %record)
  %hot = icmp eq i64 %number, %hot_at
  %stack = call ptr @llvm.stacksave.p0()
  %objects = alloca ptr, i64 %boxes
  %made = call i1 @make(ptr %record, ptr %arguments, ptr %objects)
  call void @end_run()
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
  call void @fill_slots(ptr %first, ptr %map, i64 %slots, ptr %objects)
  call void @drop(ptr %objects, i64 %boxes)
  ; Where this function recurses there are as many of these stubs on the stack as it is deep.
  call void @llvm.stackrestore.p0(ptr %stack)
  br i1 %hot, label %tell, label %run
tell:
  call void @ask(i64 {Call.EXIT:d}, i64 %record_word, i64 0, ptr %hot_at_place)
  br label %run
run:
  %near = call i1 @is_near(ptr %thread)
  %result = call ptr @run_frame(ptr %thread, ptr %frame_memory, i32 0, i1 %near)
  ret ptr %result
}}
"""


def _run_frame(at: StubAddresses) -> str:
    return f"""
; Has the instrumentation of a frame's code brought up to date, if it is not. No exception is set.
define internal void @freshen(ptr %code) {{
  %have_place = call ptr @at(ptr %code, i64 {abi.CODE.instrumentation_version})
  %have = load i64, ptr %have_place
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
  %function_place = call ptr @at(ptr %frame, i64 {abi.FRAME.f_funcobj})
  %function = load ptr, ptr %function_place
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
  %number_place = getelementptr i64, ptr %map, i64 %k
  %box = load i64, ptr %number_place
  %object = call ptr @slot_object(i64 %box, ptr %objects)
  %slot = getelementptr ptr, ptr %first, i64 %k
  store ptr %object, ptr %slot
  %k1 = add i64 %k, 1
  br label %next
done:
  ret void
}
"""


def _fill_frame() -> str:
    return f"""
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
"""


def _write_names(at: StubAddresses) -> str:
    return f"""
; The frame's globals get the values that a record has for names; whether all did. They are there already, with numbers
; that nobody misses: nothing runs, and only watchers notice.
define internal i1 @write_names(ptr %frame, ptr %names, i64 %count, ptr %objects) {{
entry:
  %globals_place = call ptr @at(ptr %frame, i64 {abi.FRAME.f_globals})
  %globals = load ptr, ptr %globals_place
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k1, %one ]
  %end = icmp eq i64 %k, %count
  br i1 %end, label %yes, label %one
one:
  %pair = getelementptr [2 x i64], ptr %names, i64 %k
  %key = load ptr, ptr %pair
  %box_place = getelementptr i64, ptr %pair, i64 1
  %box = load i64, ptr %box_place
  %object_place = getelementptr ptr, ptr %objects, i64 %box
  %object = load ptr, ptr %object_place
  %how = call i32 {c_function(at, "PyDict_SetItem")}(ptr %globals, ptr %key, ptr %object)
  %done = icmp eq i32 %how, 0
  %k1 = add i64 %k, 1
  br i1 %done, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}
"""


def _rewrite() -> str:
    load = _load_record()
    return f"""
; %frame is live: its slots get what the snapshot says, and the jump that is under way ends at `resume`. 1, or 2 with an
; exception set where an object could not be made. The driver is asked about a hot exit if it %may be.
define internal i64 @rewrite(ptr %frame, i64 %record_word, i1 %may) {{
entry:
  %record = inttoptr i64 %record_word to ptr
{load}
  %number = call i64 @bump(ptr %record)
  %hot = icmp eq i64 %number, %hot_at
  %objects = alloca ptr, i64 %boxes
  %first = call ptr @at(ptr %frame, i64 {abi.FRAME.localsplus})
  %made = call i1 @make(ptr %record, ptr %first, ptr %objects)
  call void @end_run()
  br i1 %made, label %write, label %fail
fail:
  call void @drop(ptr %objects, i64 %boxes)
  ret i64 2
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
  %named = call i1 @write_names(ptr %frame, ptr %names, i64 %stores, ptr %objects)
  br i1 %named, label %whole, label %release
whole:
  %asks = and i1 %hot, %may
  br i1 %asks, label %tell, label %release
tell:
  call void @ask(i64 {Call.EXIT:d}, i64 %record_word, i64 0, ptr %hot_at_place)
  br label %release
release:
  %how = phi i64 [ 2, %written ], [ 1, %whole ], [ 1, %tell ]
  ; This may run any code, which may take the region out of service: the record is not touched any more.
  call void @drop(ptr %objects, i64 %boxes)
  call void @drop(ptr %olds, i64 %most)
  ret i64 %how
}}
"""


def _leave_loop() -> str:
    return """
; Ends a region in a live frame.
define ptr @leave_loop(ptr %frame, ptr %thread, i64 %record_word, ptr %unused) {
  %how = call i64 @rewrite(ptr %frame, i64 %record_word, i1 true)
  %status = inttoptr i64 %how to ptr
  ret ptr %status
}
"""


def _leave_return() -> str:
    load = _load_record()
    return f"""
; Makes the objects of a record with one slot and returns that slot's.
define ptr @leave_return(ptr %function, ptr %arguments, i64 %record_word, ptr %unused) {{
entry:
  %record = inttoptr i64 %record_word to ptr
{load}
  %objects = alloca ptr, i64 %boxes
  %made = call i1 @make(ptr %record, ptr %arguments, ptr %objects)
  call void @end_run()
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
