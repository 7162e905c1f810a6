"""Where an annotation's photos lie on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from ial_bench.datasets.importing.photo_files import PhotoFolder, find_photo_folder, measure
from ial_bench.progress import NoReport


def column(paths: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(paths, pa.string())])


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


@pytest.mark.parametrize(
    ("there", "keys", "layout"),
    [
        (("a/1.jpg", "b/2.jpg"), ("a/1.jpg", "b/2.jpg"), ("photos", "")),
        (("1.jpg", "2.jpg"), ("photos/1.jpg", "photos/2.jpg"), (".", "")),
        (
            ("000/1.jpg", "queries_real/000/1.jpg"),
            ("images/000/1.jpg", "queries_real/000/1.jpg"),
            ("photos", "images"),
        ),
        (("images/000/1.jpg",), ("images/000/1.jpg",), ("photos", "")),
        (("000/1.jpg", "000/2.jpg"), ("x/000/1.jpg", "000/2.jpg"), ("photos", "")),  # two keys could be one file
        (
            ("0/1.jpg", "queries_real/0/1.jpg"),
            ("photos/0/1.jpg", "queries_real/0/1.jpg"),
            ("photos", "photos"),
        ),
        ((), ("a/1.jpg",), ("photos", "")),
        ((), (), ("photos", "")),
    ],
)
def test_layouts(tmp_path: Path, there: tuple[str, ...], keys: tuple[str, ...], layout: tuple[str, str]) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    write(folder, *there)
    found = find_photo_folder(folder, column(list(keys)))
    assert (os.path.relpath(found.root, tmp_path), found.dropped) == layout


def test_dropped_folder_is_dropped_alone() -> None:
    layout = PhotoFolder(Path("/"), "images")
    keys = ["images/000/1.jpg", "queries_real/images/1.jpg", "images", "a/images/1.jpg"]
    assert layout.files(column(keys)).to_pylist() == ["000/1.jpg", *keys[1:]]
    assert PhotoFolder(Path("/")).files(column(keys)).to_pylist() == keys


def test_sizes_are_those_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, over several chunks and threads."""
    monkeypatch.setattr("ial_bench.datasets.columns._CHUNK", 7)
    paths = [f"{i % 5}/{i}.jpg" for i in range(60)]
    write(tmp_path, *paths)
    for i in range(60):
        with (tmp_path / paths[i]).open("ab") as file:
            file.write(bytes(i))
    (tmp_path / paths[11]).unlink()
    (tmp_path / paths[40]).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / paths[3])
    sizes, wrong = measure(tmp_path, column([*paths, "folder.jpg", "link.jpg", "x" * 500]), NoReport())
    expected = [len(path) + i if i not in {11, 40} else 0 for i, path in enumerate(paths)]
    assert sizes.tolist() == [*expected, 0, expected[3], 0]
    assert {i: reason.split(":")[0] for i, reason in wrong.items()} == {
        11: "image missing", 40: "image is empty", 60: "image is no file", 62: "image missing"
    }  # fmt: skip
    assert str(tmp_path / paths[11]) in wrong[11]
