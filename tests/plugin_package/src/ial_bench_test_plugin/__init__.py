"""Methods as a third party writes them: nothing but the public contract is imported."""

from __future__ import annotations

import numpy as np

from ial_bench import Candidates, ImageBatch, Method, MethodInfo, State, TopK


class ThirdParty(Method):
    """Always the last candidates first."""

    info = MethodInfo(name="third-party", title="Third party", family="plugin", summary="The last address first.")

    def index(self, candidates: Candidates) -> None:
        """Count the candidates."""
        self.scores = np.arange(len(candidates), dtype=np.float32)

    def predict(self, images: ImageBatch, k: int) -> TopK:
        """The same order for every photo."""
        return TopK.from_scores(np.broadcast_to(self.scores, (len(images), len(self.scores))), k)

    def state(self) -> State:
        """The order."""
        return {"scores": self.scores}

    def restore(self, state: State) -> None:
        """Take it over."""
        self.scores = state["scores"]


class FalseMajority(ThirdParty):
    """Claims a built-in name."""

    info = MethodInfo(name="majority", title="Not the majority", family="plugin")


NOT_A_METHOD = 42
