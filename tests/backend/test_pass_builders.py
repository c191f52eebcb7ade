"""Pass builders lose no memory, and nothing is freed unless it is certain that it was lost."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from minijit.backend.engine import Engine
from minijit.backend.pass_builders import PassBuilders
from minijit.cpython import heap

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

COUNT = 300


@pytest.fixture(scope="module")
def llvm() -> ModuleType:
    import llvmlite.binding

    return llvmlite.binding


@pytest.fixture(scope="module")
def machine(llvm: ModuleType) -> Any:
    Engine().compile("define void @f() {\n  ret void\n}", name="sets LLVM up").close()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()


def lost_by(builders: PassBuilders) -> int:
    """The bytes that are lost with one builder."""
    before = heap.in_use()
    if before is None:
        pytest.skip("this C library does not tell")
    for _ in range(COUNT):
        with builders.builder(2, vectorise=False):
            pass
    return ((heap.in_use() or 0) - before) // COUNT


def test_nothing_is_lost(llvm: ModuleType, machine: Any) -> None:
    for _ in range(10):
        builders = PassBuilders(llvm, machine)
        assert builders.loses_nothing
        assert lost_by(builders) < 30


def test_what_would_be_lost(llvm: ModuleType, machine: Any) -> None:
    """The test above can fail. When this one does, llvmlite has mended its ways, and `pass_builders` is not needed."""
    builders = PassBuilders(llvm, machine)
    builders._word = None
    assert lost_by(builders) > 1000


def constant() -> int:
    """Nothing is lost: an llvmlite that deletes the callbacks."""
    return 10_000


def unknown() -> None:
    """A C library that does not tell."""
    return


def noisy() -> Callable[[], int]:
    """Another thread allocates all the time."""
    return itertools.count(0, 12_345).__next__


@pytest.mark.parametrize("in_use", [constant, unknown, noisy()], ids=["constant", "unknown", "noisy"])
def test_doubt_frees_nothing(
    in_use: Callable[[], int | None], llvm: ModuleType, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[int] = []
    monkeypatch.setattr(heap, "in_use", in_use)
    monkeypatch.setattr(heap, "free", freed.append)
    builders = PassBuilders(llvm, machine)
    assert not builders.loses_nothing
    with builders.builder(2, vectorise=False):
        pass
    assert freed == []


def test_no_loss_is_no_loss_of_nothing(llvm: ModuleType, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like callbacks of no size, where nothing is lost."""
    monkeypatch.setattr(heap, "in_use", constant)
    monkeypatch.setattr(heap, "block_size", lambda _: 0)
    monkeypatch.setattr(heap, "free", pytest.fail)
    assert not PassBuilders(llvm, machine).loses_nothing


def test_memory_that_cannot_be_read(llvm: ModuleType, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "peek", lambda *_: None)
    assert not PassBuilders(llvm, machine).loses_nothing
