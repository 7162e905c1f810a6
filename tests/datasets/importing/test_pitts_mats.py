"""Positions from the structs of Pitts-250k, written by another library, projected by another formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.io import savemat

from ial_bench.datasets.importing.pitts_ial import FILES, read_mats
from ial_bench.errors import DataError
from support.paper_releases import PaperRelease, cells, metres, pitts_release, write_mats


@pytest.fixture
def release(tmp_path: Path) -> PaperRelease:
    return pitts_release(tmp_path)


def looked_up(release: PaperRelease, keys: list[str]) -> np.ndarray:
    coords, _ = read_mats(release.root / "mats", "17N")
    return np.asarray(coords.at(coords.rows(pa.chunked_array([pa.array(keys)]))))


def test_every_photo_has_its_position(release: PaperRelease) -> None:
    keys = list(release.truth)
    np.testing.assert_allclose(looked_up(release, keys), [release.truth[key] for key in keys], atol=1e-7)


def test_keys_with_and_without_the_folder(release: PaperRelease) -> None:
    key = "images/000/000995_pitch1_yaw1.jpg"
    both = looked_up(release, [key, key.removeprefix("images/")])
    np.testing.assert_array_equal(both[0], both[1])


def test_query_is_not_given_the_position_of_its_number_in_the_database(release: PaperRelease) -> None:
    path = "000/000995_pitch1_yaw1.jpg"
    database, query = looked_up(release, [path, f"queries_real/{path}"])
    assert np.abs(database - query).max() > 5e-3
    assert np.isnan(looked_up(release, [f"queries_real/{path}x"])).all()


def test_one_photo_alone(release: PaperRelease) -> None:
    """MATLAB's matrices lose their shape when squeezed."""
    key = "images/000/000995_pitch1_yaw1.jpg"
    one = {"dbImageFns": cells(["000/000995_pitch1_yaw1.jpg"]), "utmDb": metres(release, [key])}
    write_mats(release, **one)
    np.testing.assert_allclose(looked_up(release, [key])[0], release.truth[key], atol=1e-7)


def test_no_queries(release: PaperRelease) -> None:
    write_mats(release, qImageFns=cells([]), utmQ=np.zeros((2, 0)))
    assert np.isfinite(looked_up(release, list(release.records["train"]))).all()


def test_missing_files_are_told(release: PaperRelease) -> None:
    assert read_mats(release.root / "mats", "17N")[1] == []
    (release.root / "mats" / FILES[1]).unlink()
    assert read_mats(release.root / "mats", "17N")[1] == ["pitts250k_val.mat"]


def test_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no pitts250k_train\.mat, .*test\.mat in"):
        read_mats(tmp_path, "17N")


@pytest.mark.parametrize("header", [b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512), b""])
def test_version_of_hdf5_is_refused_with_the_way_out(release: PaperRelease, header: bytes) -> None:
    (release.root / "mats" / FILES[0]).write_bytes(header + b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(DataError, match=r"pitts250k_train\.mat is a MATLAB file of version 7\.3") as caught:
        read_mats(release.root / "mats", "17N")
    assert "-v7'" in (caught.value.fix or "")
    assert "--coords" in (caught.value.fix or "")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_cut_off(release: PaperRelease, share: float) -> None:
    path = release.root / "mats" / FILES[2]
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"pitts250k_test\.mat"):
        read_mats(release.root / "mats", "17N")


def test_other_variables(release: PaperRelease) -> None:
    savemat(release.root / "mats" / FILES[0], {"names": cells(["a"]), "utm": np.zeros((2, 1))})
    with pytest.raises(DataError, match=r"no struct with the fields dbImageFns, .*, utmQ; it has names, utm"):
        read_mats(release.root / "mats", "17N")


@pytest.mark.parametrize("utm", [np.zeros((2, 3)), np.zeros((3, 72)), cells(["a"])])
def test_numbers_that_are_not_two_a_name(release: PaperRelease, utm: np.ndarray) -> None:
    write_mats(release, utmDb=utm)
    with pytest.raises(DataError, match="utmDb is not 2 x 72 numbers"):
        read_mats(release.root / "mats", "17N")


def test_positions_that_are_none(release: PaperRelease) -> None:
    keys = list(release.records["train"])[::3]
    utm = metres(release, keys)
    utm[0, 1], utm[:, 2] = np.nan, 0.0
    write_mats(release, utmDb=utm)
    assert np.isnan(looked_up(release, keys)).any(axis=1).nonzero()[0].tolist() == [1, 2]


def test_photo_in_two_files_at_two_positions(release: PaperRelease) -> None:
    keys = list(release.records["train"])
    names = cells([keys[1].removeprefix("images/"), keys[2].removeprefix("images/")])  # of the files val and test
    write_mats(release, dbImageFns=names, utmDb=metres(release, [keys[1], keys[-1]]))
    found = looked_up(release, keys[1:3])
    np.testing.assert_allclose(found[0], release.truth[keys[1]], atol=1e-7)
    assert np.isnan(found[1]).all()
