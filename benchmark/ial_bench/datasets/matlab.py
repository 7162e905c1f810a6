"""Positions from the MATLAB files that come with Pitts-250k.

``pitts250k_{train,val,test}.mat`` each hold a struct with the fields ``dbImageFns`` and ``qImageFns`` (cells of file
names) and ``utmDb`` and ``utmQ`` (2 x n metres: easting, northing). Names of queries lie below ``queries_real``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ial_bench.datasets.importing.positions import Coords, from_utm, metre_faults
from ial_bench.errors import DataError
from ial_bench.files import check_regular

FILES = tuple(f"pitts250k_{part}.mat" for part in ("train", "val", "test"))
QUERIES = "queries_real"
_SOURCE = "pitts250k_*.mat"
_FIELDS = ("dbImageFns", "utmDb", "qImageFns", "utmQ")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_AT = (0, 512)  # a v7.3 file has a header of 512 bytes before it
_RESAVE = "in MATLAB: s = load('FILE'); save('FILE', '-struct', 's', '-v7'); or give positions as --coords CSV"


def read_mats(folder: Path, zone: str) -> tuple[Coords, list[str]]:
    """Positions by photo path, with and without ``images/`` before it, and the files of `FILES` that are missing.

    Raises:
        DataError: none of the files, or one that is damaged, of version 7.3, or of another layout.
    """
    there = [folder / name for name in FILES if (folder / name).is_file()]
    if not there:
        raise DataError(f"no {', '.join(FILES)} in {folder}", "give --mats DIR, or positions as --coords CSV")
    names: list[str] = []
    metres: list[npt.NDArray[np.float64]] = []
    for path in there:
        db_names, db_metres, q_names, q_metres = _read(path)
        names += db_names
        names += [name if name.startswith(f"{QUERIES}/") else f"{QUERIES}/{name}" for name in q_names]
        metres += [db_metres, q_metres]
    given = np.concatenate(metres)
    points = from_utm(given, zone)
    faults = metre_faults(given, points)
    paths = pa.chunked_array([pa.array(names), pa.array([f"images/{name}" for name in names])])
    twice = [np.concatenate([column, column]) for column in (points, given, faults)]
    return Coords.of(_SOURCE, paths, *twice), [n for n in FILES if not (folder / n).is_file()]


def _read(path: Path) -> tuple[list[str], npt.NDArray[np.float64], list[str], npt.NDArray[np.float64]]:
    """Database names, their metres [n, 2], query names, their metres [m, 2]."""
    from scipy.io import loadmat

    check_regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(max(_HDF5_AT) + len(_HDF5))
        if any(head.startswith(_HDF5, at) for at in _HDF5_AT):
            raise DataError(
                f"{path} is a MATLAB file of version 7.3, which is not read", _RESAVE.replace("FILE", path.name)
            )
        variables = loadmat(path, squeeze_me=True, struct_as_record=False)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", "get the file again") from error
    except DataError:
        raise
    except Exception as error:  # scipy raises whatever it stumbles on in a damaged file
        raise DataError(f"{path} is not a MATLAB file, or a damaged one: {error}", "get the file again") from error
    for value in variables.values():
        if all(hasattr(value, name) for name in _FIELDS):
            return (*_photos(path, value, "dbImageFns", "utmDb"), *_photos(path, value, "qImageFns", "utmQ"))
    found = ", ".join(name for name in variables if not name.startswith("__"))
    raise DataError(
        f"{path} has no struct with the fields {', '.join(_FIELDS)}; it has {found or 'nothing'}",
        "take the files that come with Pitts-250k, or give positions as --coords CSV",
    )


def _photos(path: Path, struct: Any, name_field: str, utm_field: str) -> tuple[list[str], npt.NDArray[np.float64]]:
    names = [str(name) for name in np.atleast_1d(getattr(struct, name_field)).ravel()]
    try:
        metres = np.asarray(getattr(struct, utm_field), np.float64)
    except (TypeError, ValueError):
        metres = np.zeros((0, 0))
    if metres.size != 2 * len(names):
        raise DataError(
            f"{path} has {len(names):,} names in {name_field}, but {utm_field} is not 2 x {len(names)} numbers",
            "get the file again",
        )
    if metres.ndim == 2 and metres.shape[0] != 2:
        metres = metres.T
    return names, metres.reshape(2, -1).T
