"""What minijit says at the end of a program under `MINIJIT_STATS=1`: a line for each process, and one for each place."""

from __future__ import annotations

import re

STATS = re.compile(r"^minijit: stats .*\n", re.MULTILINE)
SAID = re.compile(r"^minijit: (stats|place) .*\n", re.MULTILINE)
