"""The layouts of CPython 3.12 that machine code and frame surgery rely on.

Declared once: a field is an offset in bytes (`abi.FRAME.prev_instr`; users import `abi`, which hands these on). The
offsets are those of 3.12 on 64-bit Linux; only what somebody uses stands here. `self_check` compares every field with
live objects before anything native is installed. The interpreter state is not among them: what is needed of it is
calibrated (`abi.supported`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Object:
    """PyObject."""

    ob_refcnt: int = 0
    ob_type: int = 8


@dataclass(frozen=True, slots=True)
class VarObject:
    """PyVarObject."""

    ob_size: int = 16


@dataclass(frozen=True, slots=True)
class Long:
    """PyLongObject: the tag is the number of 30-bit digits times 8, plus 0, 1 or 2 for positive, zero, negative."""

    lv_tag: int = 16
    ob_digit: int = 24


@dataclass(frozen=True, slots=True)
class Float:
    """PyFloatObject."""

    ob_fval: int = 16


@dataclass(frozen=True, slots=True)
class Tuple:
    """PyTupleObject."""

    ob_item: int = 24


@dataclass(frozen=True, slots=True)
class List:
    """PyListObject."""

    ob_item: int = 24


@dataclass(frozen=True, slots=True)
class Set:
    """PySetObject: how many places the table has, less one; and the table, a key and its hash in each place."""

    mask: int = 32
    table: int = 40


@dataclass(frozen=True, slots=True)
class Unicode:
    """PyASCIIObject."""

    hash: int = 24


@dataclass(frozen=True, slots=True)
class RangeIterator:
    """_PyRangeIterObject."""

    start: int = 16
    step: int = 24
    length: int = 32


@dataclass(frozen=True, slots=True)
class ItemIterator:
    """_PyListIterObject and _PyTupleIterObject; there is no list or tuple any more when it has come to its end."""

    index: int = 16
    items: int = 24


@dataclass(frozen=True, slots=True)
class Function:
    """PyFunctionObject."""

    func_globals: int = 16
    func_builtins: int = 24
    func_code: int = 48
    func_defaults: int = 56
    func_kwdefaults: int = 64
    func_closure: int = 72
    vectorcall: int = 128


@dataclass(frozen=True, slots=True)
class Cell:
    """PyCellObject."""

    ob_ref: int = 16


@dataclass(frozen=True, slots=True)
class Code:
    """PyCodeObject."""

    co_flags: int = 48
    co_argcount: int = 52
    co_posonlyargcount: int = 56
    co_kwonlyargcount: int = 60
    co_framesize: int = 76
    co_localsplusnames: int = 96
    co_filename: int = 112
    instrumentation_version: int = 160
    monitoring: int = 168
    co_code_adaptive: int = 192


@dataclass(frozen=True, slots=True)
class Monitoring:
    """_PyCoMonitoringData: for each event one byte with a bit for each tool."""

    active_monitors: int = 15


@dataclass(frozen=True, slots=True)
class Frame:
    """_PyInterpreterFrame."""

    f_code: int = 0
    previous: int = 8
    f_funcobj: int = 16
    f_globals: int = 24
    f_builtins: int = 32
    f_locals: int = 40
    frame_obj: int = 48
    prev_instr: int = 56
    stacktop: int = 64
    return_offset: int = 68
    owner: int = 70
    localsplus: int = 72


@dataclass(frozen=True, slots=True)
class FrameObject:
    """PyFrameObject."""

    f_frame: int = 24


@dataclass(frozen=True, slots=True)
class Thread:
    """PyThreadState."""

    py_recursion_remaining: int = 28
    py_recursion_limit: int = 32
    c_recursion_remaining: int = 36
    tracing: int = 44
    cframe: int = 56
    datastack_chunk: int = 232
    datastack_top: int = 240
    datastack_limit: int = 248


@dataclass(frozen=True, slots=True)
class StackChunk:
    """_PyStackChunk."""

    previous: int = 0
    size: int = 8
    top: int = 16
    data: int = 24


@dataclass(frozen=True, slots=True)
class Runtime:
    """_PyRuntimeState."""

    main_thread: int = 64


@dataclass(frozen=True, slots=True)
class Interpreter:
    """PyInterpreterState: of the garbage collector, whether it is enabled, and of the youngest generation, how many
    objects there may be before it is collected, and how many more there are by now."""

    gc_enabled: int = 124
    gc_threshold: int = 152
    gc_count: int = 156


@dataclass(frozen=True, slots=True)
class Dict:
    """PyDictObject: the version is another after each change, but for its lowest byte, which is the watchers'."""

    ma_version_tag: int = 24
    ma_keys: int = 32
    ma_values: int = 40


@dataclass(frozen=True, slots=True)
class DictKeys:
    """PyDictKeysObject: `dk_kind` is 0 where keys may be anything, else they are plain strs. Behind the indices, whose
    size is a power of two, stand the entries, in the order in which they were made."""

    dk_log2_size: int = 8
    dk_log2_index_bytes: int = 9
    dk_kind: int = 10
    dk_nentries: int = 24
    dk_indices: int = 32


@dataclass(frozen=True, slots=True)
class Type:
    """PyHeapTypeObject, which begins with a PyTypeObject."""

    tp_dealloc: int = 48
    tp_flags: int = 168
    tp_traverse: int = 184
    tp_richcompare: int = 200
    tp_weaklistoffset: int = 208
    tp_base: int = 256
    tp_alloc: int = 304
    tp_new: int = 312
    tp_del: int = 376
    tp_version_tag: int = 384
    tp_finalize: int = 392
    ht_cached_keys: int = 880


@dataclass(frozen=True, slots=True)
class Instance:
    """An object whose class gives it a dict: the word before its header is where its values are, less one; or, with
    the lowest bit not set, its dict."""

    values: int = -24


@dataclass(frozen=True, slots=True)
class MemberDescriptor:
    """PyMemberDescrObject."""

    d_member: int = 40


@dataclass(frozen=True, slots=True)
class Member:
    """PyMemberDef: `type` says what stands in the object, `offset` where, and `flags` whether it may be written."""

    type: int = 8
    offset: int = 16
    flags: int = 24


@dataclass(frozen=True, slots=True)
class Layouts:
    """All structs."""

    object: Object = Object()
    var_object: VarObject = VarObject()
    long: Long = Long()
    float: Float = Float()
    tuple: Tuple = Tuple()
    list: List = List()
    set: Set = Set()
    unicode: Unicode = Unicode()
    range_iterator: RangeIterator = RangeIterator()
    item_iterator: ItemIterator = ItemIterator()
    function: Function = Function()
    cell: Cell = Cell()
    code: Code = Code()
    monitoring: Monitoring = Monitoring()
    frame: Frame = Frame()
    frame_object: FrameObject = FrameObject()
    thread: Thread = Thread()
    stack_chunk: StackChunk = StackChunk()
    runtime: Runtime = Runtime()
    interpreter: Interpreter = Interpreter()
    dict: Dict = Dict()
    dict_keys: DictKeys = DictKeys()
    type: Type = Type()
    instance: Instance = Instance()
    member_descriptor: MemberDescriptor = MemberDescriptor()
    member: Member = Member()


LAYOUTS = Layouts()
OBJECT, VAR_OBJECT, LONG, FLOAT, TUPLE, LIST, SET = (
    LAYOUTS.object,
    LAYOUTS.var_object,
    LAYOUTS.long,
    LAYOUTS.float,
    LAYOUTS.tuple,
    LAYOUTS.list,
    LAYOUTS.set,
)
UNICODE, FUNCTION, CELL, CODE = LAYOUTS.unicode, LAYOUTS.function, LAYOUTS.cell, LAYOUTS.code
RANGE_ITERATOR, ITEM_ITERATOR = LAYOUTS.range_iterator, LAYOUTS.item_iterator
MONITORING, FRAME, FRAME_OBJECT = LAYOUTS.monitoring, LAYOUTS.frame, LAYOUTS.frame_object
THREAD, STACK_CHUNK, RUNTIME = LAYOUTS.thread, LAYOUTS.stack_chunk, LAYOUTS.runtime
INTERPRETER = LAYOUTS.interpreter
DICT, DICT_KEYS = LAYOUTS.dict, LAYOUTS.dict_keys
DICT_WATCHERS = 0xFF
"""Of a dict's version: a bit for each watcher that is told of its changes."""
TYPE, INSTANCE, MEMBER_DESCRIPTOR, MEMBER = (
    LAYOUTS.type,
    LAYOUTS.instance,
    LAYOUTS.member_descriptor,
    LAYOUTS.member,
)


def all_fields(layouts: Layouts = LAYOUTS) -> Iterator[str]:
    """Every declared field, as `struct.field`."""
    for struct in fields(layouts):
        for item in fields(getattr(layouts, struct.name)):
            yield f"{struct.name}.{item.name}"
