"""How lowerings are registered: a table of them, and the shapes that many ops share.

A lowering gets the emitter and the op, defines `op.result`, and where the op may leave says under which condition it
does not (`leave_unless`). The tables of all ops are put together in `lower_ops`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.backend.emitter import Emitter
    from minijit.ir.region import Op

    Lowering = Callable[[Emitter, Op], None]


class Rows(dict[str, "Lowering"]):
    """The lowerings of some ops, by the names that these have in `ops.TABLE`."""

    def lowers(self, name: str) -> Callable[[Lowering], Lowering]:
        """Registers the lowering of one op."""

        def register(function: Lowering) -> Lowering:
            self[name] = function
            return function

        return register

    def plain(self, name: str, instruction: str) -> None:
        """An op that is one LLVM instruction over its operands."""

        def lowering(e: Emitter, op: Op) -> None:
            e.define(op, f"{instruction} {', '.join(e.use(a) for a in op.args)}")

        self[name] = lowering

    def intrinsic(self, name: str, result: str, intrinsic: str) -> None:
        """An op that is one call of an LLVM intrinsic."""

        def lowering(e: Emitter, op: Op) -> None:
            e.define(op, f"call {result} @{intrinsic}({', '.join(e.typed(a) for a in op.args)})")

        self[name] = lowering
