"""Streaming a JSON object: the same members, and the same refusals, as of the standard library's parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ial_bench import json_files
from ial_bench.errors import DataError
from ial_bench.json_files import read_members

FIXED = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(params=[1, 3, 7, 1 << 22])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes read at a time: members are cut in every place."""
    monkeypatch.setattr(json_files, "_BLOCK", request.param)
    return int(request.param)


def members(path: Path) -> list[tuple[str, Any]]:
    return list(read_members(path))


@FIXED
@given(content=st.dictionaries(st.text(), values, max_size=5), ascii_only=st.booleans(), indent=st.none() | st.just(2))
def test_any_object(tmp_path: Path, block: int, content: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    path = tmp_path / "x.json"
    text = json.dumps(content, ensure_ascii=ascii_only, indent=indent)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert members(path) == list(content.items())


@FIXED
@given(text=st.text(alphabet='{}[]",:1.e- tru\\x', max_size=12))
def test_any_text(tmp_path: Path, block: int, text: str) -> None:
    """What the standard parser refuses, this one refuses, and the other way round."""
    path = tmp_path / "x.json"
    path.write_text(f"{{{text}}}")
    try:
        expected = json.loads(f"{{{text}}}", object_pairs_hook=list)
    except ValueError:
        with pytest.raises(DataError, match="is not valid JSON"):
            members(path)
    else:
        nested = [(key, value) for key, value in members(path) if not isinstance(value, (dict, list))]
        assert nested == [(key, value) for key, value in expected if not isinstance(value, list)]


def test_cut_off_anywhere(tmp_path: Path, block: int) -> None:
    whole = '{"a": ["b", 1.5e3], "ü\\u00fc": {"c": null}, "d": 12}\n'.encode()
    path = tmp_path / "x.json"
    for end in range(len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match="is not valid JSON") as caught:
            members(path)
        assert "cut off" in (caught.value.fix or "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
def test_encodings(tmp_path: Path, block: int, encoding: str) -> None:
    (tmp_path / "x.json").write_bytes('{"straße": ["\U0001f600"]}'.encode(encoding))
    assert members(tmp_path / "x.json") == [("straße", ["\U0001f600"])]


def test_other_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes('{"straße": 1}'.encode("latin-1"))
    with pytest.raises(DataError, match="is not valid JSON"):
        members(tmp_path / "x.json")


def test_a_key_twice_comes_twice(tmp_path: Path, block: int) -> None:
    (tmp_path / "x.json").write_text('{"a": 1, "a": 2}')
    assert members(tmp_path / "x.json") == [("a", 1), ("a", 2)]


@pytest.mark.parametrize("content", ["[1]", '"a"', "3", "-1", "null", "true"])
def test_other_values(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match="not an object of records"):
        members(tmp_path / "x.json")


@pytest.mark.parametrize("content", ["", " \n", "<!DOCTYPE html>", '{"a": 1} {"b": 2}', '{"a": 1},'])
def test_no_json(tmp_path: Path, block: int, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match="is not valid JSON"):
        members(tmp_path / "x.json")


def test_fault_is_placed(tmp_path: Path, block: int) -> None:
    text = '{"a": 1, "b": 2, "c" 3}'
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=rf"at character {text.index('3') + 1}\)"):
        members(tmp_path / "x.json")


def test_nested_too_deep(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}")
    with pytest.raises(DataError, match="is not valid JSON"):
        members(tmp_path / "x.json")


def test_a_fault_does_not_read_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken member at the start of a file of gigabytes is told after a window of it."""
    monkeypatch.setattr(json_files, "_BLOCK", 100)
    monkeypatch.setattr(json_files, "_LONGEST", 1_000)
    (tmp_path / "x.json").write_text('{"a" 1, ' + '"b": 2, ' * 10_000 + '"c": 3}')
    read: list[int] = []
    with pytest.raises(DataError):
        list(read_members(tmp_path / "x.json", read.append))
    assert sum(read) <= 1_100


def test_progress_is_told(tmp_path: Path, block: int) -> None:
    (tmp_path / "x.json").write_text('{"ü": [1, 2]}', encoding="utf-8")
    read: list[int] = []
    assert list(read_members(tmp_path / "x.json", read.append)) == [("ü", [1, 2])]
    assert sum(read) == (tmp_path / "x.json").stat().st_size


def test_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(DataError):
            members(path)
