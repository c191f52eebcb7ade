"""The ops on attributes of instances that may have dicts of their own, by machine code and evaluator."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from test_heap_ops import NUMBERS, OBJECTS, agree, name_of, region_of

from minijit.ir.eval import Left, Returned
from minijit.oracle.machine import Machine


@pytest.fixture(scope="module", params=(0, 2), ids=("O0", "O2"))
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


class Thing:
    def __init__(self, **attributes: object) -> None:
        for name, value in attributes.items():
            setattr(self, name, value)


class Many:
    """Instances share more names than most."""

    def __init__(self) -> None:
        for k in range(28):
            setattr(self, f"a{k}", k)
        self.x = "many"


def split() -> Thing:
    made = Thing(first=1, x="split")
    vars(made)
    return made


def late() -> Thing:
    made = Thing(first=1, x="late")
    vars(made)["other"] = 3
    return made


def large(count: int) -> Thing:
    made = split()
    vars(made).update({f"name {k}": k for k in range(count)})
    return made


def holes() -> Thing:
    made = late()
    for k in range(6):
        setattr(made, f"h{k}", k)
        delattr(made, f"h{k}")
    made.x = "again"  # type: ignore[attr-defined]
    return made


def without() -> Thing:
    made = split()
    del vars(made)["x"]
    return made


def spelled() -> Thing:
    """The key is equal to the name, and no other object has that."""
    made = Thing(first=1)
    vars(made)["".join(["x"])] = "interned"
    vars(made)["".join(["lo", "ng"])] = "spelled"
    return made


def replaced() -> Thing:
    made = Thing()
    made.__dict__ = {"x": "replaced"}
    return made


def odd() -> Thing:
    made = late()
    vars(made)[1] = 2  # type: ignore[index]
    return made


MAKERS: dict[str, Callable[[], object]] = {
    "values": lambda: Thing(first=1, x="values"),
    "few values": lambda: Thing(first=1),
    "many": Many,
    "a split dict": split,
    "a dict": late,
    "a larger dict": lambda: large(40),
    "a dict with holes": holes,
    "a dict without": without,
    "a dict with another key": spelled,
    "a dict of somebody's": replaced,
    "nothing": Thing,
}


def shared() -> Thing:
    made = late()
    KEPT.append(vars(made))
    return made


KEPT: list[object] = []
UNTOLD: dict[str, Callable[[], object]] = {
    "a dict that others have": shared,
    "a very large dict": lambda: large(300),
    "a dict of anything": odd,
}
"""Machine code leaves."""


@pytest.mark.parametrize("name", ["x", "first", "other", "a7", "h3", "no"])
@pytest.mark.parametrize("kind", MAKERS)
def test_named(machine: Machine, kind: str, name: str) -> None:
    make, name = MAKERS[kind], sys.intern(name)
    found = agree(machine, region_of("v1: object = load_named v0, @x | e0\n  return reference(v1, @x)", x=name), make)
    has_it = name in vars(make())
    assert isinstance(found, Returned) is has_it
    guarded = agree(machine, region_of("guard_not_named v0, @x | e0\n  return 1", x=name), make)
    assert isinstance(guarded, Returned) is not has_it
    text = "v1: object = named_or v0, @x, @other | e0\n  return reference(v1, @x)"
    for other in (2.5, 7, None, "x", make):
        agree(machine, region_of(text, x=name, other=other), make)
    if has_it:
        held = make()
        with machine.compile(
            region_of("v1: object = named_value v0, @x | e0\n  return reference(v1, @x)", x=name)
        ) as own:
            assert own.run((), (held,)) == Returned(vars(held)[name])


@pytest.mark.parametrize("kind", UNTOLD)
def test_what_is_not_to_be_told(machine: Machine, kind: str) -> None:
    for op in ("v1: object = load_named", "guard_not_named", "v1: object = named_value"):
        with machine.compile(region_of(f"{op} v0, @x | e0\n  return 1", x="x")) as compiled:
            assert isinstance(compiled.run((), (UNTOLD[kind](),)), Left)
    held = spelled()
    with machine.compile(
        region_of("v1: object = load_named v0, @x | e0\n  return 1", x=sys.intern("long"))
    ) as compiled:
        assert isinstance(compiled.run((), (held,)), Left)


@pytest.mark.parametrize("kind", [*MAKERS, *UNTOLD])
def test_store_named(machine: Machine, kind: str) -> None:
    make = (MAKERS | UNTOLD)[kind]

    def content(thing: Any) -> list[tuple[object, object]]:
        return [
            (key, value if type(value) in (int, float, bool, str) else id(value)) for key, value in vars(thing).items()
        ]

    for new in (*NUMBERS, *OBJECTS):
        before = sys.getrefcount(new)
        is_number = type(new) in (float, bool) or (type(new) is int and -(2**63) <= new < 2**63)
        for name in ("x", "first", "fresh"):
            look = "v2: object = load_named v0, @x | e1"
            text = f"{look}\n  store_named v0, @x, {'v1' if is_number else '@new'} | e1\n  return 1"
            region = region_of(text, type(new).__name__ if is_number else "", x=sys.intern(name), new=new)
            held, wanted = make(), make()
            # A name that is new is the interpreter's to give.
            is_known = kind in MAKERS and name in vars(make())
            if is_known:
                setattr(wanted, name, new)
            with machine.compile(region) as compiled:
                found = compiled.run((new,) if is_number else (), (held,))
            assert isinstance(found, Returned) is is_known
            assert content(held) == content(wanted)
            del found
            del held, wanted, region, compiled
            KEPT.clear()
        if not is_number:
            assert sys.getrefcount(new) == before, name_of(new)


def test_what_is_stored_over_is_kept(machine: Machine) -> None:
    body = "v1: object = load_named v0, @x | e0\n  guard_may_end v1 | e0\n  store_named v0, @x, None | e1\n  v2: object = list_item v1, 0\n"
    with machine.compile(region_of(f"{body}  v3: int = unbox_int v2 | e0\n  return v3", x="x")) as own:
        for round in range(600):
            held = split() if round % 2 else Thing()
            held.x = [2**40]  # type: ignore[attr-defined]
            assert own.run((), (held,)) == Returned(2**40)
            if round == 300:
                before = sys.getallocatedblocks()
        assert abs(sys.getallocatedblocks() - before) < 100
