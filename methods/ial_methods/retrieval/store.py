"""The gallery on disk: the index, which features it is made of, and a refusal of one made of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ial_bench import Features
from ial_bench.errors import DataError, StorageError
from ial_bench.json_files import digest, read_json, write_json
from ial_methods.retrieval.search import IndexSpec, read_index

INDEX, ABOUT = "gallery.faiss", "gallery.json"


def identity(encoder: str, parts: Sequence[Features], transform: str) -> dict[str, str]:
    """What an index's vectors follow from, by digest.

    Args:
        encoder: digest of the encoder.
        parts: features of the photos.
        transform: digest of what was done to the features, or its name.
    """
    return {"encoder": encoder, "photos": digest([p.photos.digest for p in parts]), "transform": transform}


def write_gallery(folder: Path, index: Any, features: Mapping[str, str]) -> None:
    """Store the index as FAISS does, and beside it what it is made of.

    Raises:
        StorageError: the folder cannot be written to.
    """
    import faiss

    try:
        faiss.write_index(index, str(folder / INDEX))
    except RuntimeError as error:  # all that FAISS raises, a full disk included
        raise StorageError(
            f"cannot write {folder / INDEX}: {_last_line(error)}",
            "free some space on that disk, or point the command at another one; finished work is kept",
        ) from error
    write_json(folder / ABOUT, {"rows": int(index.ntotal), "dim": int(index.d), "features": dict(features)})


def read_gallery(folder: Path, spec: IndexSpec, features: Mapping[str, str], rows: int) -> Any:
    """The index, memory-mapped.

    Args:
        folder: where `write_gallery` left it.
        spec: its kind.
        features: what it must be made of.
        rows: photos it must hold.

    Raises:
        DataError: it is made of other features, or is damaged; names what it is made of and what it should be.
    """
    path, about = folder / INDEX, read_json(folder / ABOUT)
    fix = f"delete {folder} and run again"
    for what, expected in features.items():
        found = about["features"].get(what)
        if found != expected:
            raise DataError(
                f"{path} was made from other features: its {what} is {_short(found)}, but {_short(expected)} here", fix
            )
    try:
        index = read_index(path, spec)
    except RuntimeError as error:  # all that FAISS raises
        raise DataError(f"{path} cannot be read: {_last_line(error)}", fix) from error
    if not int(index.ntotal) == rows == about["rows"]:
        raise DataError(f"{path} holds {index.ntotal:,} photos instead of {rows:,}", fix)
    return index


def _last_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1]


def _short(digest_text: str | None) -> str:
    return "unknown" if digest_text is None else digest_text[:16]
