"""The crash guard's files: several processes at once, forked ones, and files that are not as they should be.

In: programs that die, or live on (`dying`). Out: which roots the next process compiles, and which files are left.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from dying import ALL, ENDLESS, FORK, LOOK, NOT_F, NOT_G, NOT_SPIN, ON, SPIN, Processes, compiled, dies


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path / "cache")


# Several processes


def test_two_at_once(processes: Processes) -> None:
    """The living are not dead, though all of their descriptors are closed."""
    spins = SPIN.replace("print(", "os.closerange(3, 256); print(")
    process = processes.begin(ENDLESS, ON, spins)
    processes.until(process, "spinning")
    time.sleep(0.3)
    for _ in range(2):
        assert processes.looks() == ALL
        assert processes.files() == ["marks-1-"]
    process.kill()
    process.communicate(timeout=60)
    assert processes.looks() == NOT_SPIN


def test_many_at_once(processes: Processes) -> None:
    dies(processes)
    several = [processes.begin(ON, LOOK) for _ in range(4)]
    for process in several:
        _, err = process.communicate(timeout=60)
        assert (process.returncode, compiled(err)) == (0, NOT_F)
        assert "is off" not in err
    assert processes.files() == ["suspects"]


def test_a_forked_child_dies(processes: Processes) -> None:
    """Its parent goes on, and ends cleanly."""
    child = "if not child: f(111)\nassert os.waitpid(child, 0)[1] == signal.SIGSEGV"
    files = "print(len(os.listdir('cache/minijit')))\nassert f(1) == 7"
    out, _ = processes.run(ON, FORK, child, files)
    assert out == "2\n"
    assert processes.files() == ["marks-1-"]
    assert processes.looks() == NOT_F


def test_a_forked_child_ends(processes: Processes) -> None:
    """And does not take its parent's file away."""
    child = "if not child: sys.exit()\nassert os.waitpid(child, 0)[1] == 0\nprint(len(os.listdir('cache/minijit')))"
    out, _ = processes.run(ON, FORK, child)
    assert out == "1\n"
    out, _ = processes.run(ON, FORK, child, "f(111)", code=-signal.SIGSEGV)
    assert processes.looks() == NOT_F


def test_a_forked_child_lives_on(processes: Processes) -> None:
    """Though it was forked from a process that has died since, which is no secret for as long."""
    child = "if not child:\n    time.sleep(0.5); print('alive', flush=True); time.sleep(60)\n"
    process = processes.begin(ON, FORK, child, "print(child, flush=True); time.sleep(0.3); f(111)")
    assert process.stdout is not None
    number = int(process.stdout.readline())
    try:
        assert process.wait(timeout=60) == -signal.SIGSEGV
        processes.until(process, "alive")
        assert processes.looks() == NOT_F
        assert processes.files() == ["marks-1-", "suspects"]
    finally:
        os.kill(number, signal.SIGKILL)
        process.communicate(timeout=60)


COMPILES = """
import threading
begun = threading.Event()
def slow(e, op):
    begun.set()
    time.sleep(60)
lower_ops.LOWER.update(dict.fromkeys(lower_ops.LOWER, slow))
threading.Thread(target=heat, args=(g, 1), daemon=True).start()
begun.wait()
"""


def test_a_child_that_minijit_has_left(processes: Processes) -> None:
    """Which was forked while another thread was compiling: it does not keep its parent among the living."""
    child = "child = os.fork()\nif not child:\n    print(os.getpid(), flush=True); time.sleep(60); os._exit(0)"
    process = processes.begin(ON, COMPILES, child, "time.sleep(0.3); os.kill(os.getpid(), signal.SIGKILL)")
    assert process.stdout is not None
    number = int(process.stdout.readline())
    try:
        assert process.wait(timeout=60) == -signal.SIGKILL
        assert processes.looks() == NOT_G
        assert processes.files() == ["suspects"]
    finally:
        os.kill(number, signal.SIGKILL)
        process.communicate(timeout=60)


def test_children_leave_no_heap_of_files(processes: Processes) -> None:
    """Those that end without a word, as those of multiprocessing do, leave a file, which the next one removes."""
    end = "    if not child: os._exit(0)\n    os.waitpid(child, 0)\n"
    processes.run(ON, FORK, f"if True:\n{end}for _ in range(20):\n    child = os.fork()\n{end}")
    assert processes.files() == ["marks-1-"]
    assert processes.looks() == ALL
    assert processes.files() == []


# Files that are not as they should be


def test_garbage_is_ignored(processes: Processes) -> None:
    dies(processes)
    directory = processes.cache / "minijit"
    (file,) = directory.iterdir()
    whole = file.read_bytes()
    for number, content in enumerate((b"", b"x", os.urandom(24), os.urandom(10_000), whole[:12], bytes(4096))):
        (directory / f"marks-1-{number}").write_bytes(content)
        (directory / f"marks-1-{number}").chmod(0o600)
    (directory / "marks-1-directory").mkdir()
    (directory / "marks-1-link").symlink_to(file)
    os.mkfifo(directory / "marks-1-pipe", 0o600)
    (directory / "suspects-1").write_bytes(b"\xff\n0\n" + b"g" * 16 + b"\n-123456789abcdef\n" + b"x" * 100_000)
    (directory / "suspects-1").chmod(0o600)
    assert processes.looks() == NOT_F
    assert sorted(path.name for path in directory.iterdir() if path.name.startswith("marks")) == [
        "marks-1-directory",
        "marks-1-link",
        "marks-1-pipe",
    ]
    assert processes.looks() == NOT_F


def no_directory(cache: Path) -> None:
    cache.write_text("a file")


def not_ours_alone(cache: Path) -> None:
    (cache / "minijit").mkdir(parents=True)
    (cache / "minijit").chmod(0o770)


def a_link(cache: Path) -> None:
    (cache / "minijit").mkdir(mode=0o700, parents=True)
    (cache / "minijit" / "suspects-1").symlink_to(cache / "elsewhere")


def a_file_of_others(cache: Path) -> None:
    (cache / "minijit").mkdir(mode=0o700, parents=True)
    (cache / "minijit" / "suspects-1").write_text("0123456789abcdef\n")
    (cache / "minijit" / "suspects-1").chmod(0o666)


@pytest.mark.parametrize("spoil", [no_directory, not_ours_alone, a_link, a_file_of_others], ids=lambda f: f.__name__)
def test_where_files_cannot_be_had_it_is_off(spoil: Any, processes: Processes) -> None:
    spoil(processes.cache)
    for _ in range(2):
        _, err = processes.run(ON, LOOK, "child = os.fork()\nif not child: sys.exit()\nos.wait()")
        assert compiled(err) == ALL
        assert err.count("minijit: the crash guard is off: ") == 1
    assert processes.cache.is_file() or not [name for name in processes.files() if name.startswith("marks")]


def test_a_disk_without_room(processes: Processes) -> None:
    """As far as a limit can do the same."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    _, err = processes.run(limit, ON, LOOK)
    assert compiled(err) == ALL
    assert err.count("minijit: the crash guard is off: ") == 1
    assert processes.files() == []


def test_a_directory_that_is_never_free(processes: Processes) -> None:
    directory = processes.cache / "minijit"
    directory.mkdir(mode=0o700, parents=True)
    holds = "import fcntl; file = os.open('cache/minijit', os.O_RDONLY); fcntl.flock(file, fcntl.LOCK_EX)"
    process = processes.begin(holds, "print('locked', flush=True); time.sleep(60)")
    processes.until(process, "locked")
    _, err = processes.run("from minijit.runtime import suspects; suspects.PATIENCE = 0.1", ON, LOOK)
    process.kill()
    process.communicate(timeout=60)
    assert "minijit: the crash guard is off: another process is at its files all the time\n" in err
