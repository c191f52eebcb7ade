"""Objects as LLVM emits them, and how they are laid out and linked. Nothing is executed here.

In: modules as text, emitted by llvmlite with position-independent or absolute references, and objects of the
first kind spoiled byte by byte. Out: what the image says, and the bytes at known places of the linked blob.
"""

import struct
from collections.abc import Callable

import llvmlite.binding as llvm
import pytest

from minijit.backend import elf

BASE = 0x7000_0000_0000
FAR = 0x1234_5678_9ABC

CASES = range(8)
SWITCH = f"""
define i64 @pick(i64 %x) {{
  switch i64 %x, label %other [{" ".join(f"i64 {n}, label %c{n}" for n in CASES)}]
{"".join(f"c{n}:\n  %r{n} = mul i64 %x, {n + 3}\n  ret i64 %r{n}\n" for n in CASES)}
other:
  ret i64 -1
}}
"""

CONSTRUCTORS = """
@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] [{ i32, ptr, ptr } { i32 1, ptr @f, ptr null }]
"""


def emit(text: str, reloc: str = "pic") -> bytes:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    with (
        target.create_target_machine(opt=2, reloc=reloc, codemodel="small") as machine,
        llvm.create_context() as context,
        llvm.parse_assembly(text, context) as module,
    ):
        data: bytes = machine.emit_object(module)
        return data


def nowhere(name: str) -> int:
    raise LookupError(name)


def far(name: str) -> int:
    return FAR


def word(blob: bytes, offset: int) -> int:
    return int.from_bytes(blob[offset : offset + 8], "little")


def types_of(image: elf.Image) -> set[str]:
    return {relocation.type.name for relocation in image.relocations}


def respoiled(data: bytes, change: Callable[[bytearray, int], None]) -> bytes:
    """Apply `change` to the object at the offset of each relocation of `.text`."""
    spoiled = bytearray(data)
    start, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    for index in range(count):
        header = struct.unpack_from("<IIQQQQIIQQ", data, start + 64 * index)
        if header[1] == 4:
            for at in range(header[4], header[4] + header[5], 24):
                change(spoiled, at)
    return bytes(spoiled)


class TestLayout:
    def test_only_code(self) -> None:
        image = elf.parse(emit("define i64 @f(i64 %x) nounwind {\n  ret i64 %x\n}"))
        assert dict(image.symbols) == {"f": 0}
        assert not image.relocations
        assert not image.stubs
        assert elf.link(image, BASE, nowhere) == image.content == bytes.fromhex("4889f8c3")

    def test_constants_follow_the_code_at_their_alignment(self) -> None:
        image = elf.parse(emit("define double @f(double %x) {\n  %y = fmul double %x, 3.5\n  ret double %y\n}"))
        (relocation,) = image.relocations
        assert relocation.type is elf.RelocationType.PC_32
        at = relocation.symbol.offset
        assert at is not None
        assert at % 8 == 0
        assert struct.unpack_from("<d", image.content, at) == (3.5,)
        blob = elf.link(image, BASE, nowhere)
        (distance,) = struct.unpack_from("<i", blob, relocation.at)
        assert relocation.at + 4 + distance == at

    def test_no_unwind_tables(self) -> None:
        """Without `nounwind` LLVM makes some."""
        text = "define i64 @f(i64 %x) {0} {{\n  ret i64 %x\n}}"
        with_tables, without = emit(text.format("uwtable")), emit(text.format("nounwind"))
        assert b".eh_frame" in with_tables
        assert elf.parse(with_tables).content == elf.parse(without).content

    def test_local_and_declared_symbols_are_not_exported(self) -> None:
        image = elf.parse(
            emit("""
declare void @out()
define internal void @in() noinline {
  ret void
}
define void @f() {
  call void @in()
  call void @out()
  ret void
}
""")
        )
        assert set(image.symbols) == {"f"}

    def test_several_functions(self) -> None:
        image = elf.parse(emit("define void @f() {\n ret void\n}\ndefine void @g() {\n ret void\n}"))
        assert set(image.symbols) == {"f", "g"}
        assert all(image.content[at] == 0xC3 for at in image.symbols.values())


class TestReferences:
    def test_jump_table_is_relative(self) -> None:
        image = elf.parse(emit(SWITCH))
        assert types_of(image) == {"PC_32"}
        # The distances within a blob are the same wherever it lies.
        assert elf.link(image, BASE, nowhere) == elf.link(image, 64, nowhere)

    def test_outside_function_is_called_through_one_stub(self) -> None:
        image = elf.parse(
            emit("""
declare double @fmod(double, double)
define double @f(double %x, double %y) {
  %a = call double @fmod(double %x, double %y)
  %b = call double @fmod(double %a, double %x)
  %c = fadd double %a, %b
  ret double %c
}
""")
        )
        assert [relocation.type.name for relocation in image.relocations] == ["PLT_32"] * 2
        (stub,) = image.stubs.values()
        blob = elf.link(image, BASE, far)
        assert stub % 16 == 0
        assert blob[stub : stub + 6] == bytes.fromhex("ff2500000000")
        assert word(blob, stub + 6) == FAR
        for relocation in image.relocations:
            assert relocation.at + 4 + struct.unpack_from("<i", blob, relocation.at)[0] == stub

    def test_outside_data_is_reached_through_a_slot(self) -> None:
        image = elf.parse(emit("@g = external global i64\ndefine i64 @f() {\n  %x = load i64, ptr @g\n  ret i64 %x\n}"))
        assert types_of(image) <= {"GOT_PC_RELAXABLE_REX", "GOT_PC_RELAXABLE", "GOT_PC"}
        (slot,) = image.slots.values()
        assert word(elf.link(image, BASE, far), slot) == FAR

    def test_slot_of_a_defined_symbol(self) -> None:
        image = elf.parse(emit("define i64 @f() {\n  ret i64 1\n}\ndefine ptr @g() {\n  ret ptr @f\n}"))
        (slot,) = image.slots.values()
        assert word(elf.link(image, BASE, nowhere), slot) == BASE + image.symbols["f"]

    def test_constant_table_of_addresses(self) -> None:
        image = elf.parse(
            emit("""
@g = external global i64
@table = constant [2 x ptr] [ptr @f, ptr @g]
define void @f() {
  ret void
}
""")
        )
        assert types_of(image) == {"ABSOLUTE_64"}
        blob = elf.link(image, BASE, far)
        table = image.symbols["table"]
        assert (word(blob, table), word(blob, table + 8)) == (BASE + image.symbols["f"], FAR)

    def test_unresolved_symbol(self) -> None:
        image = elf.parse(emit("declare void @missing()\ndefine void @f() {\n  call void @missing()\n  ret void\n}"))
        with pytest.raises(LookupError, match="missing"):
            elf.link(image, BASE, nowhere)

    def test_absolute_32_bit_references_need_low_addresses(self) -> None:
        image = elf.parse(emit(SWITCH, reloc="static"))
        assert "ABSOLUTE_32_SIGNED" in types_of(image)
        low = 0x40_0000
        (table,) = (item for item in image.relocations if item.type.name == "ABSOLUTE_32_SIGNED")
        assert table.symbol.offset is not None
        blob = elf.link(image, low, nowhere)
        assert struct.unpack_from("<i", blob, table.at) == (low + table.symbol.offset + table.addend,)
        with pytest.raises(elf.OutOfReachError, match="ABSOLUTE_32_SIGNED"):
            elf.link(image, BASE, nowhere)
        # Signed: the upper half of the 4 GB is out of reach too.
        with pytest.raises(elf.OutOfReachError):
            elf.link(image, 0x9000_0000, nowhere)

    def test_unsigned_32_bit_reference(self) -> None:
        def as_unsigned(data: bytearray, at: int) -> None:
            struct.pack_into("<I", data, at + 8, elf.RelocationType.ABSOLUTE_32)

        image = elf.parse(respoiled(emit("define double @f() {\n  ret double 3.5\n}"), as_unsigned))
        (relocation,) = image.relocations
        high = 0x9000_0000
        assert relocation.symbol.offset is not None
        blob = elf.link(image, high, nowhere)
        expected = high + relocation.symbol.offset + relocation.addend
        assert struct.unpack_from("<I", blob, relocation.at) == (expected,)
        with pytest.raises(elf.OutOfReachError):
            elf.link(image, BASE, nowhere)

    def test_outside_data_referred_to_directly_must_be_near(self) -> None:
        """Never through a stub: that would read the stub's bytes as data."""
        text = "@g = external dso_local global i64\ndefine i64 @f() {\n  %x = load i64, ptr @g\n  ret i64 %x\n}"
        image = elf.parse(emit(text))
        assert types_of(image) == {"PC_32"}
        assert not image.stubs
        (relocation,) = image.relocations
        blob = elf.link(image, BASE, {"g": BASE + 4096}.__getitem__)
        assert relocation.at + 4 + struct.unpack_from("<i", blob, relocation.at)[0] == 4096
        with pytest.raises(elf.OutOfReachError, match="g is out of reach"):
            elf.link(image, BASE, far)


class TestRefusals:
    def test_unknown_relocation(self) -> None:
        def as_type_99(data: bytearray, at: int) -> None:
            struct.pack_into("<I", data, at + 8, 99)

        with pytest.raises(elf.UnknownRelocationError, match="99") as caught:
            elf.parse(respoiled(emit("define double @f() {\n  ret double 3.5\n}"), as_type_99))
        assert caught.value.type == 99

    @pytest.mark.parametrize(
        ("declaration", "message"),
        [
            ("@v = global i64 5", "writable data"),
            ("@v = global i64 0", "writable data"),
            ("@v = thread_local global i64 5", "thread-local"),
            (CONSTRUCTORS, "writable data"),
        ],
    )
    def test_what_needs_a_real_loader(self, declaration: str, message: str) -> None:
        with pytest.raises(elf.ObjectError, match=message):
            elf.parse(emit(f"{declaration}\ndefine void @f() {{\n  ret void\n}}"))

    @pytest.mark.parametrize("data", [b"", b"\x7fELF", b"MZ" + bytes(100), b"\x7fELF\x01\x01" + bytes(100)])
    def test_not_elf(self, data: bytes) -> None:
        with pytest.raises(elf.ObjectError, match="not a 64-bit"):
            elf.parse(data)

    def test_another_machine(self) -> None:
        data = bytearray(emit("define void @f() {\n  ret void\n}"))
        struct.pack_into("<H", data, 18, 183)
        with pytest.raises(elf.ObjectError, match="x86-64"):
            elf.parse(bytes(data))

    def test_base_must_be_aligned(self) -> None:
        image = elf.parse(emit("define void @f() {\n  ret void\n}"))
        with pytest.raises(elf.ObjectError, match="aligned"):
            elf.link(image, BASE + 8, nowhere)
