"""The address with most training photos, whatever the photo shows."""

from __future__ import annotations

import numpy as np

from ial_bench import ImageBatch, Method, MethodInfo, Photos, State, TopK
from ial_bench.workload import Sizes, Workload


class Majority(Method):
    """Ranks the candidates by their number of labelled photos."""

    info = MethodInfo(
        name="majority",
        title="Most frequent address",
        family="baseline",
        summary="Ranks addresses by their number of training photos.",
    )

    def workload(self, sizes: Sizes) -> Workload:  # noqa: ARG002 - next to nothing
        """Counting."""
        return Workload()

    def fit(self, train: Photos, val: Photos) -> None:
        """Count."""
        self.scores = (train.address_counts() + val.address_counts()).astype(np.float32)  # [n_candidates]

    def predict(self, images: ImageBatch, k: int) -> TopK:
        """The same list for every photo."""
        return TopK.from_scores(np.broadcast_to(self.scores, (len(images), len(self.scores))), k)

    def state(self) -> State:
        """The counts."""
        return {"scores": self.scores}

    def restore(self, state: State) -> None:
        """Take the counts over."""
        self.scores = state["scores"]
