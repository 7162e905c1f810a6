"""What properties say, as programs that are not GeoJSON's own leave them in a file."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ial_bench.partition.tags import ObjectValueError, has_key, id_of, keys_of, name_of, text_of, texts_of, value_at


@pytest.mark.parametrize(
    "nothing",
    [None, "", " \t", math.nan, math.inf, "nan", "NaN", "None", "NULL", "<Null>", "<NA>", "n/a", "NA", [], "[]", {},
     "{}", [None, "nan", ""], "[nan, None]", '[""]'],
)  # fmt: skip
def test_nothing(nothing: Any) -> None:
    assert texts_of(nothing) == []
    assert text_of(nothing) == id_of(nothing) == name_of({"name": nothing}, "name") == ""


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (" Mill Lane ", ["Mill Lane"]),
        (7, ["7"]), (7.0, ["7"]), (7.5, ["7.5"]), (True, ["true"]),
        (["Mill Lane", "A 7"], ["Mill Lane", "A 7"]), ([None, ["Mill Lane"]], ["Mill Lane"]),
        ("['Mill Lane', 'A 7']", ["Mill Lane", "A 7"]),
        ('["Mill Lane", "A 7"]', ["Mill Lane", "A 7"]),
        ("[nan, 'Mill Lane']", ["Mill Lane"]),
        ("['Mill Lane' 'A 7']", ["Mill Lane", "A 7"]),
        ("('Mill Lane', 'A 7')", ["Mill Lane", "A 7"]),
        ('{"Mill Lane",Quay}', ["Mill Lane", "Quay"]),
        ("{'Mill Lane', 'Quay'}", ["Mill Lane", "Quay"]),
        ("(2:Mill Lane,Quay)", ["Mill Lane", "Quay"]),
        ("""["Bene't Street", 'Quay']""", ["Bene't Street", "Quay"]),
        (r"""['Bene\'t "new" Street']""", ["Bene't \"new\" Street"]),
        (r'["Caf\u00e9 Row"]', ["Café Row"]),
        ("['Mill Lane', 'Qua", ["Mill Lane"]),
        ("[12, 13]", ["12", "13"]),
        ("Mill Lane (north)", ["Mill Lane (north)"]), ("(Mill Lane, Quay)", ["(Mill Lane, Quay)"]),
        ("[private]", ["[private]"]), ("Null Road", ["Null Road"]), ("Nansen Street", ["Nansen Street"]),
    ],
)  # fmt: skip
def test_texts(value: Any, texts: list[str]) -> None:
    assert texts_of(value) == texts


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1), min_size=1))
def test_a_list_reads_as_its_text_does(names: list[str]) -> None:
    """As JSON and as Python write it; a word after each keeps names from being lists or nothing themselves."""
    names = [f"{name} Lane" for name in names]
    assert texts_of(names) == texts_of(json.dumps(names)) == texts_of(repr(names)) == names


@pytest.mark.parametrize(
    ("value", "identity"),
    [(7, "7"), (7.0, "7"), ("7", "7"), ("7.0", "7"), ([7], "7"), ("[7]", "7"), ("n7", "n7"), ([7, 8], ""), (True, "")],
)  # fmt: skip
def test_identities(value: Any, identity: str) -> None:
    assert id_of(value) == identity


def test_truths_are_no_names() -> None:
    assert name_of({"name": True}, "name") == name_of({"name": "False"}, "name") == ""
    assert name_of({"name": [True, "Mill Lane"]}, "name") == "Mill Lane"


def test_a_language_that_is_missing() -> None:
    told = {"name": "Mühlgasse", "name:en": "nan", "alt": None}
    assert name_of(told, "name:en") == "Mühlgasse"
    assert name_of({**told, "name:en": "Mill Lane"}, "name:en") == "Mill Lane"
    assert name_of(told, "alt") == ""


@pytest.mark.parametrize(
    "names",
    [{"primary": "Mill Lane", "common": None}, '{"primary": "Mill Lane"}', "{'primary': 'Mill Lane', 'x': 0}"],
)
def test_entries_of_objects(names: Any) -> None:
    told = {"names": names, "plain.dot": "Quay"}
    assert value_at(told, "names.primary") == "Mill Lane"
    assert has_key(told, "names.primary")
    assert "names.primary" in set(keys_of(told))
    assert not has_key(told, "names.other")
    assert value_at(told, "plain.dot") == "Quay"
    with pytest.raises(ObjectValueError) as caught:
        text_of(told["names"])
    assert "primary" in caught.value.entries


def test_lists_without_an_end() -> None:
    deep: Any = "Mill Lane"
    for _ in range(500):
        deep = [deep]
    assert texts_of(deep) == []
    assert texts_of("[" * 5000 + "]" * 5000) in ([], ["[" * 5000 + "]" * 5000])
