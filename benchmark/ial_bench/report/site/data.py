"""The report's data on one dataset, as scripts that a page can load from a folder that is opened without a server.

    data/index.js           runs, addresses, streets: what every page needs
    data/where.js           the address of each query
    data/points.js          position of each query and candidate
    data/lines.js           the street network, where the dataset has one
    data/outcome-R.js       what became of each query in run R, one byte a query
    data/first-R.js         its first answer
    data/queries-C.js       ids of the queries of chunk C
    data/answers-R-C.js     the answers of run R to them
    data/compare.js         differences between methods

A page opened from a disk may not fetch files, but may load scripts from beside it. Each file of data is a script that
hands one value to the page under a key. Numbers of many queries go as base64 of their bytes: a column of 280,000
queries is read in milliseconds. A page loads columns of the runs it shows, and chunks of the queries it shows: it opens
as fast for many queries.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench.engine.ground_truth import GroundTruth
from ial_bench.escape import short
from ial_bench.geo.lines import StreetLines
from ial_bench.metrics.accuracy import MISSED, Areas, first_hit
from ial_bench.metrics.comparison import Difference, compare
from ial_bench.report.groups import Group
from ial_bench.report.site.source import Run, labels
from ial_bench.topk import NO_ANSWER, TopK

CHUNK = 2_000  # queries a file
SHOWN = 5  # answers a query
SAME_STREET = 128  # added to an outcome where the first answer is on the right street
_LAST_RANK = 127
_ID_LENGTH = 400


def outcomes_of(top: TopK, truth: GroundTruth, areas: Areas) -> npt.NDArray[np.uint8]:
    """uint8 [n]: place of the right address in the list, from 1; 0 where it is missing; `SAME_STREET` on top.

    Places beyond 127 are stored as 127.
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


_KINDS: dict[str, Any] = {"u1": np.uint8, "u2": np.uint16, "i2": np.int16, "i4": np.int32, "f4": np.float32}
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def script(key: str, value: Any) -> str:
    """JavaScript that hands `value` to the page under `key`.

    All of it is ASCII, without ``<``, ``>`` and ``&``: harmless wherever it is put.
    """
    texts = [json.dumps(v, allow_nan=False, separators=(",", ":")).translate(_ESCAPES) for v in (key, value)]
    return f"IalBench.put({texts[0]},{texts[1]});\n"


def integers(values: npt.ArrayLike) -> dict[str, Any]:
    """Whole numbers, packed in the smallest type that holds them.

    Raises:
        OverflowError: they need more than 32 bits.
    """
    array = np.asarray(values)
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for kind in ("u1", "u2", "i2", "i4"):
        info = np.iinfo(_KINDS[kind])
        if info.min <= low and high <= info.max:
            return _packed(array, kind)
    raise OverflowError(f"{low} to {high} do not fit 32 bits")


def floats(values: npt.ArrayLike) -> dict[str, Any]:
    """Numbers in single precision; NaN and infinity are kept."""
    return _packed(np.asarray(values), "f4")


def degrees(values: npt.ArrayLike) -> dict[str, Any]:
    """Degrees in whole millionths, 0.1 m; `NOWHERE` where they are not finite."""
    array = np.asarray(values, dtype=np.float64)
    return _packed(np.where(np.isfinite(array), np.rint(array * 1e6), NOWHERE), "i4")


NOWHERE = np.iinfo(np.int32).min
"""In place of degrees that are not known."""


def bits(values: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Truth values, eight a byte, the first in the lowest bit."""
    return _packed(np.packbits(values, bitorder="little"), "u1")


def _packed(array: npt.NDArray[Any], kind: str) -> dict[str, Any]:
    data = np.ascontiguousarray(array.ravel(), dtype=np.dtype(_KINDS[kind]).newbyteorder("<"))
    return {"kind": kind, "data": base64.b64encode(data.tobytes()).decode("ascii")}


Floats = npt.NDArray[np.float64]


@dataclass
class Comparison:
    """Collects each method's scores of the queries, then compares.

    Oracles are left out, as they are by ``bench compare --all-pairs``. Of several seeds, each query counts by its mean.

    Attributes:
        groups: the methods, oracles among them.
        metrics: names.
        values: by metric and number of the group, [n].
    """

    groups: Sequence[Group]
    metrics: Sequence[str]
    values: dict[str, dict[int, Floats]] = field(default_factory=dict)

    def add(self, run: Run, names: Sequence[str], values: Floats) -> None:
        """Add one run's outcomes, as `ial_bench.engine.scoring.outcomes` gives them."""
        if self.groups[run.group].oracle:
            return
        for metric in self.metrics:
            if metric in names:
                of_groups = self.values.setdefault(metric, {})
                mean = values[:, names.index(metric)] / len(self.groups[run.group].runs)
                of_groups[run.group] = of_groups[run.group] + mean if run.group in of_groups else mean

    def data(self, truth: GroundTruth, areas: Areas, whole: set[int]) -> dict[str, Any]:
        """For ``compare.js``: fractions, not percent.

        Args:
            truth: of the queries.
            areas: of its addresses.
            whole: the groups all of whose runs were added.
        """
        titles = labels(self.groups)
        compared = [i for i, g in enumerate(self.groups) if i in whole and not g.oracle]
        streets = areas.street_of[truth.address_rows]
        counts = np.bincount(streets, minlength=len(areas.streets))
        found: dict[str, Any] = {
            "groups": [{"number": i, "label": titles[i], "seeds": len(self.groups[i].runs)}
                       for i in compared],
            "queriesOfStreet": counts.tolist(), "metrics": {},
        }  # fmt: skip
        measured = [m for m in self.metrics if compared and all(i in self.values.get(m, {}) for i in compared)]
        columns = [np.stack([self.values[m][i] for i in compared], axis=1) for m in measured]
        for metric, values in zip(measured, columns, strict=True):
            found["metrics"][metric] = _metric_data(values, compare(values, truth.places), streets, counts)
        return found


def _metric_data(
    values: Floats, pairs: Sequence[Difference], streets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> dict[str, Any]:
    both = values.T @ values
    wrong = 1 - values
    neither = wrong.T @ wrong
    return {
        "means": values.mean(axis=0).tolist(),
        "rightOfStreet": [np.bincount(streets, v, minlength=len(counts)).round(6).tolist() for v in values.T],
        "pairs": [
            {
                "a": d.first, "b": d.second, "difference": d.value, "ci95": d.ci95, "aAlone": d.only_first,
                "bAlone": d.only_second, "both": float(both[d.first, d.second]),
                "neither": float(neither[d.first, d.second]), "p": d.p, "pHolm": d.p_holm,
                "separable": bool(d.separable),
            }
            for d in pairs
        ],
    }  # fmt: skip
