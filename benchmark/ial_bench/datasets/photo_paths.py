"""Paths of photos as tables and lists spell them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

_UNUSUAL = re.compile(r"\\|//|^\./|/\.(?:/|$)|/$|^$")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:/")


def plain_path(text: str, root: Path | None = None) -> str:
    """A path with forward slashes, without ``./`` before it; an absolute one as seen from `root`, where it lies below.

    Args:
        text: of it.
        root: the folder that photos lie below.
    """
    path = text.strip().replace("\\", "/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    if root is not None and is_absolute(path):
        for folder in {root.absolute().as_posix(), root.resolve().as_posix()}:
            if path.startswith(f"{folder}/"):
                return path[len(folder) + 1 :].lstrip("/")
    return path


def is_absolute(path: str) -> bool:
    """Whether it starts at a root, or at a drive."""
    return _ABSOLUTE.match(path) is not None


def posix_path(path: str) -> str:
    """`path` as `safe_relative` writes it."""
    if _UNUSUAL.search(path) is None:  # ten times faster than pathlib
        return path
    return str(PurePosixPath(path.replace("\\", "/")))
