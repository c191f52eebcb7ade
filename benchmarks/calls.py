"""What one call of a compiled trivial function costs, beside the interpreter's own call of the same function.

In: nothing. Out: nanoseconds per call for each way of calling, the cost of the loop around it taken off;
interpreted and compiled take turns. Ways that a compiled entry does not serve (keywords, say) must cost what
they cost before.
"""

import functools
import statistics
import types
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import minijit
from peers import copy_function
from timing import loops_for, seconds_per_call, warm

CALLS = 10_000
ROUNDS = 15

type Function = Callable[..., Any]
type Make = Callable[[Function], Function]


def trivial(x, y):
    return x + y


class Counter:
    """For calls of a method: `self` is an object, which compiled code has to pass on."""

    def plus(self, x, y):
        return x + y


def empty_loop():
    for _ in range(CALLS):
        pass


def empty_map():
    deque(zip(range(CALLS), range(CALLS), strict=True), maxlen=0)


def ints(function):
    for i in range(CALLS):
        function(i, 2)


def floats(function):
    x = 1.5
    for _ in range(CALLS):
        function(x, 2.5)


def keywords(function):
    for i in range(CALLS):
        function(x=i, y=2)


def unpacked(function):
    pair = (1, 2)
    for _ in range(CALLS):
        function(*pair)


def mapped(function):
    deque(map(function, range(CALLS), range(CALLS)), maxlen=0)


def one_argument(function):
    for i in range(CALLS):
        function(i)


def method(counter):
    for i in range(CALLS):
        counter.plus(i, 2)


def counter_with(make: Make) -> Counter:
    """Give an object whose class has a `plus` that was made."""
    return type("Counter", (Counter,), {"plus": make(Counter.plus)})()


@dataclass(frozen=True, slots=True)
class Way:
    """One way of calling: the loop, what it calls, and the loop without the calls.

    `callee` makes what the loop gets; it is handed either contender's way of making a function.
    """

    name: str
    loop: Function
    callee: Callable[[Make], Any]
    empty: Function = empty_loop


WAYS = [
    Way("f(int, int)", ints, lambda make: make(trivial)),
    Way("f(float, float)", floats, lambda make: make(trivial)),
    Way("f(x=int, y=int)", keywords, lambda make: make(trivial)),
    Way("f(*pair)", unpacked, lambda make: make(trivial)),
    Way("map(f, ...)", mapped, lambda make: make(trivial), empty_map),
    Way("partial(f, 1)(int)", one_argument, lambda make: functools.partial(make(trivial), 1)),
    Way("bound to an int", one_argument, lambda make: types.MethodType(make(trivial), 1)),
    Way("method of an object", method, counter_with),
]


def make_plain(function: Function) -> Function:
    return copy_function(function, "plain")


def make_compiled(function: Function) -> Function:
    return minijit.jit(copy_function(function, "jit"))


def contenders(way: Way) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Give the loops, each with a code object of its own, so that neither unlearns what the other taught."""
    yield "empty", way.empty
    yield "interpreted", functools.partial(make_plain(way.loop), way.callee(make_plain))
    # The loop itself stays interpreted: what is compared is the call.
    yield "minijit", functools.partial(copy_function(way.loop, "loop"), way.callee(make_compiled))


def nanoseconds(way: Way) -> dict[str, float]:
    ready = dict(contenders(way))
    for call in ready.values():
        warm(call)
    loops = {name: loops_for(call) for name, call in ready.items()}
    samples: dict[str, list[float]] = {name: [] for name in ready}
    for turn in range(ROUNDS):
        for name in list(ready)[:: -1 if turn % 2 else 1]:
            samples[name].append(seconds_per_call(ready[name], loops[name]))
    each = {name: 1e9 * statistics.median(values) / CALLS for name, values in samples.items()}
    return {name: value - each["empty"] for name, value in each.items()}


def main() -> None:
    print(f"{'ns per call':24}{'interpreted':>12}{'minijit':>12}{'ratio':>8}")
    for way in WAYS:
        each = nanoseconds(way)
        plain, compiled = each["interpreted"], each["minijit"]
        print(f"{way.name:24}{plain:12.1f}{compiled:12.1f}{compiled / plain:8.2f}", flush=True)


if __name__ == "__main__":
    main()
