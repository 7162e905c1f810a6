"""Data as scripts, which a page can load from a folder that is opened without a server.

A page opened from a disk may not fetch files, but may load scripts from beside it. Each file of data is a script that
hands one value to the page under a key. Numbers of many queries go as base64 of their bytes: a column of 280,000
queries is read in milliseconds.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt

_KINDS: dict[str, Any] = {"u1": np.uint8, "u2": np.uint16, "i2": np.int16, "i4": np.int32, "f4": np.float32}
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def script(key: str, value: Any) -> str:
    """JavaScript that hands `value` to the page under `key`.

    All of it is ASCII, without ``<``, ``>`` and ``&``: harmless wherever it is put.
    """
    texts = [json.dumps(v, allow_nan=False, separators=(",", ":")).translate(_ESCAPES) for v in (key, value)]
    return f"IalBench.put({texts[0]},{texts[1]});\n"


def integers(values: npt.ArrayLike) -> dict[str, Any]:
    """Whole numbers, packed in the smallest type that holds them.

    Raises:
        OverflowError: they need more than 32 bits.
    """
    array = np.asarray(values)
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for kind in ("u1", "u2", "i2", "i4"):
        info = np.iinfo(_KINDS[kind])
        if info.min <= low and high <= info.max:
            return _packed(array, kind)
    raise OverflowError(f"{low} to {high} do not fit 32 bits")


def floats(values: npt.ArrayLike) -> dict[str, Any]:
    """Numbers in single precision; NaN and infinity are kept."""
    return _packed(np.asarray(values), "f4")


def degrees(values: npt.ArrayLike) -> dict[str, Any]:
    """Degrees in whole millionths, 0.1 m; `NOWHERE` where they are not finite."""
    array = np.asarray(values, dtype=np.float64)
    return _packed(np.where(np.isfinite(array), np.rint(array * 1e6), NOWHERE), "i4")


NOWHERE = np.iinfo(np.int32).min
"""In place of degrees that are not known."""


def bits(values: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Truth values, eight a byte, the first in the lowest bit."""
    return _packed(np.packbits(values, bitorder="little"), "u1")


def _packed(array: npt.NDArray[Any], kind: str) -> dict[str, Any]:
    data = np.ascontiguousarray(array.ravel(), dtype=np.dtype(_KINDS[kind]).newbyteorder("<"))
    return {"kind": kind, "data": base64.b64encode(data.tobytes()).decode("ascii")}
