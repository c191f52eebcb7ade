"""Raw pages of memory: all of libc that the placing of machine code needs.

In: addresses and sizes, whole pages except for `read` and `write`. Out: memory that is either writable or
executable, never both; or an OSError with the system's number and text.

`replace` is how code comes into pages that hold other code. Making those pages writable for a moment would
be the obvious way, and it is wrong here: between two calls made from Python anything may run (another
thread, a signal handler, a finaliser, a native monitoring callback), and if its code lies in these pages
the process dies. So the new pages are prepared aside and moved over the old ones by one system call. Other
threads see the old pages or the new ones: the kernel makes a page fault wait until the move is done.

`share` puts a file's pages in the place of others: what is written to them outlives the process. `unshare` takes them
away again, and machine code that writes there need not know.

Left out: who owns which bytes (`backend.arena`).
"""

import ctypes
import mmap
import os

PAGE_SIZE = mmap.PAGESIZE

_MAP_FIXED = 16
_MREMAP_MAYMOVE = 1
_MREMAP_FIXED = 2
_FAILED = ctypes.c_void_p(-1).value  # what mmap and mremap return instead of an address

# PyDLL keeps the GIL: these calls are short, and getting it back may take another thread's whole time slice.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_libc.mmap.restype = ctypes.c_void_p
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mremap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_void_p,
]
_libc.mremap.restype = ctypes.c_void_p


def whole_pages(size: int) -> int:
    """Round a size up to whole pages."""
    return -(-size // PAGE_SIZE) * PAGE_SIZE


def map_pages(size: int) -> int:
    """Give the address of new pages, all zero and writable, that belong to this process alone."""
    address: int | None = _libc.mmap(
        None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0
    )
    if address is None or address == _FAILED:
        raise _error(f"mmap of {size} bytes")
    return address


def protect(address: int, size: int, *, executable: bool) -> None:
    """Make pages readable and executable, or else readable and writable."""
    access = mmap.PROT_READ | (mmap.PROT_EXEC if executable else mmap.PROT_WRITE)
    if _libc.mprotect(address, size, access) != 0:
        raise _error(f"mprotect of {size} bytes")


def unmap(address: int, size: int) -> None:
    """Give pages back to the system."""
    if _libc.munmap(address, size) != 0:
        raise _error(f"munmap of {size} bytes")


def replace(address: int, content: bytes) -> None:
    """Put executable pages with this content, a whole number of pages, in the place of those at `address`."""
    size = len(content)
    fresh = map_pages(size)
    try:
        write(fresh, content)
        protect(fresh, size, executable=True)
        moved = _libc.mremap(fresh, size, size, _MREMAP_MAYMOVE | _MREMAP_FIXED, address)
        if moved != address:
            raise _error(f"mremap of {size} bytes")
    except OSError:
        unmap(fresh, size)
        raise


def share(address: int, size: int, file: int) -> None:
    """Put a file's pages, readable and writable, in the place of those at `address`. They stay when it is closed."""
    access, how = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | _MAP_FIXED
    if _libc.mmap(address, size, access, how, file, 0) != address:
        raise _error(f"mmap of {size} bytes of a file")


def unshare(address: int, size: int) -> None:
    """Put new pages, all zero and writable, in the place of those at `address`; they belong to this process alone."""
    access, how = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
    if _libc.mmap(address, size, access, how, -1, 0) != address:
        raise _error(f"mmap of {size} bytes")


def write(address: int, data: bytes) -> None:
    """Copy bytes to an address, which must be writable."""
    ctypes.memmove(address, data, len(data))


def read(address: int, size: int) -> bytes:
    """Copy bytes from an address."""
    return ctypes.string_at(address, size)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
