"""True position -> address of the nearest labelled photo: the ceiling of Image-GPS-Address pipelines."""

from __future__ import annotations

import numpy as np

from ial_bench import ImageBatch, Method, MethodInfo, Photos, State, TopK
from ial_bench.geo.points import EARTH_RADIUS_M, unit_vectors

_FIRST_NEIGHBOURS = 32
_FARTHEST_M = np.pi * EARTH_RADIUS_M


class GpsOracle(Method):
    """What a two-stage pipeline would answer if its first stage located every photo perfectly.

    Candidates are ranked by the distance from the query's true position to their nearest labelled photo. The
    score is minus that distance in metres; an address without photos comes last.
    """

    info = MethodInfo(
        name="gps-oracle",
        title="GPS oracle",
        family="baseline",
        summary="True position of the query -> address of the nearest training place. A ceiling, not a method.",
        oracle=True,
    )

    def fit(self, train: Photos, val: Photos) -> None:
        """Keep where each address was photographed."""
        photos = train + val
        points = np.concatenate([photos.positions, photos.labels[:, None]], axis=1)[photos.labels >= 0]
        points = np.unique(points, axis=0)  # the views of a place share its position
        self._build(points[:, :2], points[:, 2].astype(np.int32), len(photos.candidates))

    def _build(self, positions: np.ndarray, labels: np.ndarray, n_candidates: int) -> None:
        from scipy.spatial import KDTree

        self.positions, self.labels, self.n_candidates = positions, labels, n_candidates
        self.tree = KDTree(unit_vectors(positions))  # chords grow with distance on the sphere

    def predict(self, images: ImageBatch, k: int) -> TopK:
        """Search ever more neighbours until k addresses are among them."""
        queries = unit_vectors(images.positions)
        nearest = np.full((len(images), self.n_candidates), np.inf)  # chord to the nearest photo of each address
        # One more than asked for, so that an address that ties with the last one is not missed.
        wanted = min(k + 1, len(np.unique(self.labels)))
        open_rows, neighbours = np.arange(len(images)), min(_FIRST_NEIGHBOURS, len(self.labels))
        while len(open_rows):
            # A list of ranks keeps the answer two-dimensional for a single neighbour as well.
            chords, found = self.tree.query(queries[open_rows], np.arange(1, neighbours + 1))
            rows = np.repeat(open_rows, neighbours)
            np.minimum.at(nearest, (rows, self.labels[found].ravel()), np.asarray(chords).ravel())
            enough = np.isfinite(nearest[open_rows]).sum(axis=1) >= wanted
            if neighbours == len(self.labels):
                break
            open_rows, neighbours = open_rows[~enough], min(4 * neighbours, len(self.labels))
        metres = 2 * EARTH_RADIUS_M * np.arcsin(np.clip(nearest / 2, 0, 1))
        return TopK.from_scores(-np.where(np.isfinite(nearest), metres, _FARTHEST_M), k)

    def state(self) -> State:
        """Positions and addresses of the labelled places."""
        return {
            "positions": self.positions,
            "labels": self.labels,
            "n_candidates": np.array(self.n_candidates),
        }

    def restore(self, state: State) -> None:
        """Build the tree anew."""
        self._build(state["positions"], state["labels"], int(state["n_candidates"]))
