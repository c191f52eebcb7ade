"""Decisions at run time (policy) and what compiled code relies on (assume)."""
