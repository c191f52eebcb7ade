"""Relocatable ELF objects, as LLVM emits them, turned into bytes that run at an address.

In: an x86-64 object file, then the address where it shall lie and a way to find symbols that it does not
define. Out: one blob of bytes, to be copied to that address and executed there, and where its global
symbols are in it.

    object:  .text   .rodata.cst8   .rela.text   .symtab ...
    blob:    code | constants, jump tables | a jump stub per outside function | a slot per symbol in the GOT

The blob is all there is: nothing is shared between two of them, so freeing the blob frees everything.
Outside functions may be more than 2 GB away, hence the stubs; outside data is reached through slots. The
blob is never writable once it runs, so an object with writable data is refused (lists of constructors are
such data), and so are thread-locals. `.data.rel.ro` is writable only until it is relocated, which is here.

`.eh_frame` is left out: nothing unwinds through compiled code. Exceptions of Python are return values, C++
does not call us, and debuggers cannot know a table that is registered nowhere. (`nounwind` on functions
saves making it.)
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

_FILE_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

_IDENTITY = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_RELOCATABLE = 1
_X86_64 = 62

_SYMBOL_TABLE = 2
_RELOCATIONS = 4
_NO_BITS = 8  # a section that takes no room in the file, being all zero

_WRITABLE = 0x1
_ALLOCATED = 0x2
_THREAD_LOCAL = 0x400

_UNDEFINED = 0
_FIRST_RESERVED_SECTION = 0xFF00
_LOCAL_BINDING = 0

# jmp [rip+0], the address follows; two bytes keep the next stub's address aligned
_STUB_JUMP = bytes.fromhex("ff2500000000")
_STUB_SIZE = 16
_SLOT_SIZE = 8


class ObjectError(Exception):
    """The object is not one that can be placed."""


class UnknownRelocationError(ObjectError):
    """The object has a relocation of a type that is not implemented; `type` is its number."""

    def __init__(self, number: int, section: str) -> None:
        super().__init__(f"relocation of unknown type {number} in {section}")
        self.type = number


class OutOfReachError(ObjectError):
    """The value does not fit into the 32 bits that a relocation has for it."""


class RelocationType(enum.IntEnum):
    """What to put where; the numbers are the x86-64 ABI's."""

    ABSOLUTE_64 = 1
    PC_32 = 2
    PLT_32 = 4
    GOT_PC = 9
    ABSOLUTE_32 = 10
    ABSOLUTE_32_SIGNED = 11
    GOT_PC_RELAXABLE = 41
    GOT_PC_RELAXABLE_REX = 42


# The relaxable ones allow a linker to rewrite the instruction, which may be left as it is.
_BY_DISTANCE = frozenset({RelocationType.PC_32, RelocationType.PLT_32})
_THROUGH_SLOT = frozenset({RelocationType.GOT_PC, RelocationType.GOT_PC_RELAXABLE, RelocationType.GOT_PC_RELAXABLE_REX})


@dataclass(frozen=True, slots=True)
class Symbol:
    """Something that relocations refer to: at an offset into the blob, or by name somewhere outside."""

    name: str
    offset: int | None


@dataclass(frozen=True, slots=True)
class Relocation:
    """A place in the blob to be filled in, once addresses are known."""

    at: int
    type: RelocationType
    symbol: Symbol
    addend: int


@dataclass(frozen=True, slots=True)
class Image:
    """An object laid out as a blob, for no particular address yet.

    `content` has zeros where stubs and slots will be. `symbols` are the global ones, by name.
    """

    content: bytes
    alignment: int
    symbols: Mapping[str, int]
    relocations: tuple[Relocation, ...]
    stubs: Mapping[str, int]
    slots: Mapping[Symbol, int]

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def is_movable(self) -> bool:
        """Whether it refers to nothing but itself, by distance."""
        return all(each.type in _BY_DISTANCE and each.symbol.offset is not None for each in self.relocations)

    def moved(self) -> Image:
        """What is movable, with nothing left to fill in."""
        return replace(self, content=link(self, 0, _nowhere), relocations=())


def _nowhere(name: str) -> int:
    raise ObjectError(f"{name} is outside")


@dataclass(frozen=True, slots=True)
class _Section:
    """A section header; `data` is empty for sections that take no room in the file."""

    name: str
    type: int
    flags: int
    size: int
    link: int
    info: int
    alignment: int
    data: bytes

    def is_placed(self) -> bool:
        return bool(self.flags & _ALLOCATED) and self.size > 0 and self.name != ".eh_frame"


def parse(data: bytes) -> Image:
    """Lay out an object file; everything that can be wrong with it is found here, except for its reach."""
    sections = _read_sections(data)
    for section in sections:
        _refuse_what_needs_a_loader(section)
    content, offsets, alignment = _place(sections)
    symbols = list(_read_symbols(sections, offsets))
    relocations = tuple(_read_relocations(sections, offsets, [symbol for symbol, _ in symbols]))
    stubs = _reserve_stubs(content, relocations)
    slots = _reserve_slots(content, relocations)
    exported = {symbol.name: symbol.offset for symbol, is_global in symbols if is_global and symbol.offset is not None}
    return Image(bytes(content), alignment, exported, relocations, stubs, slots)


def link(image: Image, base_address: int, resolve: Callable[[str], int]) -> bytes:
    """Give the blob's bytes for one address; `resolve` gives the address of an outside symbol, or raises."""
    if base_address % image.alignment:
        raise ObjectError(f"the object needs an address aligned to {image.alignment}")

    def address(symbol: Symbol) -> int:
        return resolve(symbol.name) if symbol.offset is None else base_address + symbol.offset

    blob = bytearray(image.content)
    for name, offset in image.stubs.items():
        blob[offset : offset + len(_STUB_JUMP)] = _STUB_JUMP
        struct.pack_into("<Q", blob, offset + len(_STUB_JUMP), resolve(name))
    for symbol, offset in image.slots.items():
        struct.pack_into("<Q", blob, offset, address(symbol))
    for relocation in image.relocations:
        _apply(relocation, image, blob, base_address, address)
    return bytes(blob)


def _apply(
    relocation: Relocation,
    image: Image,
    blob: bytearray,
    base_address: int,
    address: Callable[[Symbol], int],
) -> None:
    """Fill in one place of the blob."""
    symbol, addend, at = relocation.symbol, relocation.addend, relocation.at
    here = base_address + at
    match relocation.type:
        case RelocationType.ABSOLUTE_64:
            struct.pack_into("<Q", blob, at, (address(symbol) + addend) % 2**64)
        case RelocationType.ABSOLUTE_32:
            _pack_32("<I", blob, relocation, address(symbol) + addend)
        case RelocationType.ABSOLUTE_32_SIGNED:
            _pack_32("<i", blob, relocation, address(symbol) + addend)
        case RelocationType.PLT_32 if symbol.offset is None:
            _pack_32("<i", blob, relocation, base_address + image.stubs[symbol.name] + addend - here)
        case RelocationType.PC_32 | RelocationType.PLT_32:
            _pack_32("<i", blob, relocation, address(symbol) + addend - here)
        case RelocationType.GOT_PC | RelocationType.GOT_PC_RELAXABLE | RelocationType.GOT_PC_RELAXABLE_REX:
            _pack_32("<i", blob, relocation, base_address + image.slots[symbol] + addend - here)


def _pack_32(layout: str, blob: bytearray, relocation: Relocation, value: int) -> None:
    try:
        struct.pack_into(layout, blob, relocation.at, value)
    except struct.error as error:
        name = relocation.symbol.name or "a section"
        raise OutOfReachError(f"{relocation.type.name}: {name} is out of reach") from error


def _read_sections(data: bytes) -> list[_Section]:
    """Give all sections by index, with their names."""
    if len(data) < _FILE_HEADER.size or not data.startswith(_IDENTITY):
        raise ObjectError("not a 64-bit little-endian ELF file")
    _, kind, machine, _, _, _, start, _, _, _, _, _, count, names_at = _FILE_HEADER.unpack_from(data)
    if (kind, machine) != (_RELOCATABLE, _X86_64):
        raise ObjectError("not a relocatable object for x86-64")
    headers = list(_SECTION_HEADER.iter_unpack(data[start : start + count * _SECTION_HEADER.size]))
    names = _extent(data, headers[names_at])
    return [
        _Section(
            name=_text(names, header[0]),
            type=header[1],
            flags=header[2],
            size=header[5],
            link=header[6],
            info=header[7],
            alignment=max(header[8], 1),
            data=_extent(data, header),
        )
        for header in headers
    ]


def _extent(data: bytes, header: tuple[int, ...]) -> bytes:
    offset, size = header[4], header[5]
    return b"" if header[1] == _NO_BITS else data[offset : offset + size]


def _text(table: bytes, offset: int) -> str:
    return table[offset : table.index(0, offset)].decode()


def _refuse_what_needs_a_loader(section: _Section) -> None:
    if not section.is_placed():
        return
    if section.flags & _THREAD_LOCAL:
        raise ObjectError(f"{section.name}: thread-local variables are not supported")
    if section.flags & _WRITABLE and not section.name.startswith(".data.rel.ro"):
        raise ObjectError(f"{section.name}: writable data is not supported")


def _place(sections: list[_Section]) -> tuple[bytearray, dict[int, int], int]:
    """Concatenate what is loaded. Gives the bytes, the offset by section index, and the alignment."""
    content = bytearray()
    offsets: dict[int, int] = {}
    alignment = _STUB_SIZE
    for index, section in enumerate(sections):
        if not section.is_placed():
            continue
        alignment = max(alignment, section.alignment)
        _pad(content, section.alignment)
        offsets[index] = len(content)
        content += section.data or bytes(section.size)
    return content, offsets, alignment


def _pad(content: bytearray, alignment: int) -> None:
    content += bytes(-len(content) % alignment)


def _read_symbols(sections: list[_Section], offsets: Mapping[int, int]) -> Iterator[tuple[Symbol, bool]]:
    """Give all symbols by index, and whether they are global ones.

    A symbol in a section that is not loaded (a debugger's, say) counts as outside: it only matters if used.
    """
    for table in sections:
        if table.type != _SYMBOL_TABLE:
            continue
        names = sections[table.link].data
        for name_at, info, _, section, value, _ in _SYMBOL.iter_unpack(table.data):
            name = _text(names, name_at)
            if section != _UNDEFINED and section < _FIRST_RESERVED_SECTION and section in offsets:
                yield Symbol(name, offsets[section] + value), info >> 4 != _LOCAL_BINDING
            else:
                yield Symbol(name, None), False


def _read_relocations(
    sections: list[_Section], offsets: Mapping[int, int], symbols: list[Symbol]
) -> Iterator[Relocation]:
    """Give the relocations of all loaded sections."""
    for table in sections:
        if table.type != _RELOCATIONS or table.info not in offsets:
            continue
        target = sections[table.info]
        for at, info, addend in _RELOCATION.iter_unpack(table.data):
            number, symbol = info & 0xFFFFFFFF, symbols[info >> 32]
            try:
                kind = RelocationType(number)
            except ValueError as error:
                raise UnknownRelocationError(number, target.name) from error
            if symbol.offset is None and not symbol.name:
                raise ObjectError(f"{target.name} refers to a section that is not loaded")
            yield Relocation(offsets[table.info] + at, kind, symbol, addend)


def _reserve_stubs(content: bytearray, relocations: tuple[Relocation, ...]) -> dict[str, int]:
    """Make room for one jump to each outside function that is called; gives their offsets by name."""
    stubs: dict[str, int] = {}
    for relocation in relocations:
        symbol = relocation.symbol
        if relocation.type is RelocationType.PLT_32 and symbol.offset is None and symbol.name not in stubs:
            _pad(content, _STUB_SIZE)
            stubs[symbol.name] = len(content)
            content += bytes(_STUB_SIZE)
    return stubs


def _reserve_slots(content: bytearray, relocations: tuple[Relocation, ...]) -> dict[Symbol, int]:
    """Make room for the addresses that code loads from its own table; gives their offsets."""
    slots: dict[Symbol, int] = {}
    for relocation in relocations:
        if relocation.type in _THROUGH_SLOT and relocation.symbol not in slots:
            _pad(content, _SLOT_SIZE)
            slots[relocation.symbol] = len(content)
            content += bytes(_SLOT_SIZE)
    return slots
