"""The Sobol sequence: points that fill the unit cube evenly, each a function of its index.

Primitive polynomials and initial direction numbers are those of S. Joe and F. Y. Kuo, Constructing
Sobol sequences with better two-dimensional projections, SIAM J. Sci. Comput. 30, 2635-2654 (2008):
the first 32 dimensions of their file new-joe-kuo-6.21201. Points are in Gray code order (I. A. Antonov
and V. M. Saleev, 1979). They are scrambled by a digital shift: the binary digits of every point are
XORed with those of one random point (P. L'Ecuyer and C. Lemieux, 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

BITS = 32

_POLYNOMIALS: tuple[tuple[int, tuple[int, ...]], ...] = (
    (3, (1,)),
    (7, (1, 3)),
    (11, (1, 3, 1)),
    (13, (1, 1, 1)),
    (19, (1, 1, 3, 3)),
    (25, (1, 3, 5, 13)),
    (37, (1, 1, 5, 5, 17)),
    (41, (1, 1, 5, 5, 5)),
    (47, (1, 1, 7, 11, 19)),
    (55, (1, 1, 5, 1, 1)),
    (59, (1, 1, 1, 3, 11)),
    (61, (1, 3, 5, 5, 31)),
    (67, (1, 3, 3, 9, 7, 49)),
    (91, (1, 1, 1, 15, 21, 21)),
    (97, (1, 3, 1, 13, 27, 49)),
    (103, (1, 1, 1, 15, 7, 5)),
    (109, (1, 3, 1, 15, 13, 25)),
    (115, (1, 1, 5, 5, 19, 61)),
    (131, (1, 3, 7, 11, 23, 15, 103)),
    (137, (1, 3, 7, 13, 13, 15, 69)),
    (143, (1, 1, 3, 13, 7, 35, 63)),
    (145, (1, 3, 5, 9, 1, 25, 53)),
    (157, (1, 3, 1, 13, 9, 35, 107)),
    (167, (1, 3, 1, 5, 27, 61, 31)),
    (171, (1, 1, 5, 11, 19, 41, 61)),
    (185, (1, 3, 5, 3, 3, 13, 69)),
    (191, (1, 1, 7, 13, 1, 19, 1)),
    (193, (1, 3, 7, 5, 13, 19, 59)),
    (203, (1, 1, 3, 9, 25, 29, 41)),
    (211, (1, 3, 5, 13, 23, 1, 55)),
    (213, (1, 3, 7, 3, 13, 59, 17)),
)
"""For each dimension from the second: a primitive polynomial over GF(2), its coefficients as bits, and
the initial direction numbers m₁, m₂, …"""


def sobol_point(number: int, shifts: Sequence[int]) -> tuple[float, ...]:
    """Return a point of the sequence in [0, 1)^d.

    Args:
        number: Index of the point, from 0 and below 2³².
        shifts: For each of d ≤ 32 dimensions, 32 bits to XOR; 0 for the unscrambled sequence.
    """
    code = number ^ (number >> 1)
    point = []
    for dimension, shift in enumerate(shifts):
        digits = shift
        for bit, direction in enumerate(_directions(dimension)):
            if code >> bit & 1:
                digits ^= direction
        point.append(digits / 2**BITS)
    return tuple(point)


@cache
def _directions(dimension: int) -> tuple[int, ...]:
    """Return the direction numbers of a dimension, counted from 0, as 32-bit fractions."""
    if dimension == 0:
        return tuple(1 << (BITS - 1 - bit) for bit in range(BITS))
    polynomial, first = _POLYNOMIALS[dimension - 1]
    degree = len(first)
    directions = [m << (BITS - 1 - bit) for bit, m in enumerate(first)]
    for bit in range(degree, BITS):
        value = directions[bit - degree] ^ (directions[bit - degree] >> degree)
        for step in range(1, degree):
            if polynomial >> (degree - step) & 1:
                value ^= directions[bit - step]
        directions.append(value)
    return tuple(directions)
