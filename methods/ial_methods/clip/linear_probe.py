"""Linear probe: multinomial logistic regression on frozen features (Radford et al., 2021, section A.3)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import PHOTO, Effort, Features, FrozenEncoderMethod, MethodInfo, Sizes, State, Workload
from ial_methods.clip.logistic import LogisticRegression, Solution

_CLIP_DEFAULT_C = 0.316  # CLIP's own example, for datasets without a val split
_DECADES = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
_FINEST_STEP = 0.125  # decades: the search ends with 8 steps a decade
_FITS = len(_DECADES) + 8
_PRODUCTS = 380  # with all features, that the time of a fit is worth, gradients and preconditioner included


class LinearProbe(FrozenEncoderMethod):
    """Minimises ``0.5 ||W||^2 + C sum_i -log softmax(W x_i + b)[y_i]`` by Newton's method.

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
        version="2",
    )

    class Config(FrozenEncoderMethod.Config):
        c: float | None = Field(None, gt=0, description="inverse regularisation; null: chosen on val")
        max_iterations: int = Field(100, ge=1, description="Newton steps, per fit")
        tolerance: float = Field(
            1e-4, gt=0, description="share of the objective left to gain, by estimate, for the next step to be the last"
        )

    config: Config

    def workload(self, sizes: Sizes) -> Workload:
        """Products of features with directions, and back, in each fit of the search."""
        fits = 1 if self.config.c or not sizes.val else _FITS + 1
        weights = sizes.dim * sizes.candidates
        flops = 4.0 * fits * _PRODUCTS * (sizes.train + sizes.val) * weights
        held = 4.0 * (sizes.train + sizes.val) * (sizes.dim + 2 * sizes.candidates)
        return Workload(Effort(flops=flops), PHOTO, weights, held=min(held, 2 << 30))

    def fit_features(self, train: Features, val: Features) -> None:
        """Choose C on val, then fit on train + val."""
        self.tried: dict[float, float] = {}
        self.c, start = (self.config.c, None) if self.config.c else self._choose_c(train, val)
        self._fit(LogisticRegression([train, val], self.context.device), self.c, start)
        self.n_candidates = len(train.photos.candidates)
        by_decade = {f"{decade:g}": ssa1 for decade, ssa1 in sorted(self.tried.items())}
        self.facts |= {"c": self.c, "val_ssa1_by_log10_c": by_decade}

    def _choose_c(self, train: Features, val: Features) -> tuple[float, Solution | None]:
        """The best C on val, and the fit on train with it."""
        if len(val) == 0:
            self.context.report.log(f"linear-probe: no val split to choose C on; taking {_CLIP_DEFAULT_C}")
            return _CLIP_DEFAULT_C, None
        problem = LogisticRegression([train], self.context.device)
        self.n_candidates = len(train.photos.candidates)
        fits: dict[float, Solution] = {}

        def look(decade: float) -> None:
            if decade not in fits:
                near = min(fits, key=lambda d: abs(d - decade), default=None)
                fits[decade] = self._fit(problem, 10.0**decade, None if near is None else fits[near])
                self.tried[decade] = self.ssa1(val)

        with self.context.report.track(_FITS, "linear-probe: choose C", "fits") as advance:
            for decade in _DECADES:
                look(decade)
                advance(1)
            step = (_DECADES[1] - _DECADES[0]) / 2
            while step >= _FINEST_STEP:
                best = self._best()
                for decade in (best - step, best + step):
                    look(decade)
                    advance(1)
                step /= 2
        return float(10.0 ** self._best()), fits[self._best()]

    def _best(self) -> float:
        """The most accurate decade; of equals, the strongest regularisation."""
        return min(self.tried, key=lambda d: (-self.tried[d], d))

    def _fit(self, problem: LogisticRegression, c: float, start: Solution | None) -> Solution:
        found = problem.solve(c, start, self.config.tolerance, self.config.max_iterations)
        if found.excess > self.config.tolerance:
            self.context.report.log(
                f"linear-probe: C = {c:g}: stopped after {found.steps} steps with {found.excess:.1e} of the objective "
                "left to gain: raise max_iterations"
            )
        self.classes = found.classes
        self.weights, self.bias = found.weights.astype(np.float32), found.bias.astype(np.float32)
        return found

    def score_features(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits; addresses without training photos come last."""
        logits = x @ self.weights.T + self.bias
        if len(self.classes) == self.n_candidates:
            return np.asarray(logits)
        scores = np.repeat(logits.min(axis=1, keepdims=True) - 1, self.n_candidates, axis=1)
        scores[:, self.classes] = logits
        return scores

    def trained_parameters(self) -> int:
        return self.weights.size + self.bias.size

    def state(self) -> State:
        return {
            "weights": self.weights,
            "bias": self.bias,
            "classes": self.classes,
            "n_candidates": np.array(self.n_candidates),
        }

    def restore(self, state: State) -> None:
        self.weights, self.bias, self.classes = state["weights"], state["bias"], state["classes"]
        self.n_candidates = int(state["n_candidates"])
