"""Baselines that never look at the photo: the most frequent address, and chance."""

from __future__ import annotations

import numpy as np

from ial_bench import Candidates, ImageBatch, Method, MethodInfo, Photos, Sizes, State, TopK, Workload, generator


class Majority(Method):
    """Ranks the candidates by their number of labelled photos."""

    info = MethodInfo(
        name="majority",
        title="Most frequent address",
        family="baseline",
        summary="Ranks addresses by their number of training photos.",
    )

    def workload(self, sizes: Sizes) -> Workload:  # noqa: ARG002 - next to nothing
        return Workload()

    def fit(self, train: Photos, val: Photos) -> None:
        self.scores = (train.address_counts() + val.address_counts()).astype(np.float32)  # [n_candidates]

    def predict(self, images: ImageBatch, k: int) -> TopK:
        """The same list for every photo."""
        return TopK.from_scores(np.broadcast_to(self.scores, (len(images), len(self.scores))), k)

    def state(self) -> State:
        return {"scores": self.scores}

    def restore(self, state: State) -> None:
        self.scores = state["scores"]


class RandomChoice(Method):
    """Draws scores per photo, so that the answer does not depend on the order of the photos."""

    info = MethodInfo(
        name="random",
        title="Random",
        family="baseline",
        summary="A random order of the addresses, drawn per photo: chance.",
        stochastic=True,
        final_fit="none",
    )

    def workload(self, sizes: Sizes) -> Workload:  # noqa: ARG002 - next to nothing
        return Workload()

    def index(self, candidates: Candidates) -> None:
        self.n_candidates = len(candidates)

    def predict(self, images: ImageBatch, k: int) -> TopK:
        """Uniform scores in [0, 1) from the run's seed and each photo's key."""
        scores = np.empty((len(images), self.n_candidates), dtype=np.float32)
        for row, key in zip(scores, images.keys.tolist(), strict=True):
            generator("random", self.context.seed, key).random(dtype=np.float32, out=row)
        return TopK.from_scores(scores, k)

    def state(self) -> State:
        return {"n_candidates": np.array(self.n_candidates)}

    def restore(self, state: State) -> None:
        self.n_candidates = int(state["n_candidates"])
