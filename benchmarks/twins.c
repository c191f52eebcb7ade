/* The kernels of kernels.py in C, as somebody who knows C would write them: what minijit's code is measured against.
 *
 * Python's int is int64_t here, which gives the same results, since no kernel leaves 63 bits (factorials has no
 * twin). Where `//` and `%` meet negative numbers they floor as Python's do; elsewhere C's own are the same. Floats
 * keep Python's order of operations, so that results are equal to the last bit (built without contraction).
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* Both for a positive b only. */
static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static int64_t floor_mod(int64_t a, int64_t b) {
    int64_t rest = a % b;
    return rest < 0 ? rest + b : rest;
}

int64_t sum_squares(int64_t count) {
    int64_t total = 0;
    for (int64_t i = 0; i < count; i++)
        total += i * i;
    return total;
}

int64_t mandelbrot(int64_t width, int64_t height, int64_t limit) {
    int64_t total = 0;
    for (int64_t row = 0; row < height; row++) {
        double ci = 2.4 * row / height - 1.2;
        for (int64_t column = 0; column < width; column++) {
            double cr = 3.2 * column / width - 2.3;
            double x = 0.0, y = 0.0;
            int64_t steps = 0;
            while (steps < limit && x * x + y * y <= 4.0) {
                double next = x * x - y * y + cr;
                y = 2.0 * x * y + ci;
                x = next;
                steps++;
            }
            total += steps;
        }
    }
    return total;
}

int64_t collatz(int64_t limit) {
    int64_t best = 1, best_length = 1;
    for (int64_t start = 1; start < limit; start++) {
        int64_t number = start, length = 1;
        while (number != 1) {
            if (number & 1)
                number = 3 * number + 1;
            else
                number >>= 1;
            length++;
        }
        if (length > best_length) {
            best = start;
            best_length = length;
        }
    }
    return best;
}

int64_t gcd_sum(int64_t limit) {
    int64_t total = 0;
    for (int64_t left = 1; left < limit; left++)
        for (int64_t right = 1; right < left; right++) {
            int64_t a = left, b = right;
            while (b) {
                int64_t rest = a % b;
                a = b;
                b = rest;
            }
            total += a;
        }
    return total;
}

double nbody(int64_t steps, double dt) {
    double ax = 0.97, ay = -0.243, au = 0.4662, av = 0.4324;
    double bx = -0.97, by = 0.243, bu = 0.4662, bv = 0.4324;
    double cx = 0.0, cy = 0.0, cu = -0.9324, cv = -0.8647;
    for (int64_t step = 0; step < steps; step++) {
        double abx = bx - ax, aby = by - ay;
        double bcx = cx - bx, bcy = cy - by;
        double cax = ax - cx, cay = ay - cy;
        double ab = abx * abx + aby * aby;
        double bc = bcx * bcx + bcy * bcy;
        double ca = cax * cax + cay * cay;
        double fab = dt / (ab * sqrt(ab));
        double fbc = dt / (bc * sqrt(bc));
        double fca = dt / (ca * sqrt(ca));
        au += fab * abx - fca * cax;
        av += fab * aby - fca * cay;
        bu += fbc * bcx - fab * abx;
        bv += fbc * bcy - fab * aby;
        cu += fca * cax - fbc * bcx;
        cv += fca * cay - fbc * bcy;
        ax += dt * au;
        ay += dt * av;
        bx += dt * bu;
        by += dt * bv;
        cx += dt * cu;
        cy += dt * cv;
    }
    return ax + 2.0 * ay + 3.0 * bx + 4.0 * by + 5.0 * cx + 6.0 * cy;
}

double lcg_pi(int64_t darts) {
    int64_t state = 12345, inside = 0;
    for (int64_t dart = 0; dart < darts; dart++) {
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF;
        double x = state / 4294967296.0;
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF;
        double y = state / 4294967296.0;
        if (x * x + y * y < 1.0)
            inside++;
    }
    return 4.0 * inside / darts;
}

double newton_sqrt(int64_t count) {
    double total = 0.0;
    for (int64_t i = 1; i < count; i++) {
        double number = i, root = number;
        while (fabs(root * root - number) > 1e-9 * number)
            root = 0.5 * (root + number / root);
        total += root;
    }
    return total;
}

double horner(int64_t count) {
    double total = 0.0;
    for (int64_t i = 0; i < count; i++) {
        double x = (double)i / count;
        total += ((((1.5 * x - 2.25) * x + 0.125) * x + 3.0) * x - 0.75) * x + 1.0;
    }
    return total;
}

int64_t trial_division(int64_t limit) {
    int64_t primes = 0;
    for (int64_t number = 2; number < limit; number++) {
        int64_t divisor = 2;
        while (divisor * divisor <= number && number % divisor != 0)
            divisor++;
        primes += divisor * divisor > number;
    }
    return primes;
}

int64_t hash_mix(int64_t count) {
    int64_t word = 0x12345678;
    for (int64_t i = 0; i < count; i++) {
        word ^= (i * 0x3C6EF372) & 0xFFFFFFFF;
        word = ((word << 13) | (word >> 19)) & 0xFFFFFFFF;
        word = (word * 0x5851F42D) & 0xFFFFFFFF;
        word ^= word >> 15;
    }
    return word;
}

int64_t calendar(int64_t days) {
    int64_t total = 0;
    for (int64_t day = -days; day < days; day++) {
        int64_t year = floor_div(day * 400, 146097);
        int64_t first =
            year * 365 + floor_div(year + 3, 4) - floor_div(year + 99, 100) + floor_div(year + 399, 400);
        if (first > day) {
            year--;
            first -= year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 366 : 365;
        }
        total += floor_mod(day, 7) * (day - first);
    }
    return total;
}

double logistic(int64_t steps, double rate) {
    double x = 0.5;
    for (int64_t step = 0; step < steps; step++)
        x = rate * x * (1.0 - x);
    return x;
}

int64_t digit_sums(int64_t limit) {
    int64_t total = 0;
    for (int64_t number = 0; number < limit; number++)
        for (int64_t rest = number; rest > 0; rest /= 10)
            total += rest % 10;
    return total;
}

double simpson(int64_t strips, double width) {
    double step = width / strips, total = 0.0;
    for (int64_t i = 0; i <= strips; i++) {
        double x = i * step;
        double y = x * x + 3.0 * x;
        if (i == 0 || i == strips)
            total += y;
        else if (i % 2 == 1)
            total += 4.0 * y;
        else
            total += 2.0 * y;
    }
    return total * step / 3.0;
}

int64_t add(int64_t x, int64_t y) {
    return x + y;
}

int64_t fib(int64_t n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int64_t tak(int64_t x, int64_t y, int64_t z) {
    return y >= x ? z : tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y));
}

int64_t ackermann(int64_t m, int64_t n) {
    if (m == 0)
        return n + 1;
    if (n == 0)
        return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

int64_t queens(int64_t size, int64_t row, int64_t columns, int64_t down, int64_t up) {
    if (row == size)
        return 1;
    int64_t count = 0, rest = (((int64_t)1 << size) - 1) & ~(columns | down | up);
    while (rest) {
        int64_t place = rest & -rest;
        rest ^= place;
        count += queens(size, row + 1, columns | place, (down | place) << 1, (up | place) >> 1);
    }
    return count;
}

static double curve(double x) {
    return x * x * x - 2.0 * x + 1.0;
}

static double integral(double (*function)(double), double start, double stop, int64_t strips) {
    double step = (stop - start) / strips;
    double total = function(start) + function(stop);
    for (int64_t i = 1; i < strips; i++)
        total += (i % 2 ? 4.0 : 2.0) * function(start + i * step);
    return total * step / 3.0;
}

double integrate(int64_t strips) {
    return integral(curve, 0.0, 2.0, strips);
}

double sin_pow(int64_t count) {
    double total = 0.0;
    for (int64_t i = 1; i < count; i++) {
        double x = i * 0.001;
        total += sin(x) * pow(x, 1.5);
    }
    return total;
}

int64_t sieve(int64_t limit) {
    char *composite = calloc(limit, 1);
    if (composite == NULL)
        return -1;
    int64_t primes = 0;
    for (int64_t number = 2; number < limit; number++) {
        if (composite[number])
            continue;
        primes++;
        for (int64_t multiple = number * number; multiple < limit; multiple += number)
            composite[multiple] = 1;
    }
    free(composite);
    return primes;
}
