"""One spelling for each street."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ial_bench.addresses import Address
from ial_bench.errors import ConfigError, UnknownNameError
from ial_bench.geocoding.street_names import NameNormalizer, StreetName, street_words


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("SAINT GERMAIN AVE", "Saint Germain Avenue"),
        ("St. Germain Av", "Saint Germain Avenue"),
        ("03RD ST", "3rd Street"),
        ("AVENUE N", "Avenue N"),
        ("E ST", "E Street"),
        ("N Craig St", "North Craig Street"),
        ("Craig St S", "Craig Street South"),
        ("S Street Northwest", "S Street Northwest"),
        ("N ST NW", "N Street Northwest"),
        ("E St. SE", "E Street Southeast"),
        ("W Street NE", "W Street Northeast"),
        ("E Street South", "E Street South"),
        ("E St N", "E Street North"),
        ("E. Street", "E. Street"),
        ("S ST N W", "S Street Northwest"),
        ("Main St S E", "Main Street Southeast"),
        ("s st nw", "S Street Northwest"),
        ("N. St. N.W.", "N. Street Northwest"),
        ("Ash Ave. N. W.", "Ash Avenue Northwest"),
        ("E Street Expy NW", "E Street Expressway Northwest"),
        ("W Ave", "W Avenue"),
        ("Ave E", "Avenue E"),
        ("Avenue E", "Avenue E"),
        ("Avenue E North", "Avenue E North"),
        ("W Ave N", "West Avenue N"),
        ("West Avenue E", "West Avenue E"),
        ("NW Avenue S", "Northwest Avenue S"),
        ("COUNTY RD E", "County Road E"),
        ("S County Rd E", "South County Road E"),
        ("County Road E W", "County Road E West"),
        ("N County Rd", "North County Road"),
        ("State Hwy W", "State Highway W"),
        ("N State St", "North State Street"),
        ("State St N", "State Street North"),
        ("E 5th St", "East 5th Street"),
        ("5th Ave S", "5th Avenue South"),
        ("W 5TH ST SW", "West 5th Street Southwest"),
        ("S E St", "South E Street"),
        ("NW N St", "Northwest N Street"),
        ("NORTH ST", "North Street"),
        ("North Street", "North Street"),
        ("N North St", "North North Street"),
        ("West St S", "West Street South"),
        ("S West St", "South West Street"),
        ("N Main St", "North Main Street"),
        ("N Main St W", "North Main Street West"),
        ("N Broadway", "N Broadway"),
        ("S", "S"),
        ("S E", "S E"),
        ("LAKE MERCED HILL ST NORTH", "Lake Merced Hill Street North"),
        ("DR CARLTON B GOODLETT PL", "Doctor Carlton B Goodlett Place"),
        ("Little St Mary's Lane", "Little Saint Mary's Lane"),
        ("KING'S PARADE", "King's Parade"),
        ("O'FARRELL ST", "O'Farrell Street"),
        ("MCALLISTER ST", "McAllister Street"),
        ("LEGION OF HONOR DR", "Legion of Honor Drive"),
        ("HWY 101 TO I-280 RAMP", "Highway 101 to I-280 Ramp"),
        ("St", "St"),
        ("Maple Ave (North), x", "Maple Ave x"),
        ("Oak Street;Elm Street", "Oak Street"),
        ("UNNAMED 095", ""),
        (" \t", ""),
    ],
)
def test_english(written: str, shown: str) -> None:
    assert NameNormalizer().display(written) == shown


def test_keys_leave_out_what_spellings_differ_in() -> None:
    normalizer = NameNormalizer()
    assert normalizer.key("Bene’t St.") == normalizer.key("BENET STREET") == normalizer.key("Bene't street")
    assert normalizer.key("Café Lane") == normalizer.key("Cafe Ln")
    assert normalizer.key("Oak Street") != normalizer.key("Oak Avenue")


def test_other_languages() -> None:
    german, french = NameNormalizer(street_words("de")), NameNormalizer(street_words("fr"))
    assert german.display("Hauptstr.") == "Hauptstraße"
    assert german.key("Berliner Str.") == german.key("BERLINER STRASSE")
    assert french.display("av. de la République") == "Avenue de la République"
    assert french.key("BD VOLTAIRE") == french.key("Boulevard Voltaire")


def test_tables_can_be_added(tmp_path: Path) -> None:
    file = tmp_path / "words.toml"
    file.write_text('[en.last]\nhl = "hill"\n[nl.endings]\nstr = "straat"\n', encoding="utf-8")
    assert NameNormalizer(street_words("en", file)).display("KNOCKASH HL") == "Knockash Hill"
    assert NameNormalizer(street_words("en", file)).display("OAK ST") == "Oak Street"
    assert NameNormalizer(street_words("nl", file)).display("Kerkstr.") == "Kerkstraat"
    with pytest.raises(UnknownNameError, match="'xx'"):
        street_words("xx")
    file.write_text("[en]\nlast = 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\[en\] last"):
        street_words("en", file)


def test_geocoders_and_maps_share_the_tables() -> None:
    """A kind of street that maps abbreviate is one that geocoders' names are matched by."""
    for short, long in street_words("en").last.items():
        assert StreetName.of(f"Oak {short}").kind == long


@given(st.text(max_size=40))
def test_any_text_becomes_part_of_an_address(text: str) -> None:
    normalizer = NameNormalizer()
    shown = normalizer.display(text)
    assert shown == " ".join(shown.split())
    if shown:
        assert Address.parse(f"{shown}, N").street == shown
        assert bool(normalizer.key(text)) or not any(c.isalnum() for c in shown)


WORDS = ["oak", "st", "n", "e", "nw", "west", "county", "rd", "saint", "ave", "mary's", "3rd", "hwy", "o'brien"]


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5))
def test_a_name_spelt_out_stays(words: list[str]) -> None:
    normalizer = NameNormalizer()
    once = normalizer.display(" ".join(words))
    assert normalizer.key(once) == normalizer.key(normalizer.display(once))
