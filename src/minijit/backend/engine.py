"""LLVM IR as text, made into machine code that can be called; and the end of that code.

In: the text of one module, which names everything outside by absolute address. Out: a `Code`, whose
functions have addresses until it is closed, and which then leaves nothing behind.

    text -> module (parsed, verified) -> passes -> object file -> blob in the arena

The only user of llvmlite, which is imported and set up by the first compilation. Position-independent code is
asked for, since then all references are relative to the instruction pointer: otherwise jump tables would be
32-bit addresses, out of reach.

**The passes.** In a module of several functions, first what is marked `alwaysinline` is inlined and what nobody
uses is dropped; then LLVM's
function simplification and loop unrolling. On four kernels with exits that came within 5% (our noise) of the
whole default pipeline's speed, for 70% of its time. What it lacks is the vectorisers, which
need loops without exits: one such loop ran four times as fast after `vectorise=True`, which runs the whole
pipeline. Text that is written as LLVM would leave it, as the stubs' is, gains nothing from function simplification,
which takes a third of its time: that is what `simplify=False` is for.

**Quick code.** With `quick`, the functions are marked `optnone` when the passes of level 1 are done: code generation
then selects instructions one by one, and leaves out what only improves them, but allocates registers as ever.

**Memory.** Types and constants go with the module's context; `pass_builders` sees to what llvmlite would lose.

**Exactness.** Target machines do not fuse `a*b + c` without fast-math flags, which lowering never sets.

Left out: what the code means and when it may be closed. `Code.close` trusts its caller that nothing
executes it.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from minijit.backend import elf
from minijit.backend.arena import Arena, Block
from minijit.backend.pass_builders import PassBuilders
from minijit.cpython import raw

if TYPE_CHECKING:
    from types import ModuleType

type Dump = Callable[[str, str], None]
type Resolve = Callable[[str], int]


class CompileError(Exception):
    """LLVM does not accept a module, or its object cannot be placed: a bug in what made the text."""


class Code:
    """The machine code of one module, at one place, until it is closed."""

    __slots__ = ("_arena", "_owned", "_symbols", "name", "size")

    def __init__(self, name: str, arena: Arena, block: Block, image: elf.Image) -> None:
        self.name = name
        self.size = image.size
        self._arena = arena
        self._symbols = image.symbols
        # A list, since to pop from one is atomic: of two threads that close, one frees.
        self._owned = [block]

    @property
    def is_closed(self) -> bool:
        return not self._owned

    def address(self, symbol: str) -> int:
        """Give the address of a function or constant of the module that is not private to it."""
        try:
            return self._owned[0].address + self._symbols[symbol]
        except IndexError as error:
            raise ValueError(f"the code of {self.name} is closed") from error
        except KeyError as error:
            raise LookupError(f"no symbol `{symbol}` in the code of {self.name}") from error

    def close(self) -> None:
        """Free the code, now. Nothing may execute it any more. Closing again does nothing."""
        try:
            block = self._owned.pop()
        except IndexError:
            return
        self._arena.free(block)


_PROTOTYPE = ctypes.PYFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)


def function_at(address: int) -> Callable[[int, int, int, int], int]:
    """Give the machine code at an address, which must have the prototype of a region, as a function of words.

    It runs with the GIL held. What keeps the code and the memory that the words point to alive is the caller's to see
    to.
    """
    function: Callable[[int, int, int, int], int] = _PROTOTYPE(address)
    return function


class Engine:
    """Compiles modules, one at a time, into an arena of its own.

    `optimise` is LLVM's level for passes and code generation: 0 runs no passes, 1 compiles faster than 2,
    and 3 has shown no gain. `resolve` finds the C functions that LLVM itself calls (memcpy, fmod, ...).
    """

    def __init__(self, optimise: int = 2, *, resolve: Resolve = raw.symbol) -> None:
        if optimise not in range(4):
            raise ValueError(f"optimise is from 0 to 3, not {optimise}")
        self._level = optimise
        self._resolve = resolve
        self._arena = Arena()
        self._machine: Any = None
        self._builders: PassBuilders | None = None
        self._lock = threading.RLock()
        self._is_compiling = False

    @property
    def bytes_in_use(self) -> int:
        """The memory of all code that is not closed."""
        return self._arena.bytes_in_use

    @property
    def bytes_mapped(self) -> int:
        """The memory that the system has set aside for code."""
        return self._arena.bytes_mapped

    def compile(
        self,
        ir_text: str,
        *,
        name: str,
        optimise: bool = True,
        simplify: bool = True,
        vectorise: bool = False,
        quick: bool = False,
        dump: Dump | None = None,
    ) -> Code:
        """Compile a module and place it; CompileError if LLVM refuses it.

        `name` is for messages. `dump` gets a stage ("llvm", "llvm-opt" or "asm") and its text. Without `simplify` no
        more is done to the module than to inline what is marked and to drop what is unused. `quick` is for what is
        sooner compiled than executed.
        """
        with self._alone(name):
            import llvmlite.binding as llvm

            machine, builders = self._prepare(llvm)
            # A context of its own: types and constants, every address among them, go with it.
            with llvm.create_context() as context, _parse(llvm, ir_text, name, context) as module:
                if dump:
                    dump("llvm", ir_text)
                if optimise and self._level > 0:
                    level = 1 if quick else self._level
                    _run_passes(llvm, module, builders, level, simplify=simplify, vectorise=vectorise)
                if quick:
                    _leave_as_it_is(module)
                if dump:
                    _dump_optimised(llvm, module, machine, context, dump)
                data: bytes = machine.emit_object(module)
            return self._place(data, name)

    def portable(self, ir_text: str, *, name: str) -> elf.Image:
        """Compile a module for any processor of this architecture, and do not place it; CompileError if LLVM refuses
        it, or if it refers to anything outside."""
        with self._alone(name):
            import llvmlite.binding as llvm

            _, builders = self._prepare(llvm)
            target = llvm.Target.from_triple(llvm.get_process_triple())
            machine = target.create_target_machine(opt=self._level, reloc="pic", codemodel="small")
            with llvm.create_context() as context, _parse(llvm, ir_text, name, context) as module, machine:
                _run_passes(llvm, module, builders, max(self._level, 1), simplify=True, vectorise=False)
                image = elf.parse(machine.emit_object(module))
            if not image.is_movable:
                raise CompileError(f"{name}: it refers to something outside")
            return image.moved()

    def close(self) -> None:
        """Give back LLVM's part and the spare memory. Code not closed yet stays callable until it is."""
        with self._lock:
            if self._machine is not None:
                self._machine.close()
                self._machine = self._builders = None
            self._arena.close()

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        with self._lock:
            # A finaliser or signal handler may run hot code while this thread compiles: it cannot wait.
            if self._is_compiling:
                raise CompileError(f"{name}: asked for in the midst of another compilation")
            self._is_compiling = True
            try:
                yield
            finally:
                self._is_compiling = False

    def _prepare(self, llvm: "ModuleType") -> tuple[Any, PassBuilders]:
        if self._builders is None:
            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
            # Without it LLVM ends the process when it meets inline assembly.
            llvm.initialize_native_asmparser()
            self._machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
                cpu=llvm.get_host_cpu_name(),
                features=llvm.get_host_cpu_features().flatten(),
                opt=self._level,
                reloc="pic",
                codemodel="small",
            )
            self._builders = PassBuilders(llvm, self._machine)
        return self._machine, self._builders

    def _place(self, data: bytes, name: str) -> Code:
        try:
            image = elf.parse(data)
        except elf.ObjectError as error:
            raise CompileError(f"{name}: {error}") from error
        block = self._arena.allocate(image.size)
        try:
            self._arena.install(block, elf.link(image, block.address, self._resolve))
        except elf.ObjectError as error:
            self._arena.free(block)
            raise CompileError(f"{name}: {error}") from error
        except BaseException:
            self._arena.free(block)
            raise
        return Code(name, self._arena, block, image)


def _parse(llvm: "ModuleType", ir_text: str, name: str, context: Any) -> Any:
    """Give a verified module; llvmlite has RuntimeError for everything that LLVM says."""
    try:
        module = llvm.parse_assembly(ir_text, context)
    except RuntimeError as error:
        raise CompileError(f"{name}: {error}") from error
    try:
        module.verify()
    except RuntimeError as error:
        module.close()
        raise CompileError(f"{name}: {error}") from error
    module.name = name
    return module


def _run_passes(
    llvm: "ModuleType", module: Any, builders: PassBuilders, level: int, *, simplify: bool, vectorise: bool
) -> None:
    """Optimise a module in place."""
    if vectorise:
        with builders.builder(level, vectorise=True) as builder:
            _run(builder.getModulePassManager(), module, builder)
        return
    if sum(not function.is_declaration for function in module.functions) > 1:
        with builders.builder(level, vectorise=False) as builder:
            passes = llvm.create_new_module_pass_manager()
            passes.add_always_inliner_pass()
            passes.add_global_dead_code_eliminate_pass()
            _run(passes, module, builder)
    for function in module.functions:
        if function.is_declaration or not simplify:
            continue
        with builders.builder(level, vectorise=False) as builder:
            passes = builder.getFunctionPassManager()
            if level > 1:
                passes.add_loop_unroll_pass()
            _run(passes, function, builder)


def _leave_as_it_is(module: Any) -> None:
    """Has code generation not optimise the functions of a module."""
    for function in module.functions:
        if not function.is_declaration:
            function.add_function_attribute("noinline")
            function.add_function_attribute("optnone")


def _run(passes: Any, target: Any, builder: Any) -> None:
    """Run passes over a module or function and dispose of them."""
    from llvmlite.binding.newpassmanagers import NewPassManager

    try:
        passes.run(target, builder)
    finally:
        # `close` leaks 50 KB: both bases of a pass manager have a `_dispose`, and the empty one comes first.
        NewPassManager._dispose(passes)
        passes.detach()


def _dump_optimised(llvm: "ModuleType", module: Any, machine: Any, context: Any, dump: Dump) -> None:
    """Show what will be emitted, from a copy: code generation changes a module, so it runs once on each."""
    text = str(module)
    dump("llvm-opt", text)
    with llvm.parse_assembly(text, context) as copy:
        dump("asm", machine.emit_assembly(copy))
