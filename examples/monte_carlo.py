"""Estimate pi by throwing darts at a square, with a generator of random numbers written out by hand.

The kernel mixes ints and floats: a linear congruential generator with 31 bits of state, whose products stay
below 2**62, and a count of the darts that fall into the quarter circle.
"""

from _timing import compare, parser

MODULUS_MASK = 0x7FFFFFFF


def estimate_pi(darts: int, seed: int) -> float:
    """Throw `darts` darts."""
    state = seed
    inside = 0
    for _ in range(darts):
        state = (state * 1103515245 + 12345) & MODULUS_MASK
        x = state / 2147483648.0
        state = (state * 1103515245 + 12345) & MODULUS_MASK
        y = state / 2147483648.0
        if x * x + y * y < 1.0:
            inside += 1
    return 4.0 * inside / darts


def main() -> None:
    arguments = parser("Estimate pi.")
    arguments.add_argument("--darts", type=int, default=5_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    seed = options.seed & MODULUS_MASK
    pi = compare(lambda: estimate_pi(options.darts, seed), estimate_pi, jit=options.jit)
    print(f"pi is about {pi:.6f}")


if __name__ == "__main__":
    main()
