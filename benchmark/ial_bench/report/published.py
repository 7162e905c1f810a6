"""Numbers that papers report, one file a paper. They are cited, never ranked among measured ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ial_bench.datasets.known import keeper_of
from ial_bench.engine.record import RunRecord
from ial_bench.errors import DataError
from ial_bench.escape import escape_latex
from ial_bench.json_files import read_json

_PACKAGED = Path(__file__).parent / "published_numbers"
_CHECKOUT = Path(__file__).resolve().parents[3] / "results" / "published"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._+-]*")


@dataclass(frozen=True)
class PublishedRow:
    """One published result; fractions, None where the paper gives none.

    Attributes:
        method: as the paper calls it.
        key: citation key of the paper.
        venue: where it appeared.
        accuracy: fraction by metric name.
        storage_bytes: as reported.
        latency_ms: as reported, on the paper's own hardware.
        dataset: what it was measured on.
    """

    method: str
    key: str
    venue: str
    accuracy: dict[str, float]
    storage_bytes: float | None
    latency_ms: float | None
    dataset: str


def published_rows(dataset: str) -> list[PublishedRow]:
    """All published results on `dataset`, in the papers' order."""
    rows = []
    for paper in _papers():
        for row in paper["rows"]:
            if row["dataset"] != dataset:
                continue
            accuracy = {name: value / 100 for name, value in row.items() if name.startswith(("SSA-", "SA-"))}
            storage = row.get("storage_gb")
            rows.append(
                PublishedRow(
                    row["method"], paper["key"], paper["venue"], accuracy,
                    None if storage is None else storage * 1e9, row.get("latency_ms"), dataset,
                )
            )  # fmt: skip
    return rows


def why_not_beside(dataset: str, runs: Sequence[RunRecord], limit: int | None) -> str:
    """Why numbers published on a dataset may not be shown with these runs; empty where they may.

    A dataset's name alone does not prove that it is the published one: what the runs were measured on does.

    Args:
        dataset: its name.
        runs: those shown, all on the same photos; none: nothing is measured that they could be taken to compare with.
        limit: that runs are asked for with.
    """
    if limit is not None or any(r.dataset.limit is not None for r in runs):
        return "they were measured on all photos, limited runs are not"
    card = keeper_of(dataset)
    for on in (r.dataset for r in runs):
        if card is not None and not card.admits(on.n_candidates, on.n_queries):
            found = f"{on.n_candidates:,} candidates and {on.n_queries:,} queries"
            return f"they were measured on {card.size}, these runs on {found}"
    return ""


def bibliography(keys: Collection[str]) -> str:
    """A BibTeX file with the papers of these citation keys."""
    return "\n".join(_entry(paper) for paper in _papers() if paper["key"] in keys)


def is_citation_key(text: str) -> bool:
    r"""Whether ``\cite`` can be given it as it is."""
    return _KEY.fullmatch(text) is not None


def _papers() -> Iterator[dict[str, Any]]:
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    for path in sorted(folder.glob("*.json")):
        paper = read_json(path)
        if not is_citation_key(paper["key"]):
            raise DataError(f"{path}: {paper['key']!r} is no citation key", "letters, digits and :._+- make one")
        yield paper


def _entry(paper: dict[str, Any]) -> str:
    """A BibTeX entry; the title keeps its capitals."""
    kind, *facts = paper["bibtex"].items()
    fields = {
        "title": f"{{{escape_latex(paper['title'])}}}",
        "author": escape_latex(" and ".join(paper["authors"])),
        **{name: escape_latex(str(value)) for name, value in facts},
    }
    if paper.get("arxiv"):
        fields |= {"eprint": escape_latex(paper["arxiv"]), "archiveprefix": "arXiv"}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind[1]}{{{paper['key']},", *lines, "}", ""])
