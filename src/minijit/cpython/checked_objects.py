"""The layouts of objects compared with live ones: numbers, containers, instances and their classes, functions, code.

Part of `self_check`, which tells how.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from minijit.cpython import raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minijit.cpython.layouts import Layouts

Row = tuple[str, str, object, object]
"""What is checked, the fields, what was found, what is expected."""


def object_rows(layouts: Layouts) -> Iterator[Row]:
    """The comparisons with objects."""
    for part in (_objects, _instances, _functions, _codes):
        yield from part(layouts)


def _objects(at: Layouts) -> Iterator[Row]:
    thing = object()
    # Two references: the name, and the argument of getrefcount.
    references = raw.read_u64(id(thing) + at.object.ob_refcnt)
    yield "reference count", "object.ob_refcnt", references, sys.getrefcount(thing) - 1
    yield "type", "object.ob_type", raw.read_u64(id(thing) + at.object.ob_type), id(object)
    sizes = [raw.read_u64(id(t) + at.var_object.ob_size) for t in ((1, 2), (1, 2, 3))]
    yield "size of a tuple", "var_object.ob_size", sizes, [2, 3]
    items = (object(), object())
    pointers = [raw.read_u64(id(items) + at.tuple.ob_item + 8 * k) for k in (0, 1)]
    yield "items of a tuple", "tuple.ob_item", pointers, [id(item) for item in items]
    array = raw.word(id(listed := list(items)) + at.list.ob_item) or 0
    yield "items of a list", "list.ob_item", [raw.word(array + 8 * k) for k in (0, 1)], [id(item) for item in listed]
    masks = [raw.read_u64(id(each) + at.set.mask) for each in ({1}, set(range(10)))]
    yield "sizes of sets", "set.mask", masks, [7, 31]
    table = raw.word(id(small := {1, 2}) + at.set.table) or 0
    words = [raw.word(table + 8 * k) for k in range(2 * len(small) + 2)]
    yield "keys of a set", "set.table", words, [0, 0, id(1), 1, id(2), 2]
    numbers = [1, -1, 12345, 2**30 + 7, -(2**60) - 3, 2**63 - 1]
    yield "ints", "long.lv_tag long.ob_digit", [_read_int(at, number) for number in numbers], numbers
    yield "tag of zero", "long.lv_tag", raw.read_u64(id(0) + at.long.lv_tag), 1
    yield "a float", "float.ob_fval", raw.read_f64(id(-1.25) + at.float.ob_fval), -1.25
    text = "a hashed string"
    hashed = hash(text)
    yield "hash of a string", "unicode.hash", raw.read_i64(id(text) + at.unicode.hash), hashed
    yield "kinds of keys", "dict.ma_keys dict_keys.dk_kind", _kinds_of_keys(at), [1, 0, 1, 0]
    sizes = [
        (raw.word(raw.read_u64(id(each) + at.dict.ma_keys) + at.dict_keys.dk_log2_size) or 0) & 255 for each in _SIZED
    ]
    yield "sizes of tables", "dict_keys.dk_log2_size", sizes, [3, 4, 10]
    split = _Open()
    own = vars(split)
    arrays = [raw.word(id(each) + at.dict.ma_values) or 0 for each in (own, {"name": 1})]
    found = [raw.word(arrays[0]), arrays[1]]
    yield "values of a dict", "dict.ma_values", found, [id(own["first"]), 0]
    yield "versions of a dict", "dict.ma_version_tag", _versions(at), [False, True]
    iterator = iter(range(5, 50, 7))
    next(iterator)
    words = [raw.read_i64(id(iterator) + x) for x in _values(at.range_iterator)]
    yield "a range iterator", "range_iterator.start range_iterator.step range_iterator.length", words, [12, 7, 6]
    for several in (listed, tuple(listed)):
        over = iter(several)
        next(over)
        words = [raw.read_i64(id(over) + at.item_iterator.index), raw.read_i64(id(over) + at.item_iterator.items)]
        yield f"a {type(over).__name__}", "item_iterator.index item_iterator.items", words, [1, id(several)]


_SIZED = ({"name": 1}, {str(n): n for n in range(10)}, {str(n): n for n in range(600)})
"""Dicts whose tables have 8, 16 and 1024 places."""


def _kinds_of_keys(at: Layouts) -> list[int | None]:
    """Of dicts of one key and of many, which differ in everything else that stands beside the kind."""
    samples: list[dict[Any, int]] = [
        {"name": 1},
        {"name": 1, 2: 3},
        {str(n): n for n in range(1000)},
        {n: n for n in range(1000)},
    ]
    words = [raw.word(raw.read_u64(id(sample) + at.dict.ma_keys) + at.dict_keys.dk_kind) for sample in samples]
    return [None if word is None else word & 255 for word in words]


def _versions(at: Layouts) -> list[bool]:
    """Whether a dict's version moves on, by little, when nothing happens, and when a value changes."""
    sample = {"name": 1}
    place = id(sample) + at.dict.ma_version_tag
    before, again = raw.read_u64(place), raw.read_u64(place)
    sample["name"] = 2
    return [0 < later - before < 2**32 for later in (again, raw.read_u64(place))]


class _Open:
    """A class whose instances have a dict."""

    def __init__(self) -> None:
        self.first, self.second = object(), object()


class _Closed:
    """One whose instances have none."""

    __slots__ = ("first", "second")


def _instances(at: Layouts) -> Iterator[Row]:
    yield "versions of a class", "type.tp_version_tag", _class_versions(at), [True, True, True]
    instance = _Open()
    keys = raw.word(id(_Open) + at.type.ht_cached_keys) or 0
    names = "type.ht_cached_keys dict_keys.dk_log2_index_bytes dict_keys.dk_nentries dict_keys.dk_indices"
    yield "names that instances share", names, _shared(at, keys), [2, id(sys.intern("first")), id(sys.intern("second"))]
    values = (raw.word(id(instance) + at.instance.values) or 0) + 1
    items = [id(instance.first), id(instance.second)]
    yield "values of an instance", "instance.values", [raw.word(values + 8 * k) for k in (0, 1)], items
    yield "the order of values", "", (raw.word(values - 8) or 0) >> 32 & 0xFFFFFF, 0x020001
    allocators = raw.symbol("PyType_GenericAlloc"), raw.symbol("PyType_GenericNew")
    found = [raw.word(id(_Open) + at.type.tp_alloc), raw.word(id(property) + at.type.tp_new)]
    yield "what makes instances", "type.tp_alloc type.tp_new", found, list(allocators)
    offsets = [raw.read_i64(id(each) + at.type.tp_weaklistoffset) for each in (_Open, _Closed, type)]
    wanted = [each.__weakrefoffset__ for each in (_Open, _Closed, type)]
    yield "where weak references are", "type.tp_weaklistoffset", offsets, wanted
    yield from _ends(at)
    closed = _Closed()
    closed.first, closed.second = object(), object()  # type: ignore[attr-defined]
    members = [raw.word(id(vars(_Closed)[name]) + at.member_descriptor.d_member) or 0 for name in _Closed.__slots__]
    found = [raw.word(id(closed) + ((raw.word(member + at.member.offset) or 0) & 255)) for member in members]
    items = [id(closed.first), id(closed.second)]  # type: ignore[attr-defined]
    yield "slots of an instance", "member_descriptor.d_member member.offset", found, items
    yield "types of slots", "member.type", [_half(member + at.member.type) for member in members], [16, 16]
    # `complex.real` may not be written.
    members += [raw.word(id(vars(complex)["real"]) + at.member_descriptor.d_member) or 0]
    yield "flags of slots", "member.flags", [_half(member + at.member.flags) for member in members], [0, 0, 1]


def _ends(at: Layouts) -> Iterator[Row]:
    """What tells whether the end of a class's instances may be noticed."""

    class Noticed(_Open):
        def __del__(self) -> None:
            pass

    finalizers = [raw.word(id(each) + at.type.tp_finalize) for each in (GeneratorType, _Open)]
    yield "who is told of an end", "type.tp_finalize", finalizers, [raw.symbol("_PyGen_Finalize"), 0]
    told = [bool(raw.word(id(each) + at.type.tp_del)) for each in (_Open, _Closed, Noticed, type)]
    yield "who was told of it once", "type.tp_del", told, [False] * 4
    flags = [raw.word(id(each) + at.type.tp_flags) for each in (_Open, type)]
    yield "flags of a class", "type.tp_flags", flags, [each.__flags__ for each in (_Open, type)]
    yield "what a class is derived from", "type.tp_base", raw.word(id(Noticed) + at.type.tp_base), id(_Open)
    # All that a program makes has the same; and a tuple's items are visited, but never cleared.
    for what, name in (("what ends instances", "tp_dealloc"), ("what visits what instances hold", "tp_traverse")):
        words = [raw.word(id(each) + getattr(at.type, name)) or 0 for each in (_Open, _Closed, type, tuple)]
        found = words[0] == words[1], len({*words}) == 3, all(2**20 < each < 2**48 for each in words)
        yield what, f"type.{name}", found, (True, True, True)

    class Ordered:
        def __lt__(self, other: object) -> bool:
            return self is not other

    classes = object, _Open, _Closed, int, bool, Ordered
    words = [raw.word(id(each) + at.type.tp_richcompare) or 0 for each in classes]
    alike = words[0] == words[1] == words[2], words[3] == words[4], len({*words}) == 3
    yield "what compares instances", "type.tp_richcompare", alike, (True, True, True)


def _half(address: int) -> int:
    """The half of a word at an address that may be wrong."""
    return (raw.word(address) or 0) & 0xFFFFFFFF


def _class_versions(at: Layouts) -> list[bool]:
    """Whether a class has a number that stays as it is, by little, and is another one when the class changes."""

    class Sample:
        pass

    place = id(Sample) + at.type.tp_version_tag
    found = []
    for value in (1, 1, 2):
        if value == 2:
            Sample.value = value  # type: ignore[attr-defined]
        getattr(Sample, "value", None)
        found.append(raw.read_u32(place))
    return [found[0] > 0, found[0] == found[1], 0 < found[2] - found[1] < 2**16]


def _shared(at: Layouts, keys: int) -> list[int | None]:
    """How many names there are at an address, which may be wrong, and the first two."""
    size = (raw.word(keys + at.dict_keys.dk_log2_index_bytes) or 0) & 255
    first = keys + at.dict_keys.dk_indices + (1 << min(size, 16))
    return [raw.word(keys + at.dict_keys.dk_nentries), raw.word(first), raw.word(first + 16)]


def _values(struct: Any) -> list[int]:
    return [getattr(struct, item.name) for item in fields(struct)]


def _read_int(at: Layouts, number: int) -> int:
    tag = raw.read_u64(id(number) + at.long.lv_tag)
    digits = min(tag >> 3, 3)
    size = sum(raw.read_u32(id(number) + at.long.ob_digit + 4 * k) << 30 * k for k in range(digits))
    return size * (1 - (tag & 3))


def _sample(a: int, b: int = 2, /, d: int = 4, *, c: int = 3) -> tuple[int, ...]:
    # Four on the stack: its size, which stands behind the numbers of parameters, is none of them.
    return (a, b, c, d)


def _functions(at: Layouts) -> Iterator[Row]:
    function = _sample
    pointers = {
        "func_globals": function.__globals__,
        "func_builtins": sys._getframe().f_builtins,  # those of this module
        "func_code": function.__code__,
        "func_defaults": function.__defaults__,
        "func_kwdefaults": function.__kwdefaults__,
    }
    for name, value in pointers.items():
        offset = getattr(at.function, name)
        yield f"a function's {name}", f"function.{name}", raw.read_u64(id(function) + offset), id(value)
    content = object()

    def closure() -> object:
        return content

    cells = raw.word(id(closure) + at.function.func_closure)
    yield "a function's cells", "function.func_closure", cells, id(closure.__closure__)
    (cell,) = closure.__closure__ or ()
    yield "what a cell holds", "cell.ob_ref", raw.word(id(cell) + at.cell.ob_ref), id(content)
    entry = raw.read_u64(id(function) + at.function.vectorcall)
    yield "a function's entry", "function.vectorcall", entry, raw.symbol("_PyFunction_Vectorcall")


def _codes(at: Layouts) -> Iterator[Row]:
    code = _sample.__code__
    base = id(code)
    kinds = ("co_argcount", "co_posonlyargcount", "co_kwonlyargcount")
    counts = [raw.read_i32(base + getattr(at.code, kind)) for kind in kinds]
    yield "a code object's parameters", " ".join(f"code.{kind}" for kind in kinds), counts, [3, 2, 1]
    flags = raw.read_i32(base + at.code.co_flags)
    yield "a code object's flags", "code.co_flags", flags, code.co_flags
    # The frame's head is as many words as stand before its locals.
    words = at.frame.localsplus // 8 + code.co_nlocals + code.co_stacksize
    size = raw.read_i32(base + at.code.co_framesize)
    yield "a code object's frame size", "code.co_framesize frame.localsplus", size, words
    names = raw.read_u64(base + at.code.co_localsplusnames)
    first = raw.word(names + at.tuple.ob_item)
    yield "names of locals", "code.co_localsplusnames", first, id(code.co_varnames[0])
    filename = raw.read_u64(base + at.code.co_filename)
    yield "where code is from", "code.co_filename", filename, id(code.co_filename)
    # As it is now, instrumented instructions included.
    instructions: bytes = code._co_code_adaptive  # type: ignore[attr-defined]
    found = raw.read_bytes(base + at.code.co_code_adaptive, len(instructions))
    yield "instructions", "code.co_code_adaptive", found, instructions
