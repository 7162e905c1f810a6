"""The report's data on one dataset: columns of all queries in a file each, and the rest in chunks of queries.

    data/index.js           runs, addresses, streets: what every page needs
    data/where.js           the address of each query
    data/points.js          position of each query and candidate
    data/lines.js           the street network, where the dataset has one
    data/outcome-R.js       what became of each query in run R, one byte a query
    data/first-R.js         its first answer
    data/queries-C.js       ids of the queries of chunk C
    data/answers-R-C.js     the answers of run R to them
    data/compare.js         differences between methods

A page loads columns of the runs it shows, and chunks of the queries it shows: it opens as fast for many queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.streets import StreetLines
from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.metrics.accuracy import MISSED, Areas, first_hit
from ial_bench.report.site.packing import degrees, floats, integers
from ial_bench.report.site.texts import short
from ial_bench.topk import NO_ANSWER, TopK

CHUNK = 2_000  # queries a file
SHOWN = 5  # answers a query
SAME_STREET = 128  # added to an outcome where the first answer is on the right street
_LAST_RANK = 127
_ID_LENGTH = 400


def outcomes_of(top: TopK, truth: GroundTruth, areas: Areas) -> npt.NDArray[np.uint8]:
    """uint8 [n]: place of the right address in the list, from 1; 0 where it is missing; `SAME_STREET` on top.

    Places beyond 127 are told as 127.
    """
    rank = first_hit(top.indices, truth.labels)
    place = np.where(rank == MISSED, 0, np.minimum(rank, _LAST_RANK - 1) + 1)
    first = top.indices[:, 0]
    street_of_candidate = areas.street_of[truth.candidate_rows]
    same = (first != NO_ANSWER) & (street_of_candidate[first] == areas.street_of[truth.address_rows])
    return np.asarray(place + SAME_STREET * same, dtype=np.uint8)


def addresses_data(truth: GroundTruth, areas: Areas) -> dict[str, Any]:
    """Addresses, streets, neighbourhoods and candidates, for ``index.js``."""
    return {
        "texts": [short(a.text, 600) for a in truth.addresses],
        "streets": [short(s, 300) for s in areas.streets],
        "neighbourhoods": [short(n, 300) for n in areas.neighbourhoods],
        "streetOf": integers(areas.street_of),
        "neighbourhoodOf": integers(areas.neighbourhood_of),
        "candidates": integers(truth.candidate_rows),
        "trainPhotos": integers(truth.train_photos),
    }


def points_data(truth: GroundTruth) -> dict[str, Any]:
    """Positions of queries and candidates, for ``points.js``."""
    return {
        "lat": degrees(truth.positions[:, 0]), "lon": degrees(truth.positions[:, 1]),
        "candidateLat": degrees(truth.candidate_positions[:, 0]),
        "candidateLon": degrees(truth.candidate_positions[:, 1]),
    }  # fmt: skip


def lines_data(lines: StreetLines) -> dict[str, Any]:
    """The street network, for ``lines.js``."""
    return {
        "address": integers(lines.addresses), "starts": integers(lines.starts), "lat": degrees(lines.points[:, 0]),
        "lon": degrees(lines.points[:, 1]),
    }  # fmt: skip


def query_chunks(truth: GroundTruth) -> Iterator[dict[str, Any]]:
    """Ids and facts of the queries, a chunk each, for ``queries-C.js``."""
    for start in range(0, len(truth), CHUNK):
        part = slice(start, start + CHUNK)
        ids = [short(i, _ID_LENGTH) for i in truth.ids[part]]
        paths = [short(p, _ID_LENGTH) for p in truth.paths[part]]
        yield {
            "ids": ids,
            "paths": None if paths == ids else paths,
            "heading": floats(truth.headings[part]),
            "trainMetres": floats(np.minimum(truth.train_m[part], 1e9)),
            "place": integers(truth.places[part]),
        }


def answer_chunks(top: TopK) -> Iterator[dict[str, Any]]:
    """The first `SHOWN` answers and their scores, a chunk each, for ``answers-R-C.js``."""
    for start in range(0, len(top), CHUNK):
        part = slice(start, start + CHUNK)
        chunk = {"candidates": integers(top.indices[part, :SHOWN]), "scores": floats(top.scores[part, :SHOWN])}
        if top.positions is not None:
            chunk |= {"lat": degrees(top.positions[part, 0]), "lon": degrees(top.positions[part, 1])}
        yield chunk
