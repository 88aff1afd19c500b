"""Derives the polynomials of src/kernels/cpu/isa/math.h (development only; prints C++ arrays and the error reached).

Each is a weighted Chebyshev interpolation improved by iteratively re-weighted least squares towards the minimax solution,
rounded to float32 and evaluated in float32 Horner form against mpmath.
"""
import mpmath as mp
import numpy as np

mp.mp.dps = 40


def fit(function, low, high, degree, relative=True, points=4000, rounds=60):
    nodes = np.cos(np.linspace(0, np.pi, points))
    x = (low + high) / 2 + (high - low) / 2 * nodes
    y = np.array([float(function(mp.mpf(float(v)))) for v in x])
    weight = 1 / np.abs(y) if relative else np.ones_like(y)
    extra = np.ones_like(y)
    basis = np.polynomial.chebyshev.Chebyshev.basis
    mapped = (x - (low + high) / 2) / ((high - low) / 2)
    vander = np.polynomial.chebyshev.chebvander(mapped, degree)
    for _ in range(rounds):
        w = weight * np.sqrt(extra)
        coefficients, *_ = np.linalg.lstsq(vander * w[:, None], y * w, rcond=None)
        error = np.abs(vander @ coefficients - y) * weight
        extra *= error / error.mean() * 0.5 + 0.5
        extra /= extra.mean()
    power = np.polynomial.chebyshev.Chebyshev(coefficients, domain=[low, high]).convert(
        kind=np.polynomial.Polynomial, domain=[-1, 1], window=[-1, 1]).coef
    print(f"// max error {error.max():.3g} ({'relative' if relative else 'absolute'})")
    print("{" + ", ".join(f"{np.float32(c):.9g}f" for c in power) + "};  // constant term first")
    return power.astype(np.float32)


def horner(coefficients, x):
    total = np.float32(coefficients[-1]) * np.ones_like(x)
    for c in coefficients[-2::-1]:
        total = (total.astype(np.float64) * x + np.float64(c)).astype(np.float32)  # as one fused step
    return total


if __name__ == "__main__":
    print("exp(r), |r| <= ln2/2")
    p = fit(lambda r: mp.exp(r), -0.3466, 0.3466, 6)
    r = np.linspace(-0.3466, 0.3466, 20001).astype(np.float32)
    exact = np.exp(r.astype(np.float64))
    print("// float32 error", np.max(np.abs(horner(p, r) / exact - 1)) * 2**24, "half ulps")

    print("erfc(t) exp(t^2) as a polynomial in u = 1 / (1 + t / 2), 0 <= t <= 14")
    scaled = lambda t: mp.erfc(t) * mp.exp(t * t)
    for degree in (8, 9, 10, 11):
        p = fit(lambda u: scaled(2 * (1 / u - 1)) / u, 1 / 8, 1.0, degree)
        t = np.linspace(0, 13.9, 5001).astype(np.float32)
        u = (np.float32(1) / (np.float32(1) + np.float32(0.5) * t)).astype(np.float32)
        got = (horner(p, u) * u).astype(np.float64)
        exact = np.array([float(scaled(mp.mpf(float(v)))) for v in t])
        print("// degree", degree, "float32 error", np.max(np.abs(got / exact - 1)) * 2**24, "half ulps")

    print("tanh(x) / x in x^2, |x| <= 0.625")
    p = fit(lambda s: mp.tanh(mp.sqrt(s)) / mp.sqrt(s) if s > 0 else mp.mpf(1), 1e-12, 0.625**2, 5)
