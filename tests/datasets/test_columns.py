"""CSVs as people save them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ial_bench.datasets.columns import CsvTable, read_csv
from ial_bench.errors import DataError

ROWS = [{"path": "Stra\u00dfe/1.jpg", "lat": "52.5", "lon": "-0.25"}, {"path": "b.jpg", "lat": "-1", "lon": "179"}]


def read(tmp_path: Path, data: str | bytes) -> CsvTable:
    path = tmp_path / "table.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_csv(path, "--photos")


def written(separator: str = ",", end: str = "\n", header: str = "path,lat,lon") -> str:
    lines = [header.replace(",", separator), *(separator.join(row.values()) for row in ROWS)]
    return end.join([*lines, ""])


@pytest.mark.parametrize(
    "data",
    [
        written(), written(end="\r\n"), written(end="\r"), written(";"), written("\t"), written("|"),
        "\ufeff" + written(), written().encode("utf-16"), written("\t", "\r\n").encode("utf-16"),
        written(header=" Path , LAT,Lon "), "sep=;\n" + written(";"), "sep=;\r\n" + written(";", "\r\n"),
        written().rstrip("\n"), written() + ",,\n,,\n", written() + "\n\n",
        written().replace("b.jpg", '"b.jpg"').replace("52.5", '"52.5"'),
    ],
)  # fmt: skip
def test_one_table_in_many_forms(tmp_path: Path, data: str | bytes) -> None:
    found = read(tmp_path, data)
    assert found.header == ["path", "lat", "lon"]
    assert found.table.to_pylist() == ROWS
    lat, empty, odd = found.numbers("lat")
    assert not empty.any()
    assert lat.tolist() == [52.5, -1.0]
    assert not odd.any()


def test_cells_with_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    found = read(tmp_path, 'path,note\n"a,b.jpg","say ""x"""\n"two\nlines.jpg", y \n')
    assert found.texts("path").to_pylist() == ["a,b.jpg", "two\nlines.jpg"]
    assert found.texts("note").to_pylist() == ['say "x"', "y"]


def test_headings_are_found_by_any_of_their_names(tmp_path: Path) -> None:
    found = read(tmp_path, "Photo ID,Latitude,\n1,2,\n")
    assert found.header == ["photo_id", "latitude", "column 3"]
    assert (found.first_of(("lat", "latitude")), found.first_of(("lon",))) == ("latitude", None)


NUMBERS = {
    "52,5": 52.5, "-0,125": -0.125, "+1.5e2": 150.0, ".5": 0.5, "7.": 7.0, " 8 ": 8.0, "": np.nan, "NaN": np.nan,
    "n/a": np.nan, "None": np.nan, "inf": np.inf, "-Inf": -np.inf,
}  # fmt: skip
ODD = ["north", "1.234.567", "1,2,3", "52°30'", "0x10", "--1", "1 000"]


def test_numbers_and_what_is_none(tmp_path: Path) -> None:
    cells = [*NUMBERS, *ODD]
    found = read(tmp_path, "id;x\n" + "".join(f"{i};{cell}\n" for i, cell in enumerate(cells)))
    values, empty, odd = found.numbers("x")
    assert empty.tolist() == [cell.strip() in {"", "NaN", "n/a", "None"} for cell in cells]
    np.testing.assert_array_equal(values[: len(NUMBERS)], list(NUMBERS.values()))
    assert odd.tolist() == [False] * len(NUMBERS) + [True] * len(ODD)
    assert np.isnan(values[odd]).all()


def test_a_comma_before_three_digits_of_metres_may_mean_thousands(tmp_path: Path) -> None:
    found = read(tmp_path, "x;y\n551,000;551000,25\n")
    assert found.numbers("x")[0].tolist() == [551.0]
    assert found.numbers("x", whole=True).odd.tolist() == [True]
    assert found.numbers("y", whole=True)[0].tolist() == [551000.25]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("path,lat,Lat\n", "two columns lat"),
        ("path,lat,lon\na.jpg,52,5,-0,25\n", r"5 cells where its header has 3: 'a.jpg,52,5,-0,25'(.|\n)*decimal comma"),
        ("path,lat,lon\na,b.jpg,1,2.5\n", r"4 cells where its header has 3(.|\n)*quote the cells"),
        ("path,lat,lon\na.jpg,52\n", r"2 cells where its header has 3(.|\n)*missing"),
        ('path,lat,lon\n"a.jpg,52,0\n', r"header has 3(.|\n)*a quote is not closed"),
        ("path,lat\n\u00e9.jpg,1\n".encode("latin-1"), r"is not in UTF-8(.|\n)*save it as UTF-8"),
        (("path,lat\n" + "a.jpg,1\n" * 20_000 + "\u00e9.jpg,1\n").encode("latin-1"), r"UTF-8(.|\n)*save it as UTF-8"),
        ("path,lat\na.jpg,1\n".encode("utf-16-le"), r"UTF-16 without a mark(.|\n)*save it as UTF-8"),
        (b"PK\x03\x04\x00\x00\x00", "is no text"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_mend(tmp_path: Path, data: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, data)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match=r"cannot read(.|\n)*give --coords CSV"):
            read_csv(path, "--coords")
