"""Import of the released layout: places and spellings of addresses."""

from __future__ import annotations

import pytest

from ial_bench.addresses import Address
from ial_bench.datasets.table import DESCRIPTION
from ial_bench.errors import ConfigError
from support.made_release import ADDRESSES, N_QUERY, N_TRAIN, Tree, record


class TestPlaceRules:
    def test_named(self, tree: Tree) -> None:
        summary, _ = tree.load(place_rule="file")
        assert (summary.rule.name, summary.n_places) == ("file", N_TRAIN + N_QUERY)

    def test_pattern(self, tree: Tree) -> None:
        summary, data = tree.load(place_rule=r"images/(?P<place>\d)")  # by the first digit
        assert summary.n_places == 9 + 1  # 0 to 9; 1 and 10 to 17 are one
        assert data.description.made_by["place_rule"] == "pattern"

    def test_paths_without_a_place_are_told(self, tree: Tree) -> None:
        """Else each photo would count as a sample of its own, and intervals come out too narrow."""
        summary, _ = tree.load(place_rule="pitts")
        assert summary.n_places == N_TRAIN + N_QUERY
        assert any("36 paths have no place by rule pitts" in note for note in summary.notes)
        assert not any("no place by rule" in note for note in tree.load(force=True)[0].notes)

    @pytest.mark.parametrize("rule", ["pits", "(?P<place>"])
    def test_neither(self, tree: Tree, rule: str) -> None:
        with pytest.raises(ConfigError, match="place rule"):
            tree.load(place_rule=rule)
        assert not (tree.root / "out" / DESCRIPTION).exists()

    def test_place_in_train_and_queries_is_told(self, tree: Tree) -> None:
        tree.queries[tree.photo("images/0_9.jpg")] = record(ADDRESSES[0])
        tree.coords["images/0_9.jpg"] = tree.coords["images/0_0.jpg"]
        summary, _ = tree.load()
        assert any("1 places have photos in train and query alike, such as '0'" in note for note in summary.notes)


class TestSpellings:
    def test_are_merged_and_told(self, tree: Tree) -> None:
        keys = [k for k, v in tree.train.items() if v[2] == ADDRESSES[0]]
        tree.train[keys[0]] = record("ASH LANE, Old Town (Elm Street, Fir Way)")
        tree.train[keys[1]] = record("Ash Lane,  Old Town  (Fir Way, Elm Street)")
        summary, data = tree.load()
        assert [a.text for a in data.addresses] == list(ADDRESSES)  # the spelling of most
        assert any(note.startswith("2 other spellings of an address") for note in summary.notes)
        assert summary.bad == []
        rows = dict(zip(data.split("train", "val").ids, data.split("train", "val").address_rows.tolist(), strict=True))
        assert {rows[k.removeprefix("./")] for k in keys} == {0}

    def test_none_are_not_told(self, tree: Tree) -> None:
        assert not any("spellings" in note for note in tree.load()[0].notes)

    def test_other_crossing_is_another_address(self, tree: Tree) -> None:
        tree.train[next(iter(tree.train))] = record("Ash Lane, Old Town (Elm Street)")
        assert tree.load()[0].n_addresses == 4

    def test_verbose_form_of_most_records_is_kept(self, tree: Tree) -> None:
        keys = [k for k, v in tree.train.items() if v[2] == ADDRESSES[1]]
        for i, key in enumerate(keys):
            tree.train[key] = ["", "odd" if i < 2 else "said by most" if i < 8 else "", ADDRESSES[1]]
        _, data = tree.load()
        assert data.verbose_addresses[1] == "said by most"

    def test_missing_verbose_form_is_made(self, tree: Tree) -> None:
        for records in (tree.train, tree.queries):
            for key, value in records.items():
                records[key] = ["", " ", value[2]]
        assert tree.load()[1].verbose_addresses == [Address.parse(a).verbose for a in ADDRESSES]

    def test_captions(self, tree: Tree) -> None:
        summary, data = tree.load()
        assert "the annotation has no captions" in summary.notes
        assert not data.has_captions
        for key, value in tree.train.items():
            tree.train[key] = ["a street", *value[1:]]
        summary, data = tree.load(force=True)
        assert data.has_captions
        assert "the annotation has no captions" not in summary.notes
