"""What minijit keeps on disk for processes to come: where, and which files it trusts.

In: paths in the user's cache directory. Out: files that nobody but this user (or root) could have written, each
written aside and put in place at once; or an `OSError` or `ValueError` that says what is in the way. What stands in
them is their owners' business: `cpython.sampler` and `runtime.suspects`.

Part of every start of an interpreter under MINIJIT=1: nothing is imported here that is not there already.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False  # as in `startup`

if TYPE_CHECKING:
    from collections.abc import Mapping


def directory(environment: Mapping[str, str]) -> str:
    """Where they are, by the rules of the XDG base directories."""
    cache = environment.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "minijit")


def open_own(path: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a file that is there. Raises `OSError`, also for a link, and `ValueError` where another user
    could have written it."""
    require_own(os.stat(os.path.dirname(path)))
    # A pipe in its place would be waited for.
    file = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(file)
        require_own(status)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no plain file")
    except BaseException:
        os.close(file)
        raise
    return file


def require_own(status: os.stat_result) -> None:
    """Raises `ValueError` for a file or directory that is not this user's alone to write."""
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ValueError("another user could have written it")


def make_directory(path: str) -> None:
    """Makes the directory, for this user alone, if it is not there."""
    os.makedirs(path, mode=0o700, exist_ok=True)


def create(path: str) -> int:
    """A descriptor of a new file, to be written and read by this user alone."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def put(path: str, content: bytes) -> None:
    """Puts a file with this content in place, whether there is one or not."""
    make_directory(os.path.dirname(path))
    aside = f"{path}.{os.getpid()}"
    file = create(aside)
    try:
        with open(file, "wb") as stream:
            stream.write(content)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
