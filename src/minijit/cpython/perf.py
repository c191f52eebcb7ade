"""Names of compiled code for Linux `perf`, which looks them up in `perf-<pid>.map` in the temporary
directory.

In: where a piece of code lies, and what to call it. Out: one more line in the interpreter's own map file,
so that `python -X perf` and minijit share one. The file is only ever added to: an entry outlives its code,
which `perf` understands as long as the addresses are not used again for something else. Nothing here
decides whether to write.
"""

import ctypes

_write = ctypes.pythonapi.PyUnstable_WritePerfMapEntry
_write.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_char_p]
_write.restype = ctypes.c_int


def write_perf_map_entry(address: int, size: int, name: str) -> None:
    """Name `size` bytes of code at `address` in the map file, which is made with the first entry."""
    # An entry is one line, and ends at a zero byte.
    line = " ".join(name.replace("\0", " ").split())
    if _write(address, size, line.encode()) != 0:
        raise OSError(f"cannot write the perf map entry of `{line}`")
