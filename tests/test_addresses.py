"""Addresses: parsed into the paper's parts, printed back, compared by what they mean."""

from __future__ import annotations

import json
import pickle
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ial_bench.addresses import MAX_LENGTH, Address, fold
from ial_bench.errors import AddressError

FIXED = settings(derandomize=True, deadline=None)

PAPER = "Forbes Avenue, Oakland (Craig Street, Bellefield Avenue)"

# A name as an annotator could type it: letters of any script, digits, apostrophes, dots, hyphens, single blanks.
word = st.text(st.characters(categories=("L", "N"), include_characters="'\u2019.-&/"), min_size=1, max_size=8)
name = st.lists(word, min_size=1, max_size=3).map(" ".join)
addresses = st.builds(Address, name, name, st.lists(name, max_size=3).map(tuple))


def test_example_of_the_paper() -> None:
    address = Address.parse(PAPER)
    assert address == Address("Forbes Avenue", "Oakland", ("Craig Street", "Bellefield Avenue"))
    assert address.text == str(address) == PAPER
    assert address.verbose == (
        "located in Oakland, specifically on a section of Forbes Avenue "
        "that lies between Craig Street and Bellefield Avenue"
    )


@pytest.mark.parametrize(
    ("text", "street", "neighbourhood", "cross"),
    [
        ("Butler Street, Lawrenceville (40th Street)", "Butler Street", "Lawrenceville", ("40th Street",)),
        ("Ring Road, North Side", "Ring Road", "North Side", ()),
        ("A St,B(C St,D St)", "A St", "B", ("C St", "D St")),
        ("A St, B (C St, D St, E St)", "A St", "B", ("C St", "D St", "E St")),
        ("A St, B, South (C St)", "A St", "B, South", ("C St",)),
        ("  A\tSt ,\n B  ( C\u00a0St , D St ) ", "A St", "B", ("C St", "D St")),
        ("Bene't Street, City Centre (King's Parade)", "Bene't Street", "City Centre", ("King's Parade",)),
        ("O\u2019Hara Street, Oakland", "O\u2019Hara Street", "Oakland", ()),
        ("Šafárikovo námestie, Staré Mesto (Gajova)", "Šafárikovo námestie", "Staré Mesto", ("Gajova",)),
        ("銀座通り, 銀座 (晴海通り)", "銀座通り", "銀座", ("晴海通り",)),
    ],
)
def test_parts(text: str, street: str, neighbourhood: str, cross: tuple[str, ...]) -> None:
    address = Address.parse(text)
    assert (address.street, address.neighbourhood, address.cross_streets) == (street, neighbourhood, cross)


@FIXED
@given(addresses)
def test_printing_and_parsing_are_inverse(address: Address) -> None:
    assert Address.parse(address.text) == address


@FIXED
@given(addresses)
def test_survives_pickling(address: Address) -> None:
    assert address.key  # computed before, and carried along
    again = pickle.loads(pickle.dumps(address))  # noqa: S301 - our own bytes
    assert again == address
    assert again.key == address.key


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not an address"),
        ("   ", "not an address"),
        ("Forbes Avenue", "without a neighbourhood"),
        ("Forbes Avenue (Craig Street)", "without a neighbourhood"),
        ("Forbes Avenue (Craig Street, Bellefield Avenue)", "without a neighbourhood"),
        ("Forbes Avenue,", "without a neighbourhood"),
        ("Forbes Avenue, ", "without a neighbourhood"),
        (", Oakland", "not an address"),
        (" , Oakland (Craig Street)", "not an address"),
        ("Forbes Avenue,  (Craig Street)", "without a neighbourhood"),
        ("Forbes Avenue, Oakland ()", "empty part"),
        ("Forbes Avenue, Oakland ( )", "empty part"),
        ("Forbes Avenue, Oakland (Craig Street,)", "empty part"),
        ("Forbes Avenue, Oakland (,Craig Street)", "empty part"),
        ("Forbes Avenue, Oakland (A,,B)", "empty part"),
        ("Forbes Avenue, Oakland (Craig Street", "unbalanced"),
        ("Forbes Avenue, Oakland Craig Street)", "unbalanced"),
        ("Forbes Avenue, Oakland (Craig) Street", "unbalanced"),
        ("Forbes Avenue, Oakland ((Craig Street))", "unbalanced"),
        ("Forbes Avenue, Oakland (A) (B)", "unbalanced"),
        ("Forbes (Avenue), Oakland (A)", "unbalanced"),
        ("Forbes Avenue,(Craig Street)", "without a neighbourhood"),
        ("Forbes\x00 Avenue, Oakland", "control"),
        ("Forbes Avenue, Oak\x1b[31mland", "control"),
        ("Forbes Avenue, Oak\x7fland", "control"),
        ("Forbes Avenue, Oak\ud800land", "control"),
        ("Forbes Avenue, " + "x" * MAX_LENGTH, "characters"),
    ],
)
def test_no_address(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why) as caught:
        Address.parse(text)
    assert caught.value.fix is not None
    assert "Main Street, Neighbourhood (Cross Street, Cross Street)" in caught.value.fix
    caught.value.problem.encode()  # can be printed and written, whatever the text was


@FIXED
@given(st.text(max_size=80))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert Address.parse(address.text) == address  # what is accepted has one canonical form
    assert address.street
    assert address.neighbourhood
    assert all(address.cross_streets)


def test_length_counts_after_blanks_are_folded() -> None:
    assert Address.parse("A," + " " * 2 * MAX_LENGTH + "B") == Address("A", "B")
    Address.parse("A, " + "x" * (MAX_LENGTH - 3))
    with pytest.raises(AddressError):
        Address.parse("A, " + "x" * (MAX_LENGTH - 2))


@pytest.mark.parametrize(
    "other",
    [
        "FORBES AVENUE, OAKLAND (CRAIG STREET, BELLEFIELD AVENUE)",
        "forbes avenue, oakland (craig street, bellefield avenue)",
        "  Forbes   Avenue ,Oakland(Craig\u3000Street,Bellefield\tAvenue)",
        "Forbes Avenue, Oakland (Bellefield Avenue, Craig Street)",
        "Forbes Avenue, Oakland (Craig Street, Bellefield Avenue)",  # full-width letters
    ],
)
def test_same_sub_street(other: str) -> None:
    assert Address.parse(other).key == Address.parse(PAPER).key


@pytest.mark.parametrize(
    "other",
    [
        "Forbes Avenue, Shadyside (Craig Street, Bellefield Avenue)",
        "Fifth Avenue, Oakland (Craig Street, Bellefield Avenue)",
        "Forbes Avenue, Oakland (Craig Street)",
        "Forbes Avenue, Oakland",
        "Forbes Avenue, Oakland (Craig Street, Craig Street)",
        "Forbes Avenue, Oakland (Craig Street, Bellefield Avenue, Craig Street)",
        "Craig Street, Oakland (Forbes Avenue, Bellefield Avenue)",
        "Forbes Avenue Oak, land (Craig Street, Bellefield Avenue)",
        "Forbes Avenue, Oakland (Craig, Street Bellefield Avenue)",
    ],
)
def test_other_sub_street(other: str) -> None:
    assert Address.parse(other).key != Address.parse(PAPER).key


def test_street_is_the_name_with_its_neighbourhood() -> None:
    here = Address.parse("Main Street, Sharpsburg (1st Street)")
    assert here.street_key == Address.parse("main  street, SHARPSBURG (9th Street)").street_key
    assert here.street_key != Address.parse("Main Street, Etna (1st Street)").street_key


def test_a_name_and_a_neighbourhood_alone_are_compared_as_they_are_together() -> None:
    here, there = Address.parse("Main Street, Sharpsburg (1st Street)"), Address.parse("MAIN  Street, Etna")
    assert here.street_name_key == there.street_name_key
    assert here.neighbourhood_key != there.neighbourhood_key
    assert here.neighbourhood_key == Address.parse("Oak Street, SHARPSBURG").neighbourhood_key
    assert set(here.street_key) == {here.street_name_key, here.neighbourhood_key}


def test_one_written_letter_however_encoded() -> None:
    composed, decomposed = "Café Street, Île", unicodedata.normalize("NFD", "Café Street, Île")
    assert composed != decomposed
    assert Address.parse(composed).key == Address.parse(decomposed).key
    assert fold("Straße") == fold("STRASSE")
    assert fold("ﬁfth 4ᵗʰ") == "fifth 4th"


@FIXED
@given(addresses, st.randoms(use_true_random=False))
def test_comparison_ignores_blanks_and_order(address: Address, random: object) -> None:
    shuffled = list(address.cross_streets)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    blanks = f"\t{address.street} ,  {address.neighbourhood.replace(' ', '   ')}"
    other = Address.parse(blanks + (f"({' , '.join(shuffled)})" if shuffled else ""))
    assert other.key == address.key
    assert other.street_key == address.street_key


@FIXED
@given(st.text(max_size=30))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_verbose_form_by_number_of_crossings() -> None:
    head = "located in B, specifically on a section of A"
    assert Address("A", "B").verbose == head
    assert Address("A", "B", ("C",)).verbose == f"{head} that lies near C"
    assert Address("A", "B", ("C", "D")).verbose == f"{head} that lies between C and D"
    assert Address("A", "B", ("C", "D", "E")).verbose == f"{head} that lies between C, D and E"


def test_real_annotation(cambridge: Path) -> None:
    """The released form itself: both texts of every record are made from the parts, to the letter."""
    pairs: set[tuple[str, str]] = set()
    for kind in ("train", "queries"):
        records = json.loads((cambridge / "annotations" / f"cambridge_{kind}.json").read_text(encoding="utf-8"))
        pairs |= {(verbose, canonical) for _, verbose, canonical in records.values()}
    assert len({canonical for _, canonical in pairs}) == 27
    for verbose, canonical in pairs:
        address = Address.parse(canonical)
        assert address.text == canonical
        assert address.verbose == verbose
