"""What minijit says at the end of a program under `MINIJIT_STATS=1`: a line for each process."""

from __future__ import annotations

import re

STATS = re.compile(r"^minijit: stats .*\n", re.MULTILINE)
