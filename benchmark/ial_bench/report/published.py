"""Numbers that papers report, one file a paper. They are cited, never ranked among measured ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ial_bench.files import read_json

_PACKAGED = Path(__file__).parent / "published_numbers"
_CHECKOUT = Path(__file__).resolve().parents[3] / "results" / "published"


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
    """

    method: str
    key: str
    venue: str
    accuracy: dict[str, float]
    storage_bytes: float | None
    latency_ms: float | None


def published_rows(dataset: str) -> list[PublishedRow]:
    """All published results on `dataset`, in the papers' order."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    rows = []
    for path in sorted(folder.glob("*.json")):
        paper = read_json(path)
        for row in paper["rows"]:
            if row["dataset"] != dataset:
                continue
            accuracy = {name: value / 100 for name, value in row.items() if name.startswith(("SSA-", "SA-"))}
            storage = row.get("storage_gb")
            rows.append(
                PublishedRow(
                    row["method"], paper["key"], paper["venue"], accuracy,
                    None if storage is None else storage * 1e9, row.get("latency_ms"),
                )
            )  # fmt: skip
    return rows
