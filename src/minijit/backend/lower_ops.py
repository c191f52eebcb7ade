"""What each op becomes: the tables of all lowerings as one.

A lowering is one small function an op, in the file of its subject: `lower_ints`, `lower_floats`, `lower_numbers`,
`lower_objects`, `lower_heap`, `lower_lists` or `bodies`. How it is written says `lower_table`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minijit.backend import bodies, lower_floats, lower_heap, lower_ints, lower_lists, lower_numbers, lower_objects

if TYPE_CHECKING:
    from minijit.backend.lower_table import Lowering

LOWER: dict[str, Lowering] = {
    **lower_ints.ROWS,
    **lower_floats.ROWS,
    **lower_numbers.ROWS,
    **lower_objects.ROWS,
    **lower_heap.ROWS,
    **lower_lists.ROWS,
    **bodies.ROWS,
}
