"""Which ways are streets: the kinds of OpenStreetMap's ``highway`` that addresses name."""

from __future__ import annotations

from ial_bench.partition.tags import Told, texts_of
from ial_bench.report.escape import one_line

STREETS = frozenset({
    "motorway", "trunk", "primary", "secondary", "tertiary",
    "motorway_link", "trunk_link", "primary_link", "secondary_link", "tertiary_link",
    "unclassified", "residential", "living_street", "pedestrian", "service", "road", "busway", "bus_guideway",
})  # fmt: skip
"""All others are left out: ways for feet and cycles alone, what is planned or gone, and what is beside a street."""

ROUNDABOUTS = frozenset({"roundabout", "circular", "mini_roundabout"})

_NAMED = frozenset({"service"})  # driveways and car parks; a named one is a lane
_SQUARES = frozenset({"pedestrian"})  # a closed one is drawn round a square
_YES = frozenset({"yes", "true"})
_SHOWN = 40


def why_no_street(told: Told, name: str, *, closed: bool) -> str | None:
    """Why a line is no street by its tags; None: it is one, or they do not tell.

    Of several kinds, such as those of lines that were joined, one that is a street is enough.

    Args:
        told: its tags or properties; the kind is ``highway``, or in Overture's layout ``class`` of ``subtype`` road.
        name: how it is called.
        closed: whether it ends where it starts.

    Raises:
        ObjectValueError: one of them is an object.
    """
    key, kinds = _kinds(told)
    streets = [k for k in kinds if k in STREETS]
    if kinds and (not streets or (not name and _NAMED.issuperset(streets))):
        return f"{key}={one_line(kinds[0])[:_SHOWN]}"
    area = set(_words(told, "area"))
    around = closed and bool(streets) and _SQUARES.issuperset(streets) and not texts_of(told.get("junction"))
    return "an area" if area & _YES or (around and "no" not in area) else None


def is_roundabout(told: Told) -> bool:
    """Whether a line is part of one; raises as `why_no_street` does."""
    return not ROUNDABOUTS.isdisjoint(_words(told, "junction"))


def _kinds(told: Told) -> tuple[str, list[str]]:
    """The key that tells the kind, and the kinds."""
    if kinds := _words(told, "highway"):
        return "highway", kinds
    subtype = _words(told, "subtype")
    if subtype and subtype[0] in {"rail", "water"}:
        return "subtype", subtype
    return "class", ["road" if k == "unknown" else k for k in _words(told, "class")] if subtype == ["road"] else []


def _words(told: Told, key: str) -> list[str]:
    return [word.strip() for text in texts_of(told.get(key)) for word in text.casefold().split(";") if word.strip()]
