"""Bounds of a test loss in [0, 1] by flatness: the theorem of Foret et al., and McAllester's.

For n training samples, k parameters w, a radius rho, and all draws of the samples but a part delta,

    L_test(w) <= max_{|e| <= rho} L_train(w + e) + slack(w, rho).

The theorem takes it for granted that Gaussian noise on the weights, of a standard deviation of
`spread`, does not lower the mean test loss. In double precision, of plain numbers. A slack of 1 or
more bounds nothing: it is vacuous.
"""

import math

DELTA = 0.05


def spread(rho: float, parameters: int, samples: int) -> float:
    """The standard deviation of noise that stays in the ball of radius rho but for a part 1/sqrt n.

    sigma = rho / (sqrt k + sqrt log n), as the proof of the theorem has it.
    """
    return rho / (math.sqrt(parameters) + math.sqrt(math.log(samples)))


def foret(norm: float, rho: float, parameters: int, samples: int, delta: float = DELTA) -> float:
    """The slack of theorem 2 of Foret et al. (2021, appendix A.1), with their proof's O(1).

        sqrt((k log(1 + |w|^2 / rho^2 (1 + sqrt(log n / k))^2) + 4 log(n / delta)
              + 8 log(6 n + 3 k)) / (n - 1))

    Args:
        norm: Euclidean, of the weights.
        rho: radius.
        parameters: k.
        samples: n.
        delta: part of the draws for which it need not hold.
    """
    k, n = parameters, samples
    ratio = (norm / rho * (1 + math.sqrt(math.log(n) / k))) ** 2
    inside = k * math.log1p(ratio) + 4 * math.log(n / delta) + 8 * math.log(6 * n + 3 * k)
    return math.sqrt(inside / (n - 1))


def mcallester(
    norm: float, rho: float, parameters: int, samples: int, delta: float = DELTA
) -> float:
    """McAllester's slack sqrt((KL(Q || P) + log(n / delta)) / (2 (n - 1))), of the mean over Q.

    Q is N(w, sigma^2) with sigma of `spread`, P is N(0, sigma^2): KL = |w|^2 / (2 sigma^2). It
    bounds the mean test loss over Q by the mean training loss over Q.
    """
    divergence = norm**2 / (2 * spread(rho, parameters, samples) ** 2)
    return math.sqrt((divergence + math.log(samples / delta)) / (2 * (samples - 1)))


def telling_radius(norm: float, parameters: int, samples: int, delta: float = DELTA) -> float:
    """The radius from which the slack of `foret` is below 1; infinite where it is at none."""
    k, n = parameters, samples
    left = (n - 1) - 4 * math.log(n / delta) - 8 * math.log(6 * n + 3 * k)
    if left <= 0:
        return math.inf
    try:
        ratio = math.expm1(left / k)
    except OverflowError:
        return 0.0
    return norm * (1 + math.sqrt(math.log(n) / k)) / math.sqrt(ratio)
