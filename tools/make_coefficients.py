#!/usr/bin/env python3
"""Prints kernels/coefficients.h: the polynomials that the kernels use instead of libm.

Each is the interpolant at Chebyshev points of its interval, worked out in exact fractions from values of 50 digits, and
printed with 17 digits. Run: python3 tools/make_coefficients.py > kernels/coefficients.h
"""
from decimal import Decimal, getcontext
from fractions import Fraction
import math

getcontext().prec = 50
PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def erf(x):
    """erf by its power series: 50 digits suffice for |x| <= 5 (terms reach 1e10)."""
    x = Decimal(x)
    total, term, n = Decimal(0), x, 0
    while abs(term) > Decimal(10) ** -48 or n < 4:
        total += term / (2 * n + 1)
        n += 1
        term = -term * x * x / n
    return 2 * total / PI.sqrt()


def phi_tail(a):
    """1 - Phi(a) of the normal distribution."""
    return (1 - erf(Decimal(a) / Decimal(2).sqrt())) / 2


def density(a):
    a = Decimal(a)
    return (-a * a / 2).exp() / (2 * PI).sqrt()


def fit(function, low, high, degree, local=False):
    """Coefficients, constant first, of the interpolant on [low, high]; in (x - low)/(high - low) where local."""
    low, high = Decimal(low), Decimal(high)
    points = []
    for i in range(degree + 1):
        c = Decimal(math.cos(math.pi * (2 * i + 1) / (2 * degree + 2)))
        points.append((low + high) / 2 + (high - low) / 2 * c)
    xs = [Fraction((p - low) / (high - low) if local else p) for p in points]
    table = [Fraction(function(p)) for p in points]
    for level in range(1, degree + 1):          # divided differences
        for i in range(degree, level - 1, -1):
            table[i] = (table[i] - table[i - 1]) / (xs[i] - xs[i - level])
    result = [Fraction(0)]
    for i in range(degree, -1, -1):             # result = result * (x - xs[i]) + table[i]
        shifted = [Fraction(0)] + result
        result = [s - xs[i] * r for s, r in zip(shifted, result + [Fraction(0)])]
        result[0] += table[i]
    return [float(c) for c in result[:degree + 1]]


def pieces(function, over_x):
    """16 pieces of width 5.6/15.5 around 0, 1 .. 15 widths, in the place -1/2..1/2 within a piece; row d holds coefficient d of
    every piece. The first piece, of which only the upper half is used, is x times a fit of over_x: exactly zero at zero."""
    width = Decimal("5.6") / Decimal("15.5")
    rows = []
    for i in range(16):
        low, high = width * (i - Decimal("0.5")), width * (i + Decimal("0.5"))
        if i == 0:
            inner = fit(lambda f: over_x(Decimal(f) * width), "1e-30", "0.5", 4)
            rows.append([0.0] + [c * float(width) for c in inner])
        else:
            rows.append(fit(lambda f, i=i: function((Decimal(f) + i) * width), "-0.5", "0.5", 5))
    return [[row[d] for row in rows] for d in range(6)]


def show(name, comment, rows, flat=False):
    print(f"/* {comment} */")
    if flat:
        print(f"static const float {name}[{len(rows)}] = {{")
        print("    " + ",\n    ".join(f"{c:.17g}f" if "." in f"{c:.17g}" or "e" in f"{c:.17g}" else f"{c:.1f}f" for c in rows) + "};\n")
        return
    print(f"static const float {name}[{len(rows)}][{len(rows[0])}] = {{")
    for row in rows:
        cells = [f"{c:.17g}f" if "." in f"{c:.17g}" or "e" in f"{c:.17g}" else f"{c:.1f}f" for c in row]
        print("    {" + ",\n     ".join(", ".join(cells[i:i + 4]) for i in range(0, len(cells), 4)) + "},")
    print("};\n")


def main():
    ln2 = Decimal(2).ln()
    print("""/* Polynomials of the kernels: made by tools/make_coefficients.py, which holds the functions and intervals. Data alone, so
 * that the files of every ISA may include it. */
#ifndef SIEVE_KERNELS_COEFFICIENTS_H
#define SIEVE_KERNELS_COEFFICIENTS_H

/* clang-format off */
""")
    show("sv_coefficients_exp2", "2^f for f in [-1/2, 1/2]: relative error 8e-8 in float arithmetic. Constant first.",
         fit(lambda f: (Decimal(f) * ln2).exp(), "-0.5", "0.5", 6), flat=True)

    def log_rest(z):                            # R(z)/z, z = s^2, of log(1+f) = 2 atanh(s), s = f/(2+f)
        s = Decimal(z).sqrt()
        return ((1 + s).ln() - (1 - s).ln() - 2 * s) / (s * s * s)
    show("sv_coefficients_ln", "(2 atanh(s) - 2 s) / s^3 in z = s^2, z in [0, 0.02944]: log(1 + f), s = f / (2 + f).",
         fit(log_rest, "0", "0.02944", 3), flat=True)
    show("sv_coefficients_erf", "erf(x)/x in x^2, |x| <= 1.",
         fit(lambda z: erf(Decimal(z).sqrt()) / Decimal(z).sqrt(), "0", "1", 6), flat=True)
    tail = [fit(lambda x: 1 - erf(x), Decimal(1) + Decimal(3) * i / 8, Decimal(1) + Decimal(3) * (i + 1) / 8, 5, local=True)
            for i in range(8)]
    show("sv_coefficients_erfc", "1 - erf(x) on 8 equal pieces of [1, 4], in the place 0..1 within a piece; row d: coefficient d.",
         [[t[d] for t in tail] for d in range(6)])
    show("sv_coefficients_gelu",
         "h(a) = a (1 - Phi(a)) on 16 pieces of width 5.6/15.5 around 0, 1 .. 15 widths, in the place -1/2..1/2 within a piece;\n"
         " * row d: coefficient d. gelu(x) = max(x, 0) - h(|x|): error 2.4e-7 over [-8, 8].",
         pieces(lambda a: a * phi_tail(a), phi_tail))
    show("sv_coefficients_gelu_slope",
         "gelu'(a) - 1/2 = 1/2 - (1 - Phi(a)) + a phi(a), an odd function, on the same pieces: error 3.6e-7.",
         pieces(lambda a: Decimal("0.5") - phi_tail(a) + a * density(a),
                lambda a: (Decimal("0.5") - phi_tail(a)) / a + density(a)))
    print("/* clang-format on */\n#endif")


main()
