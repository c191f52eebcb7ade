"""Three equal masses chase one another round a figure of eight, and the energy should not change.

The kernel is one function over floats: positions and velocities are 12 local variables. It steps with the
leapfrog method, whose energy error stays bounded, and returns the relative drift. One round takes 6.3259
units of time.
"""

import math

from _timing import compare, parser


def energy_drift(steps: int, dt: float) -> float:
    """Move the bodies a, b, c by `steps` leaps of `dt`; return the relative change of their energy."""
    ax, ay = 0.97000436, -0.24308753
    bx, by = -0.97000436, 0.24308753
    cx, cy = 0.0, 0.0
    au = bu = 0.466203685
    av = bv = 0.43236573
    cu, cv = -0.93240737, -0.86473146
    before = 0.0
    for step in range(steps + 1):
        abx, aby = bx - ax, by - ay
        bcx, bcy = cx - bx, cy - by
        cax, cay = ax - cx, ay - cy
        ab = math.sqrt(abx * abx + aby * aby)
        bc = math.sqrt(bcx * bcx + bcy * bcy)
        ca = math.sqrt(cax * cax + cay * cay)
        # Each force, times half a step: half a kick before the leap, half a kick after it.
        fab = 0.5 * dt / (ab * ab * ab)
        fbc = 0.5 * dt / (bc * bc * bc)
        fca = 0.5 * dt / (ca * ca * ca)
        kick_au, kick_av = fab * abx - fca * cax, fab * aby - fca * cay
        kick_bu, kick_bv = fbc * bcx - fab * abx, fbc * bcy - fab * aby
        kick_cu, kick_cv = fca * cax - fbc * bcx, fca * cay - fbc * bcy
        if step > 0:
            au, av = au + kick_au, av + kick_av
            bu, bv = bu + kick_bu, bv + kick_bv
            cu, cv = cu + kick_cu, cv + kick_cv
        # Positions and velocities belong to the same time only here, between the two half kicks.
        kinetic = 0.5 * (au * au + av * av + bu * bu + bv * bv + cu * cu + cv * cv)
        energy = kinetic - 1.0 / ab - 1.0 / bc - 1.0 / ca
        if step == 0:
            before = energy
        au, av = au + kick_au, av + kick_av
        bu, bv = bu + kick_bu, bv + kick_bv
        cu, cv = cu + kick_cu, cv + kick_cv
        ax, ay = ax + dt * au, ay + dt * av
        bx, by = bx + dt * bu, by + dt * bv
        cx, cy = cx + dt * cu, cy + dt * cv
    return (energy - before) / before


def main() -> None:
    arguments = parser("Three bodies on a figure of eight.")
    arguments.add_argument("--steps", type=int, default=1_500_000)
    arguments.add_argument("--dt", type=float, default=0.001)
    options = arguments.parse_args()
    drift = compare(lambda: energy_drift(options.steps, options.dt), energy_drift, jit=options.jit)
    print(f"energy drift after {options.steps} steps: {drift:.3e}")


if __name__ == "__main__":
    main()
