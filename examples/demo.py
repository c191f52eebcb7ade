"""What `make demo` shows: the Mandelbrot set interpreted and compiled, and what minijit has to say about it.

At the default size the interpreter takes about five seconds.
"""

import argparse
from pathlib import Path

import minijit
from _timing import report, timed
from mandelbrot import escape_time, render, save


def main() -> None:
    arguments = argparse.ArgumentParser(description="Draw the Mandelbrot set interpreted and compiled.")
    arguments.add_argument("--width", type=int, default=1200)
    arguments.add_argument("--height", type=int, default=800)
    arguments.add_argument("--out", type=Path, default=Path("out/mandelbrot.png"))
    options = arguments.parse_args()
    plain = timed(lambda: render(options.width, options.height))
    print(f"interpreted {plain.seconds:9.3f} s", flush=True)
    minijit.jit(escape_time)
    compiled = timed(lambda: render(options.width, options.height))
    report(plain, compiled)
    save(compiled.result, options.width, options.height, options.out)
    print(f"picture in {options.out}\n")
    print(minijit.explain(escape_time))


if __name__ == "__main__":
    main()
