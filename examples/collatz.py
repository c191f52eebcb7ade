"""Find the start below a limit whose Collatz sequence (halve, or triple and add one) is longest.

The kernel is one function over ints: a counted loop around a loop that nobody can count beforehand.
"""

from _timing import compare, parser


def longest_start(limit: int) -> int:
    """Give the first start below `limit` with the longest sequence."""
    best = 1
    best_length = 1
    for start in range(1, limit):
        number = start
        length = 1
        while number != 1:
            number = 3 * number + 1 if number & 1 else number >> 1
            length += 1
        if length > best_length:
            best, best_length = start, length
    return best


def length_from(number: int) -> int:
    length = 1
    while number != 1:
        number = 3 * number + 1 if number & 1 else number >> 1
        length += 1
    return length


def main() -> None:
    arguments = parser("Find the longest Collatz sequence.")
    arguments.add_argument("--limit", type=int, default=300_000)
    options = arguments.parse_args()
    start = compare(lambda: longest_start(options.limit), longest_start, jit=options.jit)
    print(f"from {start}: {length_from(start)} numbers")


if __name__ == "__main__":
    main()
