"""Columns of texts: in memory, chunk by chunk, and in the CSVs that people bring.

A column never becomes Python objects all at once. The header of a CSV determines its delimiter: comma, semicolon, tab
or pipe. Texts are UTF-8, or UTF-16 with a byte order mark. Headings ignore capitals and the blanks around them. Cells
stay texts until they are needed.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ial_bench.errors import DataError
from ial_bench.files import check_regular

_CHUNK = 1 << 16  # texts that are Python objects at a time
_SEPARATORS = (",", ";", "\t", "|")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_LONGEST_HEADER = 1 << 16  # bytes
_SEP_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)  # which Excel writes and reads
_NONE = ["", "nan", "na", "n/a", "none", "null"]
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf)$"
_DECIMAL_COMMA = r"^[+-]?\d+,\d+$"
_THOUSANDS = r"^[+-]?\d{1,3},\d{3}$"
_SHOWN = 80  # characters of a row in an error
_SAVE = "save it as UTF-8; spreadsheets call that 'CSV UTF-8'"


def texts(values: Sequence[str] | pa.ChunkedArray) -> pa.ChunkedArray:
    """`values` as a column."""
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(list(values), pa.string())])


def chunks(column: pa.ChunkedArray) -> Iterator[list[str]]:
    """The texts of `column`, some tens of thousands at a time."""
    for start in range(0, len(column), _CHUNK):
        yield column.slice(start, _CHUNK).to_pylist()


def mapped(column: pa.ChunkedArray, function: Callable[[str], str | None]) -> pa.ChunkedArray:
    """The column of what `function` makes of each text; None is null."""
    return pa.chunked_array(
        [pa.array([function(text) for text in chunk], pa.string()) for chunk in chunks(column)], pa.string()
    )


def numbered(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """[n] a number for each text, 0 upward as they come, and the text of each number. `column` has no nulls."""
    # One chunk: to join the dictionaries of many costs far more. large_string: together they may pass 2 GB.
    encoded = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


class Numbers(NamedTuple):
    """The numbers of a column of n cells.

    Attributes:
        values: float64 [n]; NaN where there is none.
        empty: bool [n], the cells that hold nothing, or a word for it.
        odd: bool [n], those that hold something that is no number.
    """

    values: npt.NDArray[np.float64]
    empty: npt.NDArray[np.bool_]
    odd: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CsvTable:
    """The cells of a CSV.

    Attributes:
        path: of the file.
        table: a column of texts for each heading, which is in small letters, with _ for blanks.
    """

    path: Path
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def header(self) -> list[str]:
        """The headings."""
        return list(self.table.column_names)

    def first_of(self, names: Iterable[str]) -> str | None:
        """The first of `names` that is a heading."""
        return next((name for name in names if name in self.table.column_names), None)

    def texts(self, name: str) -> pa.ChunkedArray:
        """[n] the cells of a column, without blanks around them."""
        return texts(pc.utf8_trim_whitespace(self.table[name]))

    def numbers(self, name: str, *, whole: bool = False) -> Numbers:
        """The numbers of a column.

        A comma is read as a decimal one. If `whole` parts may have thousands, ``551,000`` may mean either, and is
        no number.
        """
        cells = self.texts(name)
        comma = pc.match_substring_regex(cells, _DECIMAL_COMMA)
        if whole:
            comma = pc.and_(comma, pc.invert(pc.match_substring_regex(cells, _THOUSANDS)))
        pointed = pc.if_else(comma, pc.replace_substring(cells, ",", "."), cells)
        good = pc.match_substring_regex(pointed, _NUMBER)
        values = pc.cast(pc.if_else(good, pointed, None), pa.float64())
        empty = pc.is_in(pc.utf8_lower(cells), pa.array(_NONE))
        odd = pc.invert(pc.or_(good, empty))
        return Numbers(*(np.asarray(column.to_numpy()) for column in (values, empty, odd)))


def read_csv(path: Path, option: str) -> CsvTable:
    """Read a CSV whose first line names its columns.

    Args:
        path: of it.
        option: by which it was given, for errors.

    Raises:
        DataError: missing, no file, in another encoding, two columns of one name, or a row with more or fewer cells
            than the header.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(_LONGEST_HEADER)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", f"give {option} CSV") from error
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
    begun = _decoded(path, head, encoding)
    line = _SEP_LINE.match(begun)
    separator = line[1] if line else _separator(begun)
    named = next(csv.reader(begun[line.end() if line else 0 :].splitlines(keepends=True), delimiter=separator), [])
    names = [_heading(name) for name in named]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise DataError(f"{path} has two columns {twice[0]}", "name each column once")
    if not any(names):
        raise DataError(f"{path} is empty", "its first line names the columns")
    names = [name or f"column {i + 1}" for i, name in enumerate(names)]
    return CsvTable(path, _rows(path, names, separator, encoding, skipped=1 if line else 0))


def _rows(path: Path, names: Sequence[str], separator: str, encoding: str, *, skipped: int) -> pa.Table:
    odd: list[pa_csv.InvalidRow] = []

    def refuse(row: pa_csv.InvalidRow) -> str:
        odd.append(row)
        return "error"

    try:
        table = pa_csv.read_csv(
            path,
            pa_csv.ReadOptions(
                column_names=list(names), skip_rows=skipped, skip_rows_after_names=1,
                encoding="utf8" if encoding == "utf-8" else encoding,
            ),
            pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=refuse),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )  # fmt: skip
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (pa.ArrowInvalid, UnicodeError) as error:
        if odd:
            raise _of_other_length(path, odd[0], separator) from error
        if "utf8" in str(error).lower() or isinstance(error, UnicodeError):
            raise DataError(f"{path} is not in UTF-8: {error}", _SAVE) from error
        raise DataError(f"{path} is not a well-formed CSV: {error}", "its first line names the columns") from error
    filled = pc.not_equal(table[0], "")  # spreadsheets write rows of nothing below the last one
    for column in table.columns[1:]:
        filled = pc.or_(filled, pc.not_equal(column, ""))
    return table.filter(filled)


def _of_other_length(path: Path, row: pa_csv.InvalidRow, separator: str) -> DataError:
    mend = "a cell is missing, or a quote is not closed"
    if row.actual_columns > row.expected_columns:
        mend = "quote the cells that have a separator in them"
        if separator == "," and re.search(r"(^|,)-?\d+,\d+(,|$)", row.text):
            mend = "write numbers with a point for the decimal comma, or quote them, or part the cells by semicolons"
    text = row.text if len(row.text) <= _SHOWN else f"{row.text[: _SHOWN - 1]}…"
    return DataError(
        f"{path} has a row of {row.actual_columns} cells where its header has {row.expected_columns}: {text!r}", mend
    )


def _decoded(path: Path, head: bytes, encoding: str) -> str:
    """The start of a file as text."""
    if encoding == "utf-8" and b"\0" in head:
        raise DataError(f"{path} is no text, or UTF-16 without a mark", _SAVE)
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeError as error:
        raise DataError(f"{path} is not in UTF-8: {error}", _SAVE) from error


def _separator(text: str) -> str:
    """What parts the headings of the first line: the one that stands there most often outside of quotes."""
    line = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    return max(_SEPARATORS, key=line.count)


def _heading(name: str) -> str:
    return "_".join(name.strip("\ufeff \t\r\n").lower().split())
