"""The class kernels: programs over small classes, with their arguments and the results they must give.

In: nothing. Out: `KERNELS`, in the order of the table. Points, vectors, bodies, nodes and the like, with slots and with
ordinary attributes, methods, operator methods, properties and inheritance. Every function here makes its own objects
and gives back a number; the C twins in `class_twins.c` do the same with structs.

This file imports nothing of minijit and runs on Python 3.9, as `kernels.py` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple


class Body:
    def __init__(self, x, y, z, vx, vy, vz, mass):
        self.x, self.y, self.z = x, y, z
        self.vx, self.vy, self.vz = vx, vy, vz
        self.mass = mass

    def move(self, dt):
        self.x += self.vx * dt
        self.y += self.vy * dt
        self.z += self.vz * dt


def attract(a, b, dt):
    dx, dy, dz = a.x - b.x, a.y - b.y, a.z - b.z
    distance = dx * dx + dy * dy + dz * dz
    strength = dt / (distance * sqrt(distance))
    a.vx -= dx * b.mass * strength
    a.vy -= dy * b.mass * strength
    a.vz -= dz * b.mass * strength
    b.vx += dx * a.mass * strength
    b.vy += dy * a.mass * strength
    b.vz += dz * a.mass * strength


def orbits(count, steps):
    """Bodies in a list, each pair of which attract each other."""
    bodies = [Body(i * 1.0, i * i * 0.5, -0.25 * i, 0.01 * i, 0.0, -0.02 * i, 1.0 + 0.1 * i) for i in range(count)]
    for _ in range(steps):
        for i in range(len(bodies)):
            a = bodies[i]
            for j in range(i + 1, len(bodies)):
                attract(a, bodies[j], 0.001)
        for body in bodies:
            body.move(0.001)
    return sum_of([body.x * body.mass for body in bodies])


def sum_of(numbers):
    total = 0.0
    for number in numbers:
        total += number
    return total


class Vector:
    __slots__ = ("x", "y", "z")

    def __init__(self, x, y, z):
        self.x = x
        self.y = y
        self.z = z

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y, self.z + other.z)

    def __sub__(self, other):
        return Vector(self.x - other.x, self.y - other.y, self.z - other.z)

    def __mul__(self, factor):
        return Vector(self.x * factor, self.y * factor, self.z * factor)

    def __neg__(self):
        return Vector(-self.x, -self.y, -self.z)

    def dot(self, other):
        return self.x * other.x + self.y * other.y + self.z * other.z

    @property
    def length(self):
        return sqrt(self.dot(self))

    def normalized(self):
        return self * (1.0 / self.length)


def pendulum(steps):
    """One vector swings about another, by operators on them."""
    place, speed, centre = Vector(1.0, 0.0, 0.5), Vector(0.0, 0.6, 0.1), Vector(0.0, 0.0, 0.0)
    for _ in range(steps):
        pull = centre - place
        speed = speed + pull * 0.01
        place = place + speed * 0.01
    return place.dot(place) + speed.length


class Sphere:
    def __init__(self, centre, radius, shade):
        self.centre = centre
        self.radius = radius
        self.shade = shade

    def distance(self, origin, direction):
        """How far along a ray the sphere is; negative if the ray misses it."""
        between = self.centre - origin
        along = between.dot(direction)
        rest = self.radius * self.radius - between.dot(between) + along * along
        if rest < 0.0:
            return -1.0
        return along - sqrt(rest)


class Scene:
    def __init__(self):
        self.spheres = []
        self.eye = Vector(0.0, 0.0, -4.0)

    def add(self, sphere):
        self.spheres.append(sphere)

    def shade_at(self, x, y):
        direction = Vector(x, y, 2.0).normalized()
        nearest, shade = 1e30, 0.0
        for sphere in self.spheres:
            distance = sphere.distance(self.eye, direction)
            if 0.0 < distance < nearest:
                nearest, shade = distance, sphere.shade * -direction.z
        return shade


def rays(width, height):
    """Spheres seen by rays, one for each point of a picture."""
    scene = Scene()
    for i in range(6):
        scene.add(Sphere(Vector(0.7 * i - 2.0, 0.3 * i - 0.8, 0.5 * i), 0.6, 0.1 + 0.15 * i))
    total = 0.0
    for row in range(height):
        for column in range(width):
            total += scene.shade_at((2.0 * column - width) / width, (2.0 * row - height) / height)
    return total


class Particle:
    def __init__(self, x, y, vx, vy):
        self.x = x
        self.y = y
        self.vx = vx
        self.vy = vy

    def step(self, dt):
        self.vy -= 9.81 * dt
        self.x += self.vx * dt
        self.y += self.vy * dt
        if self.y < 0.0:
            self.y = -self.y
            self.vy = -0.9 * self.vy
        if self.x < 0.0 or self.x > 10.0:
            self.vx = -self.vx

    @property
    def energy(self):
        return 9.81 * self.y + 0.5 * (self.vx * self.vx + self.vy * self.vy)


def fountain(count, steps):
    """Particles with ordinary attributes that fall and bounce."""
    particles = [Particle(0.1 * i, 1.0, 0.3 * i - 2.0, 5.0 + 0.1 * i) for i in range(count)]
    for _ in range(steps):
        for particle in particles:
            particle.step(0.001)
    total = 0.0
    for particle in particles:
        total += particle.energy
    return total


class Point:
    __slots__ = ("im", "re")

    def __init__(self, re, im):
        self.re = re
        self.im = im

    def __add__(self, other):
        return Point(self.re + other.re, self.im + other.im)

    def __mul__(self, other):
        return Point(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    def __abs__(self):
        return sqrt(self.re * self.re + self.im * self.im)


def julia(size, limit):
    """A Julia set, over a class of complex numbers."""
    constant, total = Point(-0.7, 0.27015), 0
    for row in range(size):
        for column in range(size):
            z = Point(3.0 * column / size - 1.5, 3.0 * row / size - 1.5)
            rounds = 0
            while rounds < limit and abs(z) < 2.0:
                z = z * z + constant
                rounds += 1
            total += rounds
    return total


class Ratio:
    def __init__(self, above, below):
        a, b = above, below
        while b:
            a, b = b, a % b
        self.above = above // a
        self.below = below // a

    def __add__(self, other):
        return Ratio(self.above * other.below + other.above * self.below, self.below * other.below)

    def __lt__(self, other):
        return self.above * other.below < other.above * self.below


def ratios(count):
    """Sums of fractions, each reduced when it is made."""
    one, total = Ratio(1, 1), 0
    for i in range(1, count):
        part = Ratio(i % 7 + 1, i % 11 + 2) + Ratio(i % 5 + 1, i % 3 + 4)
        total += part.above * 3 + part.below
        if part < one:
            total += 1
    return total


class Generator:
    def __init__(self, seed):
        self.state = seed

    def bits(self):
        self.state = (self.state * 1103515245 + 12345) % 2147483648
        return self.state

    def uniform(self):
        return self.bits() / 2147483648.0


def darts(count):
    """Darts thrown by a generator of random numbers that keeps its state in an attribute."""
    generator, inside = Generator(42), 0
    for _ in range(count):
        x, y = generator.uniform(), generator.uniform()
        if x * x + y * y <= 1.0:
            inside += 1
    return 4.0 * inside / count


class Shape:
    def __init__(self, scale):
        self.scale = scale

    def area(self):
        return self.scale * self.scale

    def grow(self, factor):
        self.scale = self.scale * factor


class Square(Shape):
    def __init__(self, scale, side):
        super().__init__(scale)
        self.side = side

    def area(self):
        return super().area() * self.side * self.side


class Circle(Shape):
    def __init__(self, scale, radius):
        super().__init__(scale)
        self.radius = radius

    def area(self):
        return 3.141592653589793 * super().area() * self.radius * self.radius

    def grow(self, factor):
        super().grow(1.0 / factor)


def shapes(count, rounds):
    """Shapes of three classes, of which two are derived from the third."""
    found = []
    for i in range(count):
        if i % 3 == 0:
            found.append(Shape(1.0 + i))
        elif i % 3 == 1:
            found.append(Square(1.0, 0.5 * i))
        else:
            found.append(Circle(2.0, 0.25 * i))
    total = 0.0
    for number in range(rounds):
        for shape in found:
            shape.grow(1.01 if number % 2 else 0.99)
            total += shape.area()
    return total


class Moments:
    def __init__(self):
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    def add(self, value):
        self.count += 1
        before = value - self.mean
        self.mean += before / self.count
        self.squares += before * (value - self.mean)

    @property
    def variance(self):
        return self.squares / self.count if self.count else 0.0


def welford(count):
    """Mean and variance of a stream of numbers."""
    moments, x = Moments(), 0.3
    for _ in range(count):
        x = 3.7 * x * (1.0 - x)
        moments.add(x)
    return moments.mean + moments.variance


class Node:
    __slots__ = ("key", "left", "right")

    def __init__(self, key):
        self.key = key
        self.left = None
        self.right = None

    def insert(self, key):
        if key < self.key:
            if self.left is None:
                self.left = Node(key)
            else:
                self.left.insert(key)
        elif self.right is None:
            self.right = Node(key)
        else:
            self.right.insert(key)

    def total(self, depth):
        found = self.key * depth
        if self.left is not None:
            found += self.left.total(depth + 1)
        if self.right is not None:
            found += self.right.total(depth + 1)
        return found


def tree(count, rounds):
    """A binary tree whose methods call themselves."""
    x, root = 17, Node(500_000)
    for _ in range(count):
        x = (x * 16807) % 2147483647
        root.insert(x % 1_000_000)
    total = 0
    for _ in range(rounds):
        total += root.total(1)
    return total


class Link:
    def __init__(self, value, following):
        self.value = value
        self.following = following


def chain(count, rounds):
    """A linked list, walked from its beginning to its end."""
    first = None
    for i in range(count):
        first = Link(i * 0.5, first)
    total = 0.0
    for _ in range(rounds):
        link = first
        while link is not None:
            total += link.value
            link = link.following
    return total


class Matrix:
    __slots__ = ("a", "b", "c", "d")

    def __init__(self, a, b, c, d):
        self.a = a
        self.b = b
        self.c = c
        self.d = d

    def __matmul__(self, other):
        return Matrix(
            (self.a * other.a + self.b * other.c) % 1_000_003,
            (self.a * other.b + self.b * other.d) % 1_000_003,
            (self.c * other.a + self.d * other.c) % 1_000_003,
            (self.c * other.b + self.d * other.d) % 1_000_003,
        )


def power(base, exponent):
    result = Matrix(1, 0, 0, 1)
    while exponent:
        if exponent & 1:
            result = result @ base
        base = base @ base
        exponent >>= 1
    return result


def fibonacci(count):
    """Fibonacci numbers by powers of matrices."""
    total = 0
    for i in range(count):
        total += power(Matrix(1, 1, 1, 0), i).b
    return total


@dataclass
class Knot:
    height: float
    speed: float
    mass: float = 1.0


def rope(count, steps):
    """A rope of dataclass instances, each of which is drawn by its neighbours."""
    knots = [Knot(0.0, 0.0) for _ in range(count)]
    knots[count // 2].speed = 5.0
    for _ in range(steps):
        for i in range(1, count - 1):
            knot = knots[i]
            force = knots[i - 1].height + knots[i + 1].height - 2.0 * knot.height
            knot.speed += force / knot.mass * 0.01
        for knot in knots:
            knot.height += knot.speed * 0.01
    total = 0.0
    for knot in knots:
        total += knot.height * knot.height + knot.speed * knot.speed
    return total


class Grid:
    def __init__(self, width, height):
        self.width = width
        self.height = height
        self.cells = [(i * 7919) % 13 < 5 for i in range(width * height)]

    def __getitem__(self, index):
        return self.cells[index]

    def neighbours(self, column, row):
        count = 0
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if dx or dy:
                    x, y = (column + dx) % self.width, (row + dy) % self.height
                    if self.cells[y * self.width + x]:
                        count += 1
        return count

    def step(self):
        after = [False] * (self.width * self.height)
        for row in range(self.height):
            for column in range(self.width):
                count = self.neighbours(column, row)
                here = row * self.width + column
                after[here] = count == 3 or (count == 2 and self.cells[here])
        self.cells = after


def life(size, steps):
    """Cells of a grid that live and die by their neighbours."""
    grid = Grid(size, size)
    for _ in range(steps):
        grid.step()
    alive = 0
    for i in range(size * size):
        if grid[i]:
            alive += 1
    return alive


class Kernel(NamedTuple):
    """One row."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    expected: Any

    @property
    def name(self) -> str:
        return self.function.__name__


KERNELS = [
    Kernel(orbits, (12, 400), 117.06640000000003),
    Kernel(pendulum, (10_000,), 1.784642385514918),
    Kernel(rays, (80, 60), -362.01889911390725),
    Kernel(fountain, (60, 1_500), 4702.478300498682),
    Kernel(julia, (40, 80), 27834),
    Kernel(ratios, (10_000,), 674222),
    Kernel(darts, (30_000,), 3.1356),
    Kernel(shapes, (90, 800), 130176183.5973775),
    Kernel(welford, (40_000,), 0.709026542169813),
    Kernel(tree, (400, 250), 477574006000),
    Kernel(chain, (800, 600), 95880000.0),
    Kernel(fibonacci, (3_000,), 1494508997),
    Kernel(rope, (80, 1_200), 161.4231893373541),
    Kernel(life, (32, 40), 0),
]
