"""Multinomial logistic regression with an L2 penalty: Newton's method, for a hundred photos or millions.

Each Newton step comes from conjugate gradients, so that no Hessian is ever held: a product with it is two products of
matrices over the features. They take tens of products, not thousands, also where classes are separable and the penalty
is next to nothing, since the preconditioner has a dense block for each class.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ial_bench import Features

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]

_KEPT_BYTES = 1 << 30  # features and probabilities that stay in memory
_BLOCK_NUMBERS = 1 << 23  # what is computed at once: rows times (classes + features)
_BLOCKS_BYTES = 512 << 20  # the preconditioner
_WIDEST_BLOCK = 192  # a class's block; its making grows with the cube
_WIDEST_TURN = 2048  # features that are turned to their principal axes; a descriptor of 32,768 is not
_ROWS_A_DIRECTION = 2  # photos that a block is made of, for each of its rows
_SURE = 1e-2  # share of the mean doubt under which a photo has no say in the direction
_PRODUCTS = 200  # with the Hessian, in one Newton step
_MANY_PRODUCTS = 12  # that a preconditioner made at an earlier step may take before it is made anew
_PROBES = 20  # of the objective along one step
_ONE_THREAD = 1 << 27  # multiplications of a matrix product below which threads wait more than they work
_FLAT = 0.3  # of the slope at its start: flat enough to end a search along a step


@dataclass(frozen=True)
class Solution:
    """Weights of a fit, and what finding them took.

    Attributes:
        classes: [k]: candidates that have photos, ascending.
        weights: float64 [k, d].
        bias: float64 [k], not penalised.
        loss: the objective, divided by C and the number of photos.
        excess: share of `loss` by which the point before the last step lay above the minimum, by Newton's estimate.
        steps: Newton steps.
        products: products with the Hessian.
        gradients: evaluations of the objective with its gradient.
    """

    classes: npt.NDArray[np.int32]
    weights: Floats
    bias: Floats
    loss: float
    excess: float
    steps: int
    products: int
    gradients: int


class _Point(NamedTuple):
    """Parameters [k, 1 + d], the intercept first, with the objective and its gradient there."""

    theta: torch.Tensor
    loss: float
    gradient: torch.Tensor


class _Seen(NamedTuple):
    """Photos at a point: float32 [n, 1 + d], probabilities [n, k], and the likeliest class [n, 1].

    A probability near one has no digits left for what it lacks of it: that is taken from all others.
    """

    x: torch.Tensor
    p: torch.Tensor
    likeliest: torch.Tensor

    def doubt(self) -> torch.Tensor:
        """``p (1 - p)`` [n, k]."""
        top = self.p.gather(1, self.likeliest)
        others = self.p.scatter(1, self.likeliest, 0).sum(dim=1, keepdim=True)
        return (self.p * (1 - self.p)).scatter_(1, self.likeliest, top * others)


class LogisticRegression:
    """Minimises ``0.5 ||W||^2 + C sum_i -log softmax(W x_i + b)[y_i]`` over the photos that have a label.

    Works on centred features of unit mean square, turned to their principal axes: centring changes nothing but the
    intercepts, which are not penalised; a common scale is undone exactly in the penalty; a turn changes no length.
    Gradients, on which the solution's precision depends, are float64; products with the Hessian, which only steer, are
    float32. Features that do not fit into memory are read anew for each of both.

    Args:
        parts: the photos' features.
        device: torch device.
    """

    def __init__(self, parts: list[Features], device: str) -> None:
        import torch

        self._torch = torch
        self._parts = parts
        self._device = "cpu" if device == "mps" else device  # Apple's GPUs have no float64
        labels = np.concatenate([p.labels for p in parts])
        self.classes = np.unique(labels[labels >= 0])
        self.n = int((labels >= 0).sum())
        size, self.dim = len(self.classes), parts[0].x.shape[1]
        self._rows = min(8192, max(256, _BLOCK_NUMBERS // (size + self.dim)))
        self.lead = min(self.dim + 1, _WIDEST_BLOCK, max(1, int((_BLOCKS_BYTES / 4 / size) ** 0.5)))
        with _threads_for(self.n * size * self.dim):
            self._look()

    def _look(self) -> None:
        """Measure the features, and keep them where they fit."""
        torch, size = self._torch, len(self.classes)
        self._mean = torch.zeros(self.dim, dtype=torch.float64, device=self._device)
        for x, _ in self._plain():
            self._mean += x.sum(dim=0) / self.n
        variances, self._axes = self._principal() if self.dim <= _WIDEST_TURN else self._widest()
        self._scale = float(variances.mean().sqrt()) or 1.0
        self.spread = torch.cat([torch.ones_like(variances[:1]), variances / self._scale**2]).float()
        small = 2 * self.n * (size + self.dim + 1) * 4 <= _KEPT_BYTES  # twice: those in doubt are copied
        self.kept = list(self._read()) if small else None

    def _plain(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for part in self._parts:
            for x, y in part.blocks(self._rows):
                labels = np.searchsorted(self.classes, y[y >= 0])
                yield (
                    self._torch.from_numpy(x[y >= 0].astype(np.float64)).to(self._device),
                    self._torch.from_numpy(labels.astype(np.int64)).to(self._device),
                )

    def _principal(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Variances [d] along the principal axes, largest first, and the axes [d, d] as columns."""
        torch = self._torch
        covariance = torch.zeros(self.dim, self.dim, dtype=torch.float64, device=self._device)
        for x, _ in self._plain():
            centred = x - self._mean
            covariance.addmm_(centred.T, centred, alpha=1 / self.n)
        variances, axes = torch.linalg.eigh(covariance)
        return variances.flip(0).clamp_(min=0), axes.flip(1)

    def _widest(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The features' own variances [d], largest first, and the order [d] that this is."""
        variances = self._torch.zeros_like(self._mean)
        for x, _ in self._plain():
            variances += (x - self._mean).square_().sum(dim=0) / self.n
        return self._torch.sort(variances, descending=True, stable=True)

    def _turn(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self._axes if self._axes.ndim == 2 else x[:, self._axes]

    def _turn_back(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self._axes.T if self._axes.ndim == 2 else x[:, self._torch.argsort(self._axes)]

    def _read(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """float32 [n, 1 + d], a one and the features as worked on, and labels."""
        for x, y in self._plain():
            turned = self._torch.ones(len(x), self.dim + 1, device=x.device)
            turned[:, 1:] = self._turn((x - self._mean) / self._scale)
            yield turned, y

    def blocks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The same, kept or read."""
        yield from self.kept if self.kept is not None else self._read()

    def solve(self, c: float, start: Solution | None, tolerance: float, max_steps: int) -> Solution:
        """The minimum.

        Args:
            c: inverse regularisation.
            start: another fit on features of this encoder, from which this one is quickly found.
            tolerance: share of the objective by which a point may lie above the minimum, by Newton's estimate, for the
                step from there to be the last.
            max_steps: Newton steps at most.
        """
        with _threads_for(self.n * len(self.classes) * self.dim):
            return self._solve(c, start, tolerance, max_steps)

    def _solve(self, c: float, start: Solution | None, tolerance: float, max_steps: int) -> Solution:
        penalty = 1.0 / (c * self.n * self._scale**2)
        here = self._at(self._begin(start), penalty)
        excess, steps, products, gradients = np.inf, 0, 0, 1
        preconditioner: _Preconditioner | None = None
        while steps < max_steps and excess > tolerance:
            curvature = _Curvature(self, here.theta, penalty)
            preconditioner = preconditioner or _Preconditioner(self, curvature)
            step, used = self._newton_step(curvature, preconditioner, here)
            if used >= _MANY_PRODUCTS:
                preconditioner = None
            excess = abs(0.5 * float((here.gradient * step).sum())) / (here.loss or 1.0)
            there, probes = self._along(here, step, penalty)
            steps, products, gradients = steps + 1, products + used, gradients + probes
            if there is here:  # nothing lower that way
                break
            here = there
            del curvature  # before the next is made: memory
        weights = self._turn_back(here.theta[:, 1:]) / self._scale
        bias = here.theta[:, 0] - weights @ self._mean
        found = weights.cpu().numpy(), bias.cpu().numpy()
        return Solution(self.classes, *found, here.loss, excess, steps, products, gradients)

    def _begin(self, start: Solution | None) -> torch.Tensor:
        import torch

        theta = torch.zeros(len(self.classes), self.dim + 1, dtype=torch.float64, device=self._device)
        if start is not None:
            _, to, of = np.intersect1d(self.classes, start.classes, return_indices=True)
            weights = torch.from_numpy(start.weights[of]).to(self._device)
            theta[to, 0] = torch.from_numpy(start.bias[of]).to(self._device) + weights @ self._mean
            theta[to, 1:] = self._turn(weights) * self._scale
            theta.sub_(theta.mean(dim=0))  # what all classes share changes no probability
        return theta

    def _at(self, theta: torch.Tensor, penalty: float) -> _Point:
        """The objective and its gradient, both divided by C n so that they are of order one."""
        torch = self._torch
        weights = theta[:, 1:]
        loss = 0.5 * penalty * float((weights**2).sum())
        gradient = torch.zeros_like(theta)
        gradient[:, 1:] = penalty * weights
        for x, y in self.blocks():
            wide = x.double()
            logits = wide @ theta.T
            total = torch.logsumexp(logits, dim=1, keepdim=True)
            loss += float((total - logits.gather(1, y[:, None])).sum()) / self.n
            error = logits.sub_(total).exp_()
            error[torch.arange(len(y), device=error.device), y] -= 1
            gradient.addmm_(error.T, wide, alpha=1 / self.n)
        return _Point(theta, loss, gradient)

    def _newton_step(
        self, curvature: _Curvature, preconditioner: _Preconditioner, here: _Point
    ) -> tuple[torch.Tensor, int]:
        """Conjugate gradients towards Newton's step, the nearer the closer the minimum is; and their number."""
        residual = -here.gradient.float()
        residual -= residual.mean(dim=0)
        step = self._torch.zeros_like(residual)
        eased = preconditioner.times(residual)
        first = left = float((residual * eased).sum())
        share = min(0.1, max(0.01, (first / (here.loss or 1.0)) ** 0.5))
        direction = eased
        used = 0
        while used < _PRODUCTS and left > share**2 * first:
            bent = curvature.times(direction)
            used += 1
            along = float((direction * bent).sum())
            if along <= 0:  # float32 has no more to give
                break
            step.add_(direction, alpha=left / along)
            residual.sub_(bent, alpha=left / along)
            eased = preconditioner.times(residual)
            before, left = left, float((residual * eased).sum())
            direction = eased + direction * (left / before)
        return step.double(), used

    def _along(self, here: _Point, step: torch.Tensor, penalty: float) -> tuple[_Point, int]:
        """Near the lowest point along a step, by secants of the slope, and the points that were looked at.

        Newton's own step falls short where classes are nearly separated and goes too far where they begin to be: one
        look more costs less than one step more.
        """
        first = float((here.gradient * step).sum())
        if first >= 0:
            return here, 0
        low, low_slope, high, high_slope = 0.0, first, np.inf, np.inf
        length, there = 1.0, here
        for probes in range(1, _PROBES + 1):
            there = self._at(here.theta + length * step, penalty)
            slope = float((there.gradient * step).sum())
            if abs(slope) <= -_FLAT * first and there.loss <= here.loss * (1 + 1e-12):
                return there, probes
            if slope < 0:
                low, low_slope = length, slope
            else:
                high, high_slope = length, slope
            if np.isinf(high):
                length *= min(3.0, first / (first - slope)) if slope > first else 3.0
            else:
                secant = low + (high - low) * low_slope / (low_slope - high_slope)
                length = min(max(secant, low + 0.1 * (high - low)), high - 0.1 * (high - low))
        return (there if there.loss <= here.loss else here), _PROBES


class _Curvature:
    """Products with the Hessian at a point.

    Photos of which the fit is all but certain, by far the most where penalties are weak, bend the objective next to
    nothing and are left out where probabilities are kept: that changes the way to the minimum, not where it lies.
    """

    def __init__(self, problem: LogisticRegression, theta: torch.Tensor, penalty: float) -> None:
        import torch

        self._torch = torch
        self._problem = problem
        self._theta = theta.float()
        self.penalty = penalty
        self._kept: list[_Seen] | None = self._doubtful() if problem.kept is not None else None

    def blocks(self) -> Iterator[_Seen]:
        """Photos that bend the objective."""
        yield from self._kept if self._kept is not None else self._all()

    def _all(self) -> Iterator[_Seen]:
        for x, _ in self._problem.blocks():
            p = self._torch.softmax(x @ self._theta.T, dim=1)
            yield _Seen(x, p, p.argmax(dim=1, keepdim=True))

    def _doubtful(self) -> list[_Seen]:
        found = [(block, block.doubt().sum(dim=1)) for block in self._all()]
        least = _SURE * sum(float(doubt.sum()) for _, doubt in found) / self._problem.n
        return [_Seen(*(part[doubt >= least] for part in block)) for block, doubt in found]

    def times(self, v: torch.Tensor) -> torch.Tensor:
        """The product with float32 [k, 1 + d]."""
        product = self._torch.zeros_like(v)
        product[:, 1:] = self.penalty * v[:, 1:]
        for x, p, likeliest in self.blocks():
            z = x @ v.T
            z.sub_(z.gather(1, likeliest)).mul_(p)
            z.addcmul_(p, z.sum(dim=1, keepdim=True), value=-1)
            product.addmm_(z.T, x, alpha=1 / self._problem.n)
        return product


class _Preconditioner:
    """Roughly the Hessian's inverse: of each class alone, and kept from what all classes share.

    A class's block over the leading axes is made of the photos that weigh most in it, and of the spread of all photos
    for the rest of its weight; over the other axes it is diagonal. What is added to all classes alike changes no
    probability: left in, it would be curvature that blocks see and the Hessian lacks.
    """

    def __init__(self, problem: LogisticRegression, curvature: _Curvature) -> None:
        import torch

        self._torch = torch
        size, lead = len(problem.classes), problem.lead
        spread, n = problem.spread, problem.n
        ridge = torch.full_like(spread, curvature.penalty)
        ridge[0] = 1e-12
        self._inverses = torch.zeros(size, lead, lead, device=spread.device)
        weight, used = torch.zeros(2, size, 1, device=spread.device)
        for block in curvature.blocks():
            x, doubt = block.x, block.doubt().T.contiguous()
            count = min(len(x), max(16, _ROWS_A_DIRECTION * lead * len(x) // n))
            top, rows = doubt.topk(count, dim=1, sorted=False)
            weight += doubt.sum(dim=1, keepdim=True) / n
            used += top.sum(dim=1, keepdim=True) / n
            for part in _chunks(size, count * lead):
                seen = x[rows[part], :lead] * (top[part, :, None] / n).sqrt_()
                self._inverses[part].baddbmm_(seen.mT, seen)
        rest = (weight - used).clamp_(min=0) * spread[:lead] + ridge[:lead]
        self._inverses.diagonal(dim1=1, dim2=2).add_(rest)
        for part in _chunks(size, 2 * lead * lead):
            self._invert(self._inverses[part])
        self._weak = 1 / (weight * spread[lead:] + ridge[lead:])

    def _invert(self, blocks: torch.Tensor) -> None:
        torch = self._torch
        wide = blocks.double()
        norms = wide.diagonal(dim1=1, dim2=2).rsqrt()
        wide *= norms[:, :, None] * norms[:, None, :]
        wide.diagonal(dim1=1, dim2=2).add_(1e-5)  # so that float32 can hold the inverse
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(wide))
        blocks.copy_(inverse.mul_(norms[:, :, None] * norms[:, None, :]))

    def times(self, r: torch.Tensor) -> torch.Tensor:
        """The product with float32 [k, 1 + d], whose rows add up to zero."""
        lead = self._inverses.shape[1]
        strong = self._torch.bmm(r[:, None, :lead], self._inverses)[:, 0]
        eased = self._torch.cat([strong, r[:, lead:] * self._weak], dim=1)
        return eased - eased.mean(dim=0)


def _chunks(size: int, numbers: int) -> Iterator[slice]:
    """Slices of `size` classes, each of as many as `numbers` a class allow at once."""
    at_once = max(1, _BLOCK_NUMBERS // numbers)
    return (slice(i, i + at_once) for i in range(0, size, at_once))


@contextmanager
def _threads_for(multiplications: int) -> Iterator[None]:
    """One thread for small matrices, so that their number changes nothing there; for large ones as many as are set."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if multiplications < _ONE_THREAD else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
