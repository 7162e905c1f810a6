"""JSON values as arrays, for states that hold arrays alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def told_as_array(value: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """uint8 [n]: the value as JSON in UTF-8."""
    return np.frombuffer(json.dumps(value, allow_nan=False).encode(), dtype=np.uint8)


def told_from_array(data: npt.NDArray[Any]) -> dict[str, Any]:
    """What `told_as_array` was given."""
    value: dict[str, Any] = json.loads(data.tobytes())
    return value
