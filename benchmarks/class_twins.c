/* The class kernels in C, with structs: the same operations in the same order. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    double x, y, z, vx, vy, vz, mass;
} Body;

static void attract(Body *a, Body *b, double dt) {
    double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
    double distance = dx * dx + dy * dy + dz * dz;
    double strength = dt / (distance * sqrt(distance));
    a->vx -= dx * b->mass * strength;
    a->vy -= dy * b->mass * strength;
    a->vz -= dz * b->mass * strength;
    b->vx += dx * a->mass * strength;
    b->vy += dy * a->mass * strength;
    b->vz += dz * a->mass * strength;
}

double orbits(int64_t count, int64_t steps) {
    Body *bodies = malloc(count * sizeof(Body));
    for (int64_t i = 0; i < count; i++)
        bodies[i] = (Body){i * 1.0, i * i * 0.5, -0.25 * i, 0.01 * i, 0.0, -0.02 * i, 1.0 + 0.1 * i};
    for (int64_t step = 0; step < steps; step++) {
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = i + 1; j < count; j++)
                attract(&bodies[i], &bodies[j], 0.001);
        for (int64_t i = 0; i < count; i++) {
            bodies[i].x += bodies[i].vx * 0.001;
            bodies[i].y += bodies[i].vy * 0.001;
            bodies[i].z += bodies[i].vz * 0.001;
        }
    }
    double total = 0.0;
    for (int64_t i = 0; i < count; i++)
        total += bodies[i].x * bodies[i].mass;
    free(bodies);
    return total;
}

typedef struct {
    double x, y, z;
} Vector;

static Vector minus(Vector a, Vector b) {
    return (Vector){a.x - b.x, a.y - b.y, a.z - b.z};
}

static Vector plus(Vector a, Vector b) {
    return (Vector){a.x + b.x, a.y + b.y, a.z + b.z};
}

static Vector times(Vector a, double factor) {
    return (Vector){a.x * factor, a.y * factor, a.z * factor};
}

static double dot(Vector a, Vector b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

double pendulum(int64_t steps) {
    Vector place = {1.0, 0.0, 0.5}, speed = {0.0, 0.6, 0.1}, centre = {0.0, 0.0, 0.0};
    for (int64_t step = 0; step < steps; step++) {
        speed = plus(speed, times(minus(centre, place), 0.01));
        place = plus(place, times(speed, 0.01));
    }
    return dot(place, place) + sqrt(dot(speed, speed));
}

typedef struct {
    Vector centre;
    double radius, shade;
} Sphere;

static double distance_to(const Sphere *sphere, Vector origin, Vector direction) {
    Vector between = minus(sphere->centre, origin);
    double along = dot(between, direction);
    double rest = sphere->radius * sphere->radius - dot(between, between) + along * along;
    if (rest < 0.0)
        return -1.0;
    return along - sqrt(rest);
}

double rays(int64_t width, int64_t height) {
    Sphere spheres[6];
    Vector eye = {0.0, 0.0, -4.0};
    for (int64_t i = 0; i < 6; i++)
        spheres[i] = (Sphere){{0.7 * i - 2.0, 0.3 * i - 0.8, 0.5 * i}, 0.6, 0.1 + 0.15 * i};
    double total = 0.0;
    for (int64_t row = 0; row < height; row++)
        for (int64_t column = 0; column < width; column++) {
            Vector v = {(2.0 * column - width) / width, (2.0 * row - height) / height, 2.0};
            Vector direction = times(v, 1.0 / sqrt(dot(v, v)));
            double nearest = 1e30, shade = 0.0;
            for (int64_t i = 0; i < 6; i++) {
                double distance = distance_to(&spheres[i], eye, direction);
                if (0.0 < distance && distance < nearest) {
                    nearest = distance;
                    shade = spheres[i].shade * -direction.z;
                }
            }
            total += shade;
        }
    return total;
}

typedef struct {
    double x, y, vx, vy;
} Particle;

static void step_particle(Particle *p, double dt) {
    p->vy -= 9.81 * dt;
    p->x += p->vx * dt;
    p->y += p->vy * dt;
    if (p->y < 0.0) {
        p->y = -p->y;
        p->vy = -0.9 * p->vy;
    }
    if (p->x < 0.0 || p->x > 10.0)
        p->vx = -p->vx;
}

double fountain(int64_t count, int64_t steps) {
    Particle *particles = malloc(count * sizeof(Particle));
    for (int64_t i = 0; i < count; i++)
        particles[i] = (Particle){0.1 * i, 1.0, 0.3 * i - 2.0, 5.0 + 0.1 * i};
    for (int64_t step = 0; step < steps; step++)
        for (int64_t i = 0; i < count; i++)
            step_particle(&particles[i], 0.001);
    double total = 0.0;
    for (int64_t i = 0; i < count; i++) {
        Particle *p = &particles[i];
        total += 9.81 * p->y + 0.5 * (p->vx * p->vx + p->vy * p->vy);
    }
    free(particles);
    return total;
}

int64_t julia(int64_t size, int64_t limit) {
    double re = -0.7, im = 0.27015;
    int64_t total = 0;
    for (int64_t row = 0; row < size; row++)
        for (int64_t column = 0; column < size; column++) {
            double x = 3.0 * column / size - 1.5, y = 3.0 * row / size - 1.5;
            int64_t rounds = 0;
            while (rounds < limit && sqrt(x * x + y * y) < 2.0) {
                double next = x * x - y * y + re;
                y = x * y + y * x + im;
                x = next;
                rounds++;
            }
            total += rounds;
        }
    return total;
}

typedef struct {
    int64_t above, below;
} Ratio;

static Ratio ratio(int64_t above, int64_t below) {
    int64_t a = above, b = below;
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return (Ratio){above / a, below / a};
}

static Ratio sum(Ratio a, Ratio b) {
    return ratio(a.above * b.below + b.above * a.below, a.below * b.below);
}

int64_t ratios(int64_t count) {
    Ratio one = ratio(1, 1);
    int64_t total = 0;
    for (int64_t i = 1; i < count; i++) {
        Ratio part = sum(ratio(i % 7 + 1, i % 11 + 2), ratio(i % 5 + 1, i % 3 + 4));
        total += part.above * 3 + part.below;
        if (part.above * one.below < one.above * part.below)
            total++;
    }
    return total;
}

typedef struct {
    int64_t state;
} Generator;

static double uniform(Generator *generator) {
    generator->state = (generator->state * 1103515245 + 12345) % 2147483648;
    return generator->state / 2147483648.0;
}

double darts(int64_t count) {
    Generator generator = {42};
    int64_t inside = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = uniform(&generator), y = uniform(&generator);
        if (x * x + y * y <= 1.0)
            inside++;
    }
    return 4.0 * inside / count;
}

typedef struct {
    int kind;
    double scale, size;
} Shape;

static double area(const Shape *shape) {
    double own = shape->scale * shape->scale;
    if (shape->kind == 0)
        return own;
    if (shape->kind == 1)
        return own * shape->size * shape->size;
    return 3.141592653589793 * own * shape->size * shape->size;
}

double shapes(int64_t count, int64_t rounds) {
    Shape *found = malloc(count * sizeof(Shape));
    for (int64_t i = 0; i < count; i++) {
        if (i % 3 == 0)
            found[i] = (Shape){0, 1.0 + i, 0.0};
        else if (i % 3 == 1)
            found[i] = (Shape){1, 1.0, 0.5 * i};
        else
            found[i] = (Shape){2, 2.0, 0.25 * i};
    }
    double total = 0.0;
    for (int64_t number = 0; number < rounds; number++)
        for (int64_t i = 0; i < count; i++) {
            double factor = number % 2 ? 1.01 : 0.99;
            found[i].scale *= found[i].kind == 2 ? 1.0 / factor : factor;
            total += area(&found[i]);
        }
    free(found);
    return total;
}

typedef struct {
    int64_t count;
    double mean, squares;
} Moments;

double welford(int64_t count) {
    Moments moments = {0, 0.0, 0.0};
    double x = 0.3;
    for (int64_t i = 0; i < count; i++) {
        x = 3.7 * x * (1.0 - x);
        moments.count++;
        double before = x - moments.mean;
        moments.mean += before / moments.count;
        moments.squares += before * (x - moments.mean);
    }
    return moments.mean + (moments.count ? moments.squares / moments.count : 0.0);
}

typedef struct Node {
    int64_t key;
    struct Node *left, *right;
} Node;

static Node *node(int64_t key) {
    Node *made = malloc(sizeof(Node));
    *made = (Node){key, NULL, NULL};
    return made;
}

static void insert(Node *self, int64_t key) {
    if (key < self->key) {
        if (self->left == NULL)
            self->left = node(key);
        else
            insert(self->left, key);
    } else if (self->right == NULL)
        self->right = node(key);
    else
        insert(self->right, key);
}

static int64_t total_of(const Node *self, int64_t depth) {
    int64_t found = self->key * depth;
    if (self->left != NULL)
        found += total_of(self->left, depth + 1);
    if (self->right != NULL)
        found += total_of(self->right, depth + 1);
    return found;
}

static void drop(Node *self) {
    if (self != NULL) {
        drop(self->left);
        drop(self->right);
        free(self);
    }
}

int64_t tree(int64_t count, int64_t rounds) {
    int64_t x = 17, total = 0;
    Node *root = node(500000);
    for (int64_t i = 0; i < count; i++) {
        x = x * 16807 % 2147483647;
        insert(root, x % 1000000);
    }
    for (int64_t i = 0; i < rounds; i++)
        total += total_of(root, 1);
    drop(root);
    return total;
}

typedef struct Link {
    double value;
    struct Link *following;
} Link;

double chain(int64_t count, int64_t rounds) {
    Link *first = NULL;
    for (int64_t i = 0; i < count; i++) {
        Link *made = malloc(sizeof(Link));
        *made = (Link){i * 0.5, first};
        first = made;
    }
    double total = 0.0;
    for (int64_t i = 0; i < rounds; i++)
        for (Link *link = first; link != NULL; link = link->following)
            total += link->value;
    while (first != NULL) {
        Link *following = first->following;
        free(first);
        first = following;
    }
    return total;
}

typedef struct {
    int64_t a, b, c, d;
} Matrix;

static Matrix product(Matrix m, Matrix n) {
    return (Matrix){
        (m.a * n.a + m.b * n.c) % 1000003,
        (m.a * n.b + m.b * n.d) % 1000003,
        (m.c * n.a + m.d * n.c) % 1000003,
        (m.c * n.b + m.d * n.d) % 1000003,
    };
}

int64_t fibonacci(int64_t count) {
    int64_t total = 0;
    for (int64_t i = 0; i < count; i++) {
        Matrix base = {1, 1, 1, 0}, result = {1, 0, 0, 1};
        for (int64_t exponent = i; exponent; exponent >>= 1) {
            if (exponent & 1)
                result = product(result, base);
            base = product(base, base);
        }
        total += result.b;
    }
    return total;
}

typedef struct {
    double height, speed, mass;
} Knot;

double rope(int64_t count, int64_t steps) {
    Knot *knots = malloc(count * sizeof(Knot));
    for (int64_t i = 0; i < count; i++)
        knots[i] = (Knot){0.0, 0.0, 1.0};
    knots[count / 2].speed = 5.0;
    for (int64_t step = 0; step < steps; step++) {
        for (int64_t i = 1; i < count - 1; i++) {
            double force = knots[i - 1].height + knots[i + 1].height - 2.0 * knots[i].height;
            knots[i].speed += force / knots[i].mass * 0.01;
        }
        for (int64_t i = 0; i < count; i++)
            knots[i].height += knots[i].speed * 0.01;
    }
    double total = 0.0;
    for (int64_t i = 0; i < count; i++)
        total += knots[i].height * knots[i].height + knots[i].speed * knots[i].speed;
    free(knots);
    return total;
}

typedef struct {
    int64_t width, height;
    char *cells;
} Grid;

static int64_t neighbours(const Grid *grid, int64_t column, int64_t row) {
    int64_t count = 0;
    for (int64_t dy = -1; dy <= 1; dy++)
        for (int64_t dx = -1; dx <= 1; dx++)
            if (dx || dy) {
                int64_t x = (column + dx + grid->width) % grid->width;
                int64_t y = (row + dy + grid->height) % grid->height;
                count += grid->cells[y * grid->width + x];
            }
    return count;
}

int64_t life(int64_t size, int64_t steps) {
    Grid grid = {size, size, malloc(size * size)};
    for (int64_t i = 0; i < size * size; i++)
        grid.cells[i] = i * 7919 % 13 < 5;
    for (int64_t step = 0; step < steps; step++) {
        char *after = malloc(size * size);
        for (int64_t row = 0; row < size; row++)
            for (int64_t column = 0; column < size; column++) {
                int64_t count = neighbours(&grid, column, row), here = row * size + column;
                after[here] = count == 3 || (count == 2 && grid.cells[here]);
            }
        free(grid.cells);
        grid.cells = after;
    }
    int64_t alive = 0;
    for (int64_t i = 0; i < size * size; i++)
        alive += grid.cells[i];
    free(grid.cells);
    return alive;
}
