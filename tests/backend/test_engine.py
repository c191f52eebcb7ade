"""The engine: what compiles runs, gives exact results, and is gone when closed.

In: modules as text. Out: results of calls through ctypes, the text of stages, counters, resident memory. What
judges a whole process (its memory, its imports) runs in one of its own.
"""

import ctypes
import threading
from pathlib import Path

import pytest

from conftest import RunPython
from minijit.backend.arena import ALIGNMENT, CHUNK_SIZE
from minijit.backend.engine import Code, CompileError, Engine
from minijit.cpython import pages, raw

INT = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
FLOAT = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
FLOATS = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_double, ctypes.c_double)

DOUBLE = "define i64 @f(i64 %x) nounwind {\n  %y = add i64 %x, %x\n  ret i64 %y\n}\n"

UNRESOLVED = """
declare void @no_such_function()
define void @f() {
  call void @no_such_function()
  ret void
}
"""


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def stages(engine: Engine, text: str, **options: bool) -> dict[str, str]:
    """Compile and close; gives the text of each stage."""
    shown: dict[str, str] = {}
    engine.compile(text, name="stages", dump=shown.__setitem__, **options).close()
    return shown


class TestCompiledCode:
    def test_arithmetic(self, engine: Engine) -> None:
        code = engine.compile(DOUBLE, name="double")
        assert INT(code.address("f"))(21) == 42
        code.close()

    @pytest.mark.parametrize("level", range(4))
    def test_every_level(self, level: int) -> None:
        engine = Engine(level)
        code = engine.compile(DOUBLE, name="double")
        assert INT(code.address("f"))(21) == 42
        code.close()
        engine.close()
        assert (engine.bytes_in_use, engine.bytes_mapped) == (0, 0)

    def test_float_constants(self, engine: Engine) -> None:
        text = """
define double @f(double %x) {
  %y = fmul double %x, 3.25
  %z = fadd double %y, 0.5
  ret double %z
}
"""
        code = engine.compile(text, name="constants")
        assert FLOAT(code.address("f"))(2.0) == 7.0
        code.close()

    def test_negation_mask(self, engine: Engine) -> None:
        code = engine.compile("define double @f(double %x) {\n  %y = fneg double %x\n  ret double %y\n}", name="fneg")
        assert str(FLOAT(code.address("f"))(0.0)) == "-0.0"
        assert FLOAT(code.address("f"))(-2.5) == 2.5
        code.close()

    @pytest.mark.parametrize("optimise", [False, True])
    @pytest.mark.parametrize("quick", [False, True])
    def test_jump_table(self, engine: Engine, optimise: bool, quick: bool) -> None:
        values = [5, -3, 11, 0, 99, 42, 7, -8]
        cases = " ".join(f"i64 {n}, label %c{n}" for n in range(8))
        blocks = "".join(
            f"c{n}:\n  %r{n} = {op} i64 %x, {values[n]}\n  ret i64 %r{n}\n"
            for n, op in enumerate(["add", "mul", "sub", "xor"] * 2)
        )
        text = f"define i64 @f(i64 %x) {{\n  switch i64 %x, label %no [{cases}]\n{blocks}no:\n  ret i64 -1\n}}"
        code = engine.compile(text, name="switch", optimise=optimise, quick=quick)
        expected = [0 + 5, 1 * -3, 2 - 11, 3 ^ 0, 4 + 99, 5 * 42, 6 - 7, 7 ^ -8, -1]
        assert [INT(code.address("f"))(n) for n in range(9)] == expected
        code.close()

    def test_call_of_an_absolute_address(self, engine: Engine) -> None:
        labs = raw.symbol("labs")
        call = f"call i64 inttoptr (i64 {labs} to ptr)(i64 %x)"
        text = f"define i64 @f(i64 %x) {{\n  %y = {call}\n  ret i64 %y\n}}"
        code = engine.compile(text, name="absolute")
        assert INT(code.address("f"))(-17) == 17
        code.close()

    def test_memset_and_memcpy_that_llvm_makes_of_a_loop(self, engine: Engine) -> None:
        text = """
define void @f(ptr noalias %to, ptr noalias %from, i64 %n) nounwind {
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %p = getelementptr i64, ptr %to, i64 %i
  %q = getelementptr i64, ptr %from, i64 %i
  %x = load i64, ptr %q
  store i64 %x, ptr %p
  %next = add nuw i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""
        assert "memcpy" in stages(engine, text)["asm"]
        code = engine.compile(text, name="copy")
        copy = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(code.address("f"))
        source, target = (ctypes.c_int64 * 100)(*range(100)), (ctypes.c_int64 * 100)()
        copy(target, source, 100)
        assert list(target) == list(range(100))
        code.close()

    def test_fmod_and_an_injected_resolver(self) -> None:
        asked: list[str] = []

        def resolve(name: str) -> int:
            asked.append(name)
            return raw.symbol(name)

        engine = Engine(resolve=resolve)
        code = engine.compile(
            "define double @f(double %x) {\n  %y = frem double %x, 3.0\n  ret double %y\n}", name="fmod"
        )
        assert asked == ["fmod"]
        assert FLOAT(code.address("f"))(10.5) == 1.5
        code.close()
        engine.close()

    def test_functions_of_one_module_call_each_other(self, engine: Engine) -> None:
        text = """
define i64 @g(i64 %x) noinline {
  %y = mul i64 %x, 3
  ret i64 %y
}
define i64 @f(i64 %x) {
  %y = call i64 @g(i64 %x)
  %z = add i64 %y, 1
  ret i64 %z
}
"""
        code = engine.compile(text, name="two")
        assert INT(code.address("f"))(4) == 13
        assert INT(code.address("g"))(4) == 12
        code.close()

    def test_what_is_marked_is_inlined_and_the_unused_is_dropped(self, engine: Engine) -> None:
        text = """
define internal i64 @small(i64 %x) alwaysinline {
  %y = mul i64 %x, 3
  ret i64 %y
}
define internal i64 @unused(i64 %x) {
  ret i64 %x
}
define i64 @f(i64 %x) {
  %y = call i64 @small(i64 %x)
  ret i64 %y
}
"""
        optimised = stages(engine, text)["llvm-opt"]
        assert "@small" not in optimised
        assert "@unused" not in optimised

    def test_without_simplification(self, engine: Engine) -> None:
        """What is marked is inlined all the same."""
        text = """
define internal i64 @small(i64 %x) alwaysinline {
  %y = add i64 %x, 0
  ret i64 %y
}
define i64 @f(i64 %x) {
  %y = call i64 @small(i64 %x)
  %z = mul i64 %y, 1
  ret i64 %z
}
"""
        optimised = stages(engine, text, simplify=False)["llvm-opt"]
        assert "@small" not in optimised
        assert "mul i64" in optimised
        assert "mul i64" not in stages(engine, text)["llvm-opt"]

    def test_vectorise(self, engine: Engine) -> None:
        text = """
define void @f(ptr noalias %a, ptr noalias %b) nounwind {
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %p = getelementptr double, ptr %a, i64 %i
  %q = getelementptr double, ptr %b, i64 %i
  %x = load double, ptr %p
  %y = fmul double %x, 3.0
  store double %y, ptr %q
  %next = add nuw nsw i64 %i, 1
  %more = icmp ult i64 %next, 512
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""
        assert "x double>" not in stages(engine, text)["llvm-opt"]
        assert "x double>" in stages(engine, text, vectorise=True)["llvm-opt"]


class TestExactness:
    def text(self, flags: str = "") -> str:
        return f"""
define double @f(double %a, double %b, double %c) {{
  %p = fmul {flags} double %a, %b
  %s = fadd {flags} double %p, %c
  ret double %s
}}
"""

    def test_product_is_rounded_before_the_sum(self, engine: Engine) -> None:
        """An x whose square is not a double: fused, x*x - round(x*x) would be the rounding error."""
        x = 1.0 + 2.0**-30
        for options in ({}, {"vectorise": True}, {"optimise": False}):
            code = engine.compile(self.text(), name="no fma", **options)
            assert FLOATS(code.address("f"))(x, x, -(x * x)) == 0.0
            code.close()

    def test_no_fused_instruction(self, engine: Engine) -> None:
        if "fma" not in Path("/proc/cpuinfo").read_text():
            pytest.skip("this processor has no fused multiply-add")
        assert "fmadd" not in stages(engine, self.text())["asm"]
        # The mutant: with the flag that lowering never sets, it is there.
        assert "fmadd" in stages(engine, self.text("contract"))["asm"]


class TestDumps:
    def test_stages_in_order(self, engine: Engine) -> None:
        shown = stages(engine, DOUBLE)
        assert list(shown) == ["llvm", "llvm-opt", "asm"]
        assert shown["llvm"] == DOUBLE
        assert "shl i64 %x, 1" in shown["llvm-opt"]
        assert "leaq" in shown["asm"]

    def test_a_dump_changes_nothing(self, engine: Engine) -> None:
        for optimise in (False, True):
            plain = engine.compile(DOUBLE, name="plain", optimise=optimise)
            dumped = engine.compile(DOUBLE, name="dumped", optimise=optimise, dump=dict[str, str]().__setitem__)
            assert pages.read(plain.address("f"), plain.size) == pages.read(dumped.address("f"), dumped.size)
            plain.close()
            dumped.close()


class TestErrors:
    def test_syntax(self, engine: Engine) -> None:
        with pytest.raises(CompileError, match=r"^broken: (?s:.*)expected instruction opcode"):
            engine.compile("define i64 @f() {\n  nonsense\n}", name="broken")

    def test_verifier(self, engine: Engine) -> None:
        text = """
define i64 @f(i1 %c) {
  br i1 %c, label %a, label %b
a:
  %x = add i64 1, 2
  br label %b
b:
  ret i64 %x
}
"""
        with pytest.raises(CompileError, match="dominate all uses"):
            engine.compile(text, name="broken")

    def test_object(self, engine: Engine) -> None:
        before = engine.bytes_in_use
        with pytest.raises(CompileError, match="writable data"):
            engine.compile("@v = global i64 5\n" + DOUBLE, name="variable")
        assert engine.bytes_in_use == before

    def test_unresolved_symbol_leaves_no_block(self, engine: Engine) -> None:
        before = engine.bytes_in_use
        with pytest.raises(LookupError, match="no_such_function"):
            engine.compile(UNRESOLVED, name="unresolved")
        assert engine.bytes_in_use == before

    def test_engine_works_after_an_error(self, engine: Engine) -> None:
        with pytest.raises(CompileError):
            engine.compile("nonsense", name="broken")
        engine.compile(DOUBLE, name="double").close()

    def test_bad_level(self) -> None:
        with pytest.raises(ValueError, match="from 0 to 3"):
            Engine(4)

    def test_compiling_while_compiling(self, engine: Engine) -> None:
        """A dump stands for whatever may run in the midst of a compilation: a finaliser, a signal handler."""
        inner: list[CompileError] = []

        def again(stage: str, text: str) -> None:
            try:
                engine.compile(DOUBLE, name="inner")
            except CompileError as error:
                inner.append(error)

        engine.compile(DOUBLE, name="outer", dump=again).close()
        assert len(inner) == 3
        assert "in the midst" in str(inner[0])


class TestLife:
    def test_close(self, engine: Engine) -> None:
        before = engine.bytes_in_use
        code = engine.compile(DOUBLE, name="double")
        assert engine.bytes_in_use == before + ALIGNMENT
        assert 0 < code.size <= ALIGNMENT
        assert not code.is_closed
        code.close()
        assert engine.bytes_in_use == before
        code.close()
        assert engine.bytes_in_use == before
        assert code.is_closed
        with pytest.raises(ValueError, match="the code of double is closed"):
            code.address("f")

    def test_unknown_symbol(self, engine: Engine) -> None:
        code = engine.compile(DOUBLE, name="double")
        with pytest.raises(LookupError, match="no symbol `g`"):
            code.address("g")
        code.close()

    def test_code_outlives_its_engine(self) -> None:
        engine = Engine()
        code = engine.compile(DOUBLE, name="double")
        engine.close()
        assert INT(code.address("f"))(4) == 8
        code.close()
        assert engine.bytes_mapped == 0

    def test_alignment(self, engine: Engine) -> None:
        codes = [engine.compile(DOUBLE, name=f"n{n}") for n in range(5)]
        assert all(code.address("f") % ALIGNMENT == 0 for code in codes)
        assert len({code.address("f") for code in codes}) == 5
        for code in codes:
            code.close()

    def test_threads_compile_together(self, engine: Engine) -> None:
        before, results = engine.bytes_in_use, []

        def work(factor: int) -> None:
            for _ in range(10):
                text = f"define i64 @f(i64 %x) {{\n  %y = mul i64 %x, {factor}\n  ret i64 %y\n}}"
                code = engine.compile(text, name="work")
                results.append(INT(code.address("f"))(7) == 7 * factor)
                code.close()

        threads = [threading.Thread(target=work, args=(factor,)) for factor in (3, 5, 11)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 30
        assert engine.bytes_in_use == before

    def test_many_compilations_leave_nothing(self, run_python: RunPython) -> None:
        """A compilation leaves less than 300 bytes in LLVM's heap: without our care (`pass_builders`) it would be 1,500,
        and without our disposing of pass managers 50,000."""
        done = run_python(LEAK_PROGRAM)
        assert done.returncode == 0, done.stderr
        in_use, mapped, resident, heap = map(int, done.stdout.split())
        assert (in_use, mapped) == (0, CHUNK_SIZE)
        assert resident < 300 * 4096
        assert heap < 300 * 300


LEAK_PROGRAM = f"""
import os
from minijit.backend.engine import Engine
from minijit.cpython import heap

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

engine = Engine()

def cycle(count):
    live = []
    for n in range(count):
        text = {DOUBLE!r}.replace("%x, %x", f"%x, {{n}}")
        live.append(engine.compile(text, name="leak"))
        if len(live) > 7:
            live.pop(n % 8).close()
    for code in live:
        code.close()

cycle(50)
before, used = resident(), heap.in_use() or 0
cycle(300)
print(engine.bytes_in_use, engine.bytes_mapped, resident() - before, (heap.in_use() or 0) - used)
"""


def test_perf_map_entries(run_python: RunPython) -> None:
    program = (
        "import os, pathlib\nfrom minijit.cpython import perf\n"
        "perf.write_perf_map_entry(0x1234000, 0x56, 'two\\nlines')\n"
        "perf.write_perf_map_entry(0x1235000, 0x78, 'f\\u00fcnf')\n"
        "path = pathlib.Path(f'/tmp/perf-{os.getpid()}.map')\nprint(path.read_text())\npath.unlink()"
    )
    done = run_python(program, env={"PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["1234000 56 two lines", "1235000 78 f\u00fcnf"]


def test_llvm_is_imported_on_first_use(run_python: RunPython) -> None:
    program = (
        "import sys\nfrom minijit.backend.engine import Engine\nengine = Engine()\n"
        "print('llvmlite' in sys.modules)\n"
        f"engine.compile({DOUBLE!r}, name='f')\nprint('llvmlite' in sys.modules)"
    )
    assert run_python(program).stdout.split() == ["False", "True"]


def test_code_knows_its_name(engine: Engine) -> None:
    code: Code = engine.compile(DOUBLE, name="some.module:12")
    assert code.name == "some.module:12"
    code.close()


def test_c_symbol() -> None:
    assert ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)(raw.symbol("labs"))(-3) == 3
    with pytest.raises(LookupError, match="no C function no_such_function"):
        raw.symbol("no_such_function")
