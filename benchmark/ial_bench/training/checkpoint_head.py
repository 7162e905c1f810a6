"""What a checkpoint tells of itself, read without torch: how far a training had come."""

from __future__ import annotations

import json
from pathlib import Path

_MOST_BYTES = 64 << 20
_LENGTH = 8  # bytes at the start of a safetensors file, with the length of the JSON that follows


def steps_done(path: Path) -> int:
    """Steps of the training at its checkpoint, 0 where there is none or it cannot be read."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            head = json.loads(file.read(length)) if length <= _MOST_BYTES else {}
        return int(json.loads(head["__metadata__"]["told"])["log"]["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
