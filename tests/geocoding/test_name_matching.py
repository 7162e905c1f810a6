"""Names of one street in many spellings, and of many streets in nearly one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ial_bench.addresses import Address
from ial_bench.geocoding.reverse import PlaceName, parts_of
from ial_bench.geocoding.street_names import StreetMatcher, StreetName, likeness


def alike(a: str, b: str) -> float:
    return likeness(StreetName.of(a), StreetName.of(b))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Forbes Ave", "Forbes Avenue"),
        ("FORBES AVE.", "forbes avenue"),
        ("St James St", "Saint James Street"),
        ("St. James's St.", "Saint Jamess Street"),
        ("5th Ave", "Fifth Avenue"),
        ("S Craig St", "South Craig Street"),
        ("S. Craig St.", "Craig Street South"),
        ("NW 23rd Pl", "Northwest 23rd Place"),
        ("Mt Royal Blvd", "Mount Royal Boulevard"),
        ("Caf\u00e9 Ln", "Cafe\u0301 Lane"),
        ("Cafe Lane", "Café Lane"),
        ("Dr Martin Luther King Dr", "Doctor Martin Luther King Drive"),
        ("North Ave", "North Avenue"),
    ],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert alike(one, other) == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5th Avenue", "6th Avenue"),
        ("15th Street", "5th Street"),
        ("Craig Street", "Craig Avenue"),
        ("North Craig Street", "South Craig Street"),
        ("North Avenue", "South Avenue"),
        ("Oak Street", "Elm Street"),
        ("Forbes Avenue", ""),
        ("Washington Street", "Washington Square"),
        ("East Street", "West Street"),
    ],
)
def test_names_of_different_streets(one: str, other: str) -> None:
    assert alike(one, other) < 0.9


def test_a_slip_or_a_missing_part_costs_a_little() -> None:
    assert 0.9 < alike("Forbs Avenue", "Forbes Avenue") < 1
    assert 0.9 < alike("Craig Street", "South Craig Street") < 1
    assert 0.9 < alike("Forbes", "Forbes Avenue") < 1


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(max_size=25), st.text(max_size=25))
def test_likeness_is_symmetric_and_never_more_than_that_of_itself(one: str, other: str) -> None:
    assert alike(one, other) == alike(other, one) <= 1.0
    assert alike(one, one) == 1.0


ADDRESSES = [
    Address("Craig Street", "Oakland", ("A", "B")),
    Address("Craig Street", "Oakland", ("B", "C")),
    Address("Craig Street", "Shadyside", ("C", "D")),
    Address("North Craig Street", "Oakland", ("A", "B")),
    Address("Fifth Avenue", "Oakland", ("A", "B")),
]


@pytest.mark.parametrize(
    ("name", "listed", "in_area"),
    [
        (PlaceName(("Craig St",), ("Shadyside",)), [0, 1, 2], [False, False, True]),
        (PlaceName(("Craig St",), ("Pittsburgh",)), [0, 1, 2], [False] * 3),
        (PlaceName(("Craig St",)), [0, 1, 2], [False] * 3),
        (PlaceName(("N Craig St",), ("Oakland", "Shadyside")), [3], [True]),
        (PlaceName(("A footway", "5th Ave"), ("Oakland",)), [4], [True]),  # the first that any is like
        (PlaceName(("Main Street",), ("Oakland",)), [], []),
        (PlaceName((), ("Oakland",)), [], []),
        (None, [], []),
    ],
)
def test_candidates_of_a_name(name: PlaceName | None, listed: list[int], in_area: list[bool]) -> None:
    found, near = StreetMatcher(ADDRESSES, 0.9).match(name)
    assert found.tolist() == listed
    assert near.tolist() == in_area


@pytest.mark.parametrize(
    ("raw", "text", "name"),
    [
        (
            {"address": {"house_number": "3", "road": "Forbes Ave", "suburb": "Oakland", "neighbourhood": "Craig"}},
            "",
            PlaceName(("Forbes Ave",), ("Craig", "Oakland")),
        ),
        (
            {"properties": {"street": "Forbes Ave", "district": "Oakland", "osm_key": "shop"}, "type": "Feature"},
            "",
            PlaceName(("Forbes Ave",), ("Oakland",)),
        ),
        (
            {
                "address_components": [
                    {"long_name": "12", "types": ["street_number"]},
                    {"long_name": "Forbes Avenue", "short_name": "Forbes Ave", "types": ["route"]},
                    {"long_name": "Oakland", "types": ["neighborhood", "political"]},
                ]
            },
            "",
            PlaceName(("Forbes Avenue",), ("Oakland",)),
        ),
        (
            {"id": 7},
            "12b Forbes Avenue, Oakland",
            PlaceName(("Forbes Avenue", "Oakland"), ("Forbes Avenue", "Oakland")),
        ),
        ({"address": {"city": "Pittsburgh"}}, "Pittsburgh", PlaceName((), ("Pittsburgh",))),
        ({}, "", PlaceName()),
        ("nonsense", "", PlaceName()),
    ],
)
def test_names_in_answers_of_services(raw: object, text: str, name: PlaceName) -> None:
    assert parts_of(raw, text) == name
