"""How it is registered what instructions do: a table by name, for each file of them.

A function reads and changes `b.state`, appends ops, and ends the block where control goes elsewhere. An instruction
that is in no table, or meets operands it does not know, ends the region there in an exit (`b.unsupported`). The rule
for all of them: leave *before* anything is done, since the interpreter does the whole statement again. The tables are
put together in `bytecodes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.build.builder import Builder
    from minijit.ir.bytecode import Instruction

    Handler = Callable[[Builder, Instruction], None]


class Handlers(dict[str, "Handler"]):
    """What some instructions do."""

    def handles(self, *names: str) -> Callable[[Handler], Handler]:
        """Registers what these instructions do."""

        def register(function: Handler) -> Handler:
            self.update(dict.fromkeys(names, function))
            return function

        return register
