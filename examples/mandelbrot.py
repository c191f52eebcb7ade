"""Draw the Mandelbrot set into a PNG file.

The kernel, `escape_time`, takes two floats and an int and returns an int: one pixel. The loop over the pixels
stays in the interpreter, so every pixel is one call of compiled code.
"""

import math
from pathlib import Path

from PIL import Image

from _timing import compare, parser

LIMIT = 255


def escape_time(real: float, imaginary: float, limit: int) -> int:
    """Count the steps of z = z*z + c until z is certain to escape, at most `limit`."""
    x = y = 0.0
    for step in range(limit):
        xx = x * x
        yy = y * y
        if xx + yy > 4.0:
            return step
        x, y = xx - yy + real, 2.0 * x * y + imaginary
    return limit


def render(width: int, height: int) -> list[int]:
    """Give the escape times of all pixels, row by row."""
    scale = 3.0 / width
    return [
        escape_time((column - 0.72 * width) * scale, (row - 0.5 * height) * scale, LIMIT)
        for row in range(height)
        for column in range(width)
    ]


def colour(steps: int) -> tuple[int, int, int]:
    """Black inside; outside, a cosine palette over the logarithm of the steps."""
    if steps == LIMIT:
        return (0, 0, 0)
    phase = 1.4 * math.log1p(steps)
    red, green, blue = (int(127.5 - 127.5 * math.cos(phase + shift)) for shift in (0.0, 0.5, 1.1))
    return (red, green, blue)


def save(steps: list[int], width: int, height: int, path: Path) -> None:
    palette = [colour(count) for count in range(LIMIT + 1)]
    image = Image.new("RGB", (width, height))
    image.putdata([palette[count] for count in steps])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def main() -> None:
    arguments = parser("Draw the Mandelbrot set.")
    arguments.add_argument("--width", type=int, default=600)
    arguments.add_argument("--height", type=int, default=400)
    arguments.add_argument("--out", type=Path, default=Path("out/mandelbrot.png"))
    options = arguments.parse_args()
    steps = compare(lambda: render(options.width, options.height), escape_time, jit=options.jit)
    save(steps, options.width, options.height, options.out)
    print(f"picture in {options.out}, {sum(steps)} steps")


if __name__ == "__main__":
    main()
