"""What a law costs: bits for its residuals, its tokens and its numbers. The law of least price is the one chosen.

With many rows the price is a description length (Rissanen 1978; for symbolic regression: Udrescu et al. 2020):
what the residuals cost under Gaussian noise, plus the tokens, plus each number to the digits that the data fix.
With few rows that buries every law: a token costs what a row gains. There the price is Akaike's information
criterion with the correction for few rows (Hurvich and Tsai 1989), which estimates how well a law predicts new
rows, and little more than one bit for a token, for the many laws that were tried; a sine, which can follow any few
rows, costs more. In between it is the mean of both, and a table that a law explains to a part in a thousand has
hardly any noise that could be followed: there the description length decides at any number of rows, lest eight
planets turn the 3/2 of Kepler's law into 1.4997. The bits of few rows are those with which laws found on three
quarters of 22 measured tables and 6 random ones predicted the last quarter best (`docs/symbolic.md`).
"""

import math
from collections.abc import Sequence

from rl_suite.symbolic.laws.law import Law

EXACT_NMSE = 1e-24  # below, residuals are rounding errors and more digits prove nothing
FEW_ROWS, MANY_ROWS = 40, 100  # up to the first, Akaike's criterion alone; from the second, description length alone
TOKEN_BITS, FEW_TOKEN_BITS = 4.0, 1.25
# Laws have exponents such as 3/2; one that is measured must explain more than an ordinary constant.
EXPONENT_BITS, FEW_EXPONENT_BITS = 20.0, 3.0
FEW_PERIODIC_BITS = 4.0  # of a sine, cosine or tangent
FEW_NUMBER_BITS = 1 / math.log(2)  # of a recognised number: no more than of a measured one; chance is tested elsewhere
PLAIN_BITS = 6.0  # of 1, 2, 1/2, 3/2, pi; a number that takes more, such as 19/3, was fitted before it was recognised
CONSTANT_BITS = 3.0
NOISY, PRECISE = 1e-4, 1e-6  # share of the variance left: from the first on few rows count as few, below the second not
LEAST_FREEDOM = 0.5  # what is left of the rows where a law has as many constants


def few(n: int, nmse: float = 1.0) -> float:
    """How far n rows are few, where a law leaves this share unexplained: 1 is AICc alone, 0 description length."""
    rows = (MANY_ROWS - n) / (MANY_ROWS - FEW_ROWS)
    noise = math.log(nmse / PRECISE) / math.log(NOISY / PRECISE)
    return min(1.0, max(0.0, rows)) * min(1.0, max(0.0, noise))


def token_bits(n: int, nmse: float = 1.0) -> float:
    """Bits that one token costs at n rows."""
    share = few(n, nmse)
    return share * FEW_TOKEN_BITS + (1 - share) * TOKEN_BITS


def price(law: Law, nmse: float, sizes: Sequence[int]) -> float:
    """Bits of the residuals of datasets of these sizes, of the law, and of its constants (one set per dataset)."""
    n, floor = sum(sizes), max(nmse, EXACT_NMSE)
    share = few(n, floor)
    exponent = share * FEW_EXPONENT_BITS + (1 - share) * EXPONENT_BITS
    said = token_bits(n, floor) * len(law.program) + exponent * law.measured_exponents
    said += share * FEW_PERIODIC_BITS * law.periodic_functions
    for bits in law.number_bits:
        said += share * min(bits, FEW_NUMBER_BITS) + (1 - share) * bits
    fitted = law.n_free * len(sizes) + sum(bits > PLAIN_BITS for bits in law.number_bits)
    numbers = share * _akaike(fitted, n) if share else 0.0
    if share < 1:
        digits = sum(0.5 * math.log2(m / floor) for m in sizes)  # the data fix a constant to so many binary digits
        numbers += (1 - share) * law.n_free * (CONSTANT_BITS * len(sizes) + digits)
    return 0.5 * n * math.log2(floor) + said + numbers


def _akaike(free: int, n: int) -> float:
    """Corrected penalty of so many measured constants and the variance of the noise, in bits."""
    k = free + 1
    return (k + k * (k + 1) / max(n - k - 1, LEAST_FREEDOM)) / math.log(2)
