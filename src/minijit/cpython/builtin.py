"""Builtin functions made of machine code: what CPython calls without a frame.

In: the address of a function with the signature of METH_FASTCALL. Out: a callable object.
"""

from __future__ import annotations

from minijit.cpython import bare

TYPE_CHECKING = False  # part of the start of every program under MINIJIT=1

if TYPE_CHECKING:
    from collections.abc import Callable

METH_FASTCALL = 0x80


class MethodDef:
    """CPython's PyMethodDef: the name, the function's address, flags, and no documentation."""

    def __init__(self, name: bytes, method: int, flags: int) -> None:
        self._name = name
        # An object of its own, which nobody else will ever see: it may be written.
        self._words = b"".join(map(bare.word, (bare.content(name), method, flags, 0)))

    @property
    def address(self) -> int:
        return bare.content(self._words)

    def point_to(self, method: int) -> None:
        """Gives it another function."""
        bare.write(self.address + 8, bare.word(method))


_definitions: dict[int, MethodDef] = {}
"""By the function's address. Kept for good: a builtin that is called while it goes out of use looks into it then."""
_new_builtin = bare.function("PyCFunction_NewEx", bare.Object, bare.Word, bare.Object, bare.Word)


def builtin(name: bytes, address: int, owner: object = None) -> Callable[..., object]:
    """The function at an address, which gets `owner` as its first argument."""
    if address not in _definitions:
        _definitions[address] = MethodDef(name, address, METH_FASTCALL)
    return _new_builtin(_definitions[address].address, owner, 0)  # type: ignore[no-any-return]
