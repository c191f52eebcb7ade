"""The ops on objects that a region has by their addresses, by machine code and evaluator: loads, guards, stores.

Stores change what both ways of running see, so each gets objects of its own, and these are compared afterwards, with the
reference counts of what they held.
"""

from __future__ import annotations

import math
import sys
import weakref
from functools import partial, reduce
from io import StringIO
from types import CellType
from typing import TYPE_CHECKING, Any

import pytest

from minijit.cpython import instances
from minijit.ir.eval import Left, Returned, evaluate
from minijit.ir.kinds import const_kind
from minijit.ir.ops import FREE_VARIABLES
from minijit.ir.region import Const
from minijit.ir.text import parse_region
from minijit.oracle.compare import exact
from minijit.oracle.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from minijit.ir.eval import Outcome
    from minijit.ir.kinds import Field
    from minijit.ir.region import Region

MAX, MIN = 2**63 - 1, -(2**63)


class Open:
    """Instances have a dict."""

    def __init__(self, x: object) -> None:
        self.first = "first"
        self.x = x


class Closed:
    """Instances have none."""

    __slots__ = ("first", "x")

    def __init__(self, x: object) -> None:
        self.x = x


class Number(float):
    """A float that is none of ours."""


def name_of(held: object) -> str:
    """Of a case; no address is part of it."""
    return f"{type(held).__name__} {'' if isinstance(held, Open | Closed) or type(held) is object else held}"


HELD: list[Any] = [
    *(0, 1, -1, 2**30, 2**60 + 1, MAX, MIN, MAX + 1, 2**200, True, False, 1.5, -0.0, math.nan, None, "1", Number(2.5)),
    *([], [1, 2.5], (), (1, 2), Open(1), Closed(2), object()),
]


@pytest.fixture(scope="module", params=(0, 2), ids=("O0", "O2"))
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


def region_of(body: str, kind: str = "", **known: object) -> Region:
    """A region over an object v0, and v1 of a kind."""
    kinds, params = (f"object, {kind}", f"v1: {kind}") if kind else ("object", "")
    text = f"region heap call({kinds})\nb0({params}):\n  v0: object = entry_object 0\n  {body}\n"
    return parse_region(text + "e0: kind @0 [| entry0]\ne1: room @0 [| entry0]\n", resolve=known.__getitem__)


def agree(machine: Machine, region: Region, make: Callable[[], object], *inputs: object) -> Outcome:
    """Runs a region both ways, each on an object of its own, and compares what came of it and of that."""
    ways: list[tuple[object, object]] = []
    with machine.compile(region) as compiled:
        for run in (compiled.run, lambda given, held: evaluate(region, given, objects=held)):
            thing = make()
            found = run(inputs, (thing, *inputs))
            content = tuple(thing) if isinstance(thing, list | tuple) else getattr(thing, "x", None)
            ways.append((_shape(found, thing), exact(content)))
            outcome = found
    assert ways[0] == ways[1]
    return outcome


def _shape(found: Outcome, thing: object) -> object:
    if not isinstance(found, Returned):
        return "left"
    if found.value is thing and type(thing) not in (int, float, bool):
        return "itself"
    return exact(tuple(found.value) if isinstance(found.value, list) else found.value)


@pytest.mark.parametrize("held", HELD, ids=name_of)
def test_what_an_object_is(machine: Machine, held: Any) -> None:
    before = sys.getrefcount(held)
    for cls in (int, float, bool, list, tuple, Open):
        body = "v1: bool = is_of v0, @cls\n  return v1"
        assert agree(machine, region_of(body, cls=cls), lambda: held) == Returned(type(held) is cls)
        guarded = agree(machine, region_of("guard_type v0, @cls | e0\n  return entry0", cls=cls), lambda: held)
        assert isinstance(guarded, Returned) is (type(held) is cls)
        body = "v1: object = entry_object 0\n  v2: bool = is_same v1, @other\n  return v2"
        assert agree(machine, region_of(body, other=cls), lambda: held) == Returned(False)
        if const_kind(held) is None:
            assert agree(machine, region_of(body, other=held), lambda: held) == Returned(True)
    is_number = type(held) in (int, float, bool)
    found = agree(machine, region_of("guard_number v0 | e0\n  return 1"), lambda: held)
    assert isinstance(found, Returned) is is_number
    found = agree(machine, region_of("guard_object v0 | e0\n  return 1"), lambda: held)
    assert isinstance(found, Returned) is not (is_number or held is None)
    del guarded, found
    assert sys.getrefcount(held) == before


@pytest.mark.parametrize("held", HELD, ids=name_of)
@pytest.mark.parametrize("kind", [int, float, bool])
def test_unbox(machine: Machine, held: object, kind: type) -> None:
    region = region_of(f"v1: {kind.__name__} = unbox_{kind.__name__} v0 | e0\n  return v1")
    before = sys.getrefcount(held)
    found = agree(machine, region, lambda: held)
    fits = type(held) is kind and (kind is not int or MIN <= held <= MAX)  # type: ignore[operator]
    assert isinstance(found, Returned) is fits
    del found
    assert sys.getrefcount(held) == before


@pytest.mark.parametrize("make", [list, tuple])
def test_items(machine: Machine, make: type) -> None:
    name = make.__name__
    things = [object(), 1.5, None, "x", [1]]
    before = [sys.getrefcount(thing) for thing in things]
    for count in range(len(things) + 1):
        same = partial(make, things[:count])
        assert agree(machine, region_of(f"v1: int = {name}_length v0\n  return v1"), same) == Returned(count)
        for index in range(count):
            region = region_of(f"v2: object = {name}_item v0, v1\n  return reference(v2, @cls)", "int", cls=list)
            found = agree(machine, region, same, index)
            assert isinstance(found, Returned)
            assert found.value is things[index]
    found = same = None  # type: ignore[assignment]
    assert [sys.getrefcount(thing) for thing in things] == before


def field_of(cls: type, name: str) -> Field:
    found = instances.field(cls, instances.shared_names(cls), name)
    assert found is not None
    return found


@pytest.mark.parametrize("cls", [Open, Closed])
def test_load_field(machine: Machine, cls: Any) -> None:
    text = "an attribute"
    before = sys.getrefcount(text)
    cls(text)
    region = region_of(
        "v1: object = load_field v0, @x | e0\n  return reference(v1, @cls)", x=field_of(cls, "x"), cls=str
    )
    assert agree(machine, region, lambda: cls(text)) == Returned(text)
    empty = cls(text)
    del empty.x
    assert isinstance(agree(machine, region, lambda: empty), Left)
    assert sys.getrefcount(text) == before


def test_guard_values(machine: Machine) -> None:
    """An object with a dict of its own is none that the region knows; the evaluator does not tell them apart."""
    thing = Open(1)
    with machine.compile(region_of("guard_values v0 | e0\n  return 1")) as compiled:
        assert compiled.run((), (thing,)) == Returned(1)
        vars(thing)
        assert isinstance(compiled.run((), (thing,)), Left)


NUMBERS = [0, 7, -1, 2**40, MIN, 0.5, -0.0, 1e300, True, False]


@pytest.mark.parametrize("old", NUMBERS, ids=name_of)
@pytest.mark.parametrize("new", NUMBERS, ids=name_of)
def test_stores(machine: Machine, old: Any, new: Any) -> None:
    """Whoever else has the number that was there keeps it."""
    kind = type(new).__name__
    other = old * 1.0 if type(old) is float else old + 0 if type(old) is int else old
    region = region_of("store_item v0, 1, v1 | e1\n  return entry0", kind)
    for make in (lambda: ["a", old * 1.0 if type(old) is float else old], lambda: ["a", other]):
        agree(machine, region, make, new)
    assert exact(other) == exact(old)
    for cls in (Open, Closed):
        cls(1)
        region = region_of("store_field v0, @x, v1 | e1\n  return entry0", kind, x=field_of(cls, "x"))
        agree(machine, region, lambda cls=cls: cls(other), new)  # type: ignore[misc]
    assert exact(other) == exact(old)


def test_stores_keep_counts(machine: Machine) -> None:
    """A float that only the list has is written over; others are given back, and nothing is lost."""
    shared, big = 2.5 * 3, 2**40 + 1
    counts = sys.getrefcount(shared), sys.getrefcount(big)
    with machine.compile(region_of("store_item v0, 0, v1 | e1\n  return 1", "float")) as compiled:
        held: list[object] = [shared]
        compiled.run((1.0,), (held, 1.0))
        own = id(held[0])
        assert held == [1.0]
        compiled.run((9.0,), (held, 9.0))
        assert held == [9.0]
        assert id(held[0]) == own
        held[0] = big
        compiled.run((3.0,), (held, 3.0))
        assert held == [3.0]
        before = sys.getallocatedblocks()
        for k in range(5000):
            compiled.run((k / 2,), (held, 1.0))
        assert sys.getallocatedblocks() - before < 500
    assert (sys.getrefcount(shared), sys.getrefcount(big)) == counts


def test_free_variable(machine: Machine) -> None:
    """A cell of the function that is called."""
    for number in (0, 3, 200):
        region = parse_region(
            f"region heap call()\nb0():\n  v0: object = free_variable {number}\n  return reference(v0, @cls)\n",
            resolve=lambda _: CellType,
        )
        with machine.compile(region) as compiled:
            found = compiled.run(())
            assert isinstance(found, Returned)
            assert found.value is FREE_VARIABLES[number]
            assert evaluate(region, ()) == found


def test_a_store_that_must_not_fail(machine: Machine) -> None:
    held: list[object] = [1.5, 2**40]
    with machine.compile(region_of("store_item v0, 1, v1, True | e1\n  return 1", "int")) as compiled:
        assert compiled.run((2**50,), (held, 2**50)) == Returned(1)
    assert held == [1.5, 2**50]


OBJECTS: list[Any] = [None, "x", object(), [1], (1, 2.5), 2**70, Number, Closed(1)]


@pytest.mark.parametrize("old", [*NUMBERS, *OBJECTS], ids=name_of)
@pytest.mark.parametrize("new", OBJECTS, ids=name_of)
def test_stores_of_objects(machine: Machine, old: Any, new: Any) -> None:
    before = sys.getrefcount(old), sys.getrefcount(new)
    stored = "v1: object = entry_object 0\n  v2: object = list_item v1, 2\n  "
    region = region_of(f"{stored}store_item v0, 1, v2 | e1\n  append_item v0, v2 | e1\n  return entry0")
    agree(machine, region, lambda: ["a", old, new])
    for cls in (Open, Closed):
        cls(1)
        region = region_of("store_field v0, @x, @new | e1\n  return entry0", x=field_of(cls, "x"), new=new)
        agree(machine, region, lambda cls=cls: cls(old))  # type: ignore[misc]
    del region  # which has the constant
    assert (sys.getrefcount(old), sys.getrefcount(new)) == before


@pytest.mark.parametrize("new", NUMBERS, ids=name_of)
def test_append(machine: Machine, new: Any) -> None:
    region = region_of("append_item v0, v1 | e1\n  return entry0", type(new).__name__)
    for size in range(12):
        agree(machine, region, lambda size=size: ["x"] * size, new)  # type: ignore[misc]


def test_append_sees_the_list_as_it_is(machine: Machine) -> None:
    """Where a list has grown, its length and its items are where they are now."""
    grown = "  append_item v0, v1 | e1\n" * 40
    region = region_of(f"v2: int = list_length v0\n{grown}  v3: int = list_length v0\n  return v3", "int")
    assert agree(machine, region, lambda: [1], 5) == Returned(41)


class Ended:
    def __del__(self) -> None:
        pass


class Derived(Open):
    pass


class Listed(list[object]):
    pass


def watched_set() -> set[int]:
    """A set of which somebody is told when it ends."""
    made = Watched([1])
    references.append(weakref.ref(made))
    return made


class Watched(set[int]):
    pass


references: list[object] = []


@pytest.mark.parametrize("machine", [2], indirect=True)
def test_guard_may_end(machine: Machine) -> None:
    """The evaluator does not look: nothing ends of what tests hold. Machine code does."""
    region = region_of("v1: object = list_item v0, 0\n  guard_may_end v1 | e0\n  return 1")
    shared, thing = Ended(), Open(1)
    noticed = weakref.ref(thing)
    made = Open(Derived(1)), Closed([Listed([1])])
    ring: Any = Open(None)
    ring.x = [Open(ring), {ring, 2}, {"ring": ring}]
    quiet = [1, None, "x", (1, (2.5, [3])), [[1], [2]], *made, shared, Ended, ring, {1: 2}, {1, (2, 3)}]
    loud = [
        [shared],
        Open(shared),
        [Ended()] * 2,
        Open(Ended()),
        [Ended()],
        (1, (2, [Ended()])),
        Listed([Ended()]),
        Closed(Derived(Ended())),
        {"key": Ended()},
        {(Ended(), 2)},
    ]
    short, long = (
        reduce(lambda rest, _: Closed(rest), range(100), 1),
        reduce(lambda rest, _: Closed(rest), range(300), 1),
    )
    with machine.compile(region) as compiled:
        for thing_held in (*quiet, thing):
            held = [thing_held]
            assert compiled.run((), (held,)) == Returned(1)
        for cls in (Open, Closed):
            text = "v1: object = field_value v0, @x\n  guard_may_end v1 | e0\n  return 1"
            replaced = region_of(text, x=field_of(cls, "x"))
            empty = cls(1)
            del empty.x
            for thing_held, fits in ((empty, True), (cls(1), True), (cls(shared), True), (cls(Ended()), False)):
                with machine.compile(replaced) as other:
                    assert isinstance(other.run((), (thing_held,)), Returned) is fits
        for maker in (Ended, lambda: (n for n in ()), watched_set, StringIO):
            held = [maker()]
            assert isinstance(compiled.run((), (held,)), Left)
        held = [short]
        del short
        assert compiled.run((), (held,)) == Returned(1)
        held = [long]
        del long
        assert isinstance(compiled.run((), (held,)), Left), "too much to be looked through"
        held, quiet, made = [thing], [], ()  # type: ignore[assignment]
        del thing, thing_held
        assert isinstance(compiled.run((), (held,)), Left), "somebody is told of its end"
        assert noticed() is held[0]
        while loud:
            held = [loud.pop()]
            assert isinstance(compiled.run((), (held,)), Left)


def test_new_objects(machine: Machine) -> None:
    """What is made is what the interpreter would have made, and is let go when the region is left."""
    part = object()
    before = sys.getrefcount(part)
    for cls in (Open, Closed):
        cls(1)
        fields = Const((field_of(cls, "x"), field_of(cls, "first")))
        for number in NUMBERS:
            text = "v2: object = new_instance @cls, @fields, v1, v0 | e1\n  return reference(v2, @cls)"
            region = region_of(text, type(number).__name__, cls=cls, fields=fields.value)
            with machine.compile(region) as compiled:
                for run in (compiled.run, lambda given, held, region=region: evaluate(region, given, objects=held)):
                    found = run((number,), (part, number))
                    assert isinstance(found, Returned)
                    assert type(found.value) is cls
                    assert exact(found.value.x) == exact(number)
                    assert found.value.first is part
                    assert vars(found.value) == {"x": number, "first": part} if cls is Open else True
                    count = sys.getrefcount(found.value)
                    assert count == 2
            del found
    region = region_of("v2: object = new_tuple v1, v0, 0.5, True | e1\n  return reference(v2, @cls)", "int", cls=tuple)
    assert agree(machine, region, lambda: part, 7) == Returned((7, part, 0.5, True))
    assert sys.getrefcount(part) == before


def test_guard_apart(machine: Machine) -> None:
    """Two references to one object are not given back at once, unless many hold it."""
    loads = "v1: object = list_item v0, 0\n  v2: object = list_item v0, 1"
    region = region_of(f"{loads}\n  guard_apart v1, v2 | e0\n  return 1")
    many = object()
    held = [many] * 100
    one, other = object(), object()
    with machine.compile(region) as compiled:
        for pair, fits in (([one, other], True), ([one, one], False), ([None, None], True), ([many, many], True)):
            assert isinstance(compiled.run((), (pair,)), Returned) is fits
    assert len(held) == 100
