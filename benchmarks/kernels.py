"""The kernels: a Python function each over scalars, with its arguments and the result it must give. Some call
themselves, or helpers.

In: nothing. Out: `KERNELS`, in the order of the table. Every int stays below 2**63, unless the kernel is
there to leave that range, so that C's and numba's wrapping ints give the interpreter's result. Kernels that
we expect to lose, or that minijit does not compile, stay: a table of wins alone says nothing.

This file imports nothing of minijit and runs on Python 3.9, since pypy3 runs it as a program: `pypy3
kernels.py NAME SECONDS ROUNDS` prints the result, how many calls made one timing, and seconds per call, one
number a round, as JSON.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from timing import loops_for, seconds_per_call, warm

Function = Callable[..., Any]


def sum_squares(count):
    total = 0
    for i in range(count):
        total += i * i
    return total


def mandelbrot(width, height, limit):
    total = 0
    for row in range(height):
        ci = 2.4 * row / height - 1.2
        for column in range(width):
            cr = 3.2 * column / width - 2.3
            x = 0.0
            y = 0.0
            steps = 0
            while steps < limit and x * x + y * y <= 4.0:
                x, y = x * x - y * y + cr, 2.0 * x * y + ci
                steps += 1
            total += steps
    return total


def collatz(limit):
    best = 1
    best_length = 1
    for start in range(1, limit):
        number = start
        length = 1
        while number != 1:
            if number & 1:
                number = 3 * number + 1
            else:
                number >>= 1
            length += 1
        if length > best_length:
            best = start
            best_length = length
    return best


def gcd_sum(limit):
    total = 0
    for left in range(1, limit):
        for right in range(1, left):
            a = left
            b = right
            while b:
                a, b = b, a % b
            total += a
    return total


def nbody(steps, dt):
    ax, ay, au, av = 0.97, -0.243, 0.4662, 0.4324
    bx, by, bu, bv = -0.97, 0.243, 0.4662, 0.4324
    cx, cy, cu, cv = 0.0, 0.0, -0.9324, -0.8647
    for _ in range(steps):
        abx = bx - ax
        aby = by - ay
        bcx = cx - bx
        bcy = cy - by
        cax = ax - cx
        cay = ay - cy
        ab = abx * abx + aby * aby
        bc = bcx * bcx + bcy * bcy
        ca = cax * cax + cay * cay
        fab = dt / (ab * math.sqrt(ab))
        fbc = dt / (bc * math.sqrt(bc))
        fca = dt / (ca * math.sqrt(ca))
        au += fab * abx - fca * cax
        av += fab * aby - fca * cay
        bu += fbc * bcx - fab * abx
        bv += fbc * bcy - fab * aby
        cu += fca * cax - fbc * bcx
        cv += fca * cay - fbc * bcy
        ax += dt * au
        ay += dt * av
        bx += dt * bu
        by += dt * bv
        cx += dt * cu
        cy += dt * cv
    return ax + 2.0 * ay + 3.0 * bx + 4.0 * by + 5.0 * cx + 6.0 * cy


def lcg_pi(darts):
    # The product stays below 2**53, so that doubles (LuaJIT's only numbers) hold it too.
    state = 12345
    inside = 0
    for _ in range(darts):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        x = state / 4294967296.0
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        y = state / 4294967296.0
        if x * x + y * y < 1.0:
            inside += 1
    return 4.0 * inside / darts


def newton_sqrt(count):
    total = 0.0
    for i in range(1, count):
        number = float(i)
        root = number
        while abs(root * root - number) > 1e-9 * number:
            root = 0.5 * (root + number / root)
        total += root
    return total


def horner(count):
    total = 0.0
    for i in range(count):
        x = i / count
        total += ((((1.5 * x - 2.25) * x + 0.125) * x + 3.0) * x - 0.75) * x + 1.0
    return total


def trial_division(limit):
    primes = 0
    for number in range(2, limit):
        divisor = 2
        while divisor * divisor <= number:
            if number % divisor == 0:
                break
            divisor += 1
        else:
            primes += 1
    return primes


def hash_mix(count):
    # The multiplier is below 2**31, so that the product of a 32-bit word stays below 2**63.
    word = 0x12345678
    for i in range(count):
        word ^= (i * 0x3C6EF372) & 0xFFFFFFFF
        word = ((word << 13) | (word >> 19)) & 0xFFFFFFFF
        word = (word * 0x5851F42D) & 0xFFFFFFFF
        word ^= word >> 15
    return word


def calendar(days):
    # Day 0 is 1 January of year 0; half of the days are negative, so `//` and `%` must floor.
    total = 0
    for day in range(-days, days):
        year = day * 400 // 146097
        first = year * 365 + (year + 3) // 4 - (year + 99) // 100 + (year + 399) // 400
        if first > day:
            year -= 1
            first -= 366 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 365
        total += (day % 7) * (day - first)
    return total


def logistic(steps, rate):
    x = 0.5
    for _ in range(steps):
        x = rate * x * (1.0 - x)
    return x


def digit_sums(limit):
    total = 0
    for number in range(limit):
        rest = number
        while rest > 0:
            total += rest % 10
            rest //= 10
    return total


def simpson(strips, width):
    step = width / strips
    total = 0.0
    for i in range(strips + 1):
        x = i * step
        y = x**2 + 3.0 * x
        if i == 0 or i == strips:  # noqa: PLR1714 - a test of membership is not compiled
            total += y
        elif i % 2 == 1:
            total += 4.0 * y
        else:
            total += 2.0 * y
    return total * step / 3.0


def add(x, y):
    return x + y


def call_often(function, calls):
    total = 0
    for i in range(calls):
        total = function(total, i)
    return total


def sin_pow(count):
    total = 0.0
    for i in range(1, count):
        x = i * 0.001
        total += math.sin(x) * x**1.5
    return total


def factorials(rounds):
    total = 0
    for _ in range(rounds):
        product = 1
        for factor in range(2, 40):
            product *= factor
        total += product % 1000003
    return total


def sieve(limit):
    composite = [False] * limit
    primes = 0
    for number in range(2, limit):
        if composite[number]:
            continue
        primes += 1
        for multiple in range(number * number, limit, number):
            composite[multiple] = True
    return primes


def fib(n):
    if n < 2:
        return n
    return fib(n - 1) + fib(n - 2)


def tak(x, y, z):
    if y >= x:
        return z
    return tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y))


def ackermann(m, n):
    if m == 0:
        return n + 1
    if n == 0:
        return ackermann(m - 1, 1)
    return ackermann(m - 1, ackermann(m, n - 1))


def queens(size, row, columns, down, up):
    if row == size:
        return 1
    count = 0
    free = ((1 << size) - 1) & ~(columns | down | up)
    while free:
        place = free & -free
        free ^= place
        count += queens(size, row + 1, columns | place, (down | place) << 1, (up | place) >> 1)
    return count


def curve(x):
    return x * x * x - 2.0 * x + 1.0


def integral(function, start, stop, strips):
    step = (stop - start) / strips
    total = function(start) + function(stop)
    for i in range(1, strips):
        total += (4.0 if i % 2 else 2.0) * function(start + i * step)
    return total * step / 3.0


def integrate(strips):
    return integral(curve, 0.0, 2.0, strips)


class Kernel(NamedTuple):
    """One row: `skips` names the peers that cannot run it, each with the reason.

    With a `driver`, what is timed is `driver(function, *arguments)`: the driver stays plain Python. `helpers` are
    functions that it calls, and that are compiled as it is.
    """

    function: Function
    arguments: tuple[Any, ...]
    expected: Any
    skips: Mapping[str, str] = {}
    driver: Function | None = None
    note: str = ""
    helpers: tuple[Function, ...] = ()

    @property
    def name(self) -> str:
        return self.function.__name__

    def call(self, function: Function, driver: Function | None = None) -> Callable[[], Any]:
        """Give what to time for a function that some peer made from the kernel's own."""
        if self.driver is None:
            return partial(function, *self.arguments)
        return partial(driver or self.driver, function, *self.arguments)


DOUBLES = {"luajit": "needs ints beyond 2**53"}
BIGNUMS = dict.fromkeys(("gcc", "numba", "luajit"), "has no bignums")

KERNELS = [
    Kernel(sum_squares, (200_000,), 2666646666700000, note="numba turns the loop into a formula"),
    Kernel(mandelbrot, (80, 60, 100), 116792),
    Kernel(collatz, (6_000,), 3711),
    Kernel(gcd_sum, (600,), 651274),
    Kernel(nbody, (20_000, 0.001), -4.840641023126976),
    Kernel(lcg_pi, (100_000,), 3.14108),
    Kernel(newton_sqrt, (20_000,), 1885547.1649294556),
    Kernel(horner, (150_000,), 218436.6875027076),
    Kernel(trial_division, (30_000,), 3245),
    Kernel(hash_mix, (100_000,), 2009590307, DOUBLES),
    Kernel(calendar, (40_000,), 43766001),
    Kernel(logistic, (300_000, 3.75), 0.814520022854116),
    Kernel(digit_sums, (50_000,), 1000000),
    Kernel(simpson, (150_000, 2.0), 8.666666666666737, note="x**2 is pow's in Python, x * x in C"),
    Kernel(add, (100_000,), 4999950000, driver=call_often, note="only the callee is compiled"),
    Kernel(sin_pow, (100_000,), -870536.6092067239, note="the time is libm's"),
    Kernel(factorials, (3_000,), 2840961000, BIGNUMS, note="leaves 63 bits in every round"),
    Kernel(sieve, (100_000,), 9592, note="a list of objects; C has an array of bytes"),
    Kernel(fib, (24,), 46368),
    Kernel(tak, (18, 12, 6), 7),
    Kernel(ackermann, (3, 5), 253),
    Kernel(queens, (8, 0, 0, 0, 0), 92),
    Kernel(integrate, (50_000,), 2.0000000000000058, helpers=(curve, integral)),
]


def named(name: str) -> Kernel:
    for kernel in KERNELS:
        if kernel.name == name:
            return kernel
    raise SystemExit(f"no kernel {name!r}; there are: {', '.join(kernel.name for kernel in KERNELS)}")


def main() -> None:
    name, seconds, rounds = sys.argv[1:]
    kernel = named(name)
    call = kernel.call(kernel.function)
    warm(call)
    loops = loops_for(call, float(seconds))
    samples = [seconds_per_call(call, loops) for _ in range(int(rounds))]
    print(json.dumps({"result": call(), "loops": loops, "samples": samples}))


if __name__ == "__main__":
    main()
