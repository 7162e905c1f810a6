"""Linear probe: multinomial logistic regression on frozen features (Radford et al., 2021, section A.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import Features, FrozenEncoderMethod, MethodInfo, State

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]

_CLIP_DEFAULT_C = 0.316  # CLIP's own example, for datasets without a val split
_DECADES = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
_FINEST_STEP = 0.125  # decades: the search ends with 8 steps a decade
_IN_MEMORY_BYTES = 2 << 30


class LinearProbe(FrozenEncoderMethod):
    """Minimises ``0.5 ||W||^2 + C sum_i -log softmax(W x_i + b)[y_i]`` with L-BFGS.

    C is chosen on val as CLIP's authors did: a coarse sweep from 1e-6 to 1e6, then ever finer steps around the
    best. The final fit is on train + val with that C.
    """

    info = MethodInfo(
        name="linear-probe",
        title="Linear probe",
        family="clip",
        summary="Logistic regression on frozen image features, its regularisation chosen on val.",
        reference="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
        scores="logits",
    )

    class Config(FrozenEncoderMethod.Config):
        """Settings."""

        c: float | None = Field(None, gt=0, description="inverse regularisation; null: chosen on val")
        max_iterations: int = Field(1000, ge=1, description="of L-BFGS, per fit")
        tolerance: float = Field(1e-4, gt=0, description="largest gradient component of the mean loss at the end")

    config: Config

    def fit_features(self, train: Features, val: Features) -> None:
        """Choose C on val, then fit on train + val."""
        self.tried: dict[float, float] = {}
        self.c = self.config.c or self._choose_c(train, val)
        self._fit([train, val], self.c)
        by_decade = {f"{decade:g}": ssa1 for decade, ssa1 in sorted(self.tried.items())}
        self.facts |= {"c": self.c, "val_ssa1_by_log10_c": by_decade}

    def _choose_c(self, train: Features, val: Features) -> float:
        if len(val) == 0:
            self.context.report.log(f"linear-probe: no val split to choose C on; taking {_CLIP_DEFAULT_C}")
            return _CLIP_DEFAULT_C
        start: Floats | None = None

        def accuracy(decade: float) -> float:
            nonlocal start
            if decade not in self.tried:
                start = self._fit([train], 10.0**decade, start)
                self.tried[decade] = self.ssa1(val)
            return self.tried[decade]

        n_fits = len(_DECADES) + 8
        with self.context.report.track(n_fits, "linear-probe: choose C", "fits") as advance:
            for decade in _DECADES:
                accuracy(decade)
                advance(1)
            step = (_DECADES[1] - _DECADES[0]) / 2
            while step >= _FINEST_STEP:
                best = self._best()
                for decade in (best - step, best + step):
                    accuracy(decade)
                    advance(1)
                step /= 2
        return float(10.0 ** self._best())

    def _best(self) -> float:
        """The most accurate decade; of equals, the strongest regularisation."""
        return min(self.tried, key=lambda d: (-self.tried[d], d))

    def _fit(self, parts: list[Features], c: float, start: Floats | None = None) -> Floats:
        """Solve for `c`; the solution, from which a neighbouring one is quickly found."""
        from scipy.optimize import minimize

        problem = _Problem(parts, c, self.context.device)
        size = len(problem.classes) * (problem.dim + 1)
        guess = np.zeros(size) if start is None or len(start) != size else start
        found = minimize(
            problem.loss_and_gradient, guess, jac=True, method="L-BFGS-B",
            options={"maxiter": self.config.max_iterations, "gtol": self.config.tolerance, "ftol": 0.0, "maxls": 50},
        )  # fmt: skip
        weights, bias = problem.unscaled(found.x)
        self.classes = problem.classes
        self.n_candidates = len(parts[0].photos.candidates)
        self.weights, self.bias = weights.astype(np.float32), bias.astype(np.float32)
        return np.asarray(found.x)

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits; addresses without training photos come last."""
        logits = x @ self.weights.T + self.bias
        if len(self.classes) == self.n_candidates:
            return np.asarray(logits)
        scores = np.repeat(logits.min(axis=1, keepdims=True) - 1, self.n_candidates, axis=1)
        scores[:, self.classes] = logits
        return scores

    def trained_parameters(self) -> int:
        """Weights and biases."""
        return self.weights.size + self.bias.size

    def state(self) -> State:
        """The solution."""
        return {
            "weights": self.weights,
            "bias": self.bias,
            "classes": self.classes,
            "n_candidates": np.array(self.n_candidates),
        }

    def restore(self, state: State) -> None:
        """Take the solution over."""
        self.weights, self.bias, self.classes = state["weights"], state["bias"], state["classes"]
        self.n_candidates = int(state["n_candidates"])


class _Problem:
    """The regression on centred features of unit mean square.

    Centring changes nothing but the intercepts, which are not penalised, and one scale for all features is
    undone exactly in the penalty: the solution is that of the plain problem, reached in far fewer steps. Features
    that do not fit into memory are read anew in each step.
    """

    def __init__(self, parts: list[Features], c: float, device: str) -> None:
        import torch

        self._torch = torch
        self._parts = parts
        self._device = "cpu" if device == "mps" else device  # Apple's GPUs have no float64
        labels = np.concatenate([p.labels for p in parts])
        self.classes = np.unique(labels[labels >= 0])
        self.n = int((labels >= 0).sum())
        self.dim = parts[0].x.shape[1]
        self._c = c
        self._mean = sum((x.sum(axis=0, dtype=np.float64) for x, _ in self._blocks()), np.zeros(self.dim)) / self.n
        square = sum((((x - self._mean) ** 2).sum() for x, _ in self._blocks()), 0.0) / (self.n * self.dim)
        self._scale = float(np.sqrt(square)) or 1.0
        small = self.n * self.dim * 8 <= _IN_MEMORY_BYTES
        self._kept = list(self._tensors()) if small else None

    def _blocks(self) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]]:
        for part in self._parts:
            for x, y in part.blocks():
                yield x[y >= 0], np.searchsorted(self.classes, y[y >= 0]).astype(np.int32)

    def _tensors(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for x, y in self._blocks():
            scaled = (x.astype(np.float64) - self._mean) / self._scale
            yield (
                self._torch.from_numpy(scaled).to(self._device),
                self._torch.from_numpy(y.astype(np.int64)).to(self._device),
            )

    def loss_and_gradient(self, flat: Floats) -> tuple[float, Floats]:
        """Mean loss with its penalty, and the gradient, both divided by C n so that steps are of order one."""
        torch = self._torch
        theta = torch.from_numpy(flat.reshape(len(self.classes), self.dim + 1)).to(self._device)
        weights, bias = theta[:, :-1], theta[:, -1]
        penalty = 1.0 / (self._c * self.n * self._scale**2)
        loss = 0.5 * penalty * float((weights**2).sum())
        gradient = torch.zeros_like(theta)
        gradient[:, :-1] = penalty * weights
        for x, y in self._kept or self._tensors():
            logits = torch.addmm(bias, x, weights.T)
            loss += float(torch.nn.functional.cross_entropy(logits, y, reduction="sum")) / self.n
            error = torch.softmax(logits, dim=1)
            error[torch.arange(len(y), device=error.device), y] -= 1
            error /= self.n
            gradient[:, :-1] += error.T @ x
            gradient[:, -1] += error.sum(dim=0)
        return loss, gradient.cpu().numpy().ravel()

    def unscaled(self, flat: Floats) -> tuple[Floats, Floats]:
        """Weights [classes, d] and intercepts [classes] for plain features."""
        theta = flat.reshape(len(self.classes), self.dim + 1)
        weights = theta[:, :-1] / self._scale
        return weights, theta[:, -1] - weights @ self._mean
