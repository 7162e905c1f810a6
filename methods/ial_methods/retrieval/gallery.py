"""A gallery: labelled photos that are searched by their features, with what is known of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ial_bench import DataError, Features, StorageError, unit_norm
from ial_bench.json_files import digest, read_json, write_json
from ial_methods.retrieval.search import FLAT, IndexSpec, Rows, Transform, build_index, index_bytes, read_index, search

INDEX, _KNOWN, ABOUT = "gallery.faiss", "gallery.npz", "gallery.json"
UNIT_NORM = "unit norm"
"""Stands for the digest of a transform that does nothing else."""

Known = Mapping[str, npt.NDArray[Any]]


class Gallery:
    """A FAISS index of photos, and what is known of each.

    Args:
        index: of unit vectors, by inner product.
        known: arrays by name, a row a photo in the index's order: labels, places, positions.
        made_of: what the vectors follow from, by digest, as of `identity`.
        spec: the kind of index.
        transform: features to the vectors that are searched.
    """

    def __init__(
        self, index: Any, known: Known, made_of: Mapping[str, str], spec: IndexSpec = FLAT,
        transform: Transform = unit_norm,
    ) -> None:  # fmt: skip
        self.index, self.known, self.made_of = index, dict(known), dict(made_of)
        self.spec, self.transform = spec, transform

    @classmethod
    def of(
        cls,
        parts: Sequence[Features],
        known: Known,
        made_of: Mapping[str, str],
        spec: IndexSpec = FLAT,
        transform: Transform = unit_norm,
        after_train: Callable[[Any], None] | None = None,
        *,
        every_photo: bool = False,
    ) -> Gallery:
        """The photos of all parts whose address is a candidate, or every one of them; see `build_index`."""
        index = build_index(spec, parts, transform, after_train, every_photo=every_photo)
        return cls(index, known, made_of, spec, transform)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def search(self, x: Rows, k: int) -> tuple[Rows, npt.NDArray[np.int64]]:
        """Similarities and rows [n, k] of the photos nearest to features [n, d], nearest first; see `search.search`."""
        return search(self.index, self.transform(x), k)

    @property
    def nbytes(self) -> int:
        """Bytes of the index and of what is known."""
        return index_bytes(self.index, self.spec) + sum(array.nbytes for array in self.known.values())

    def save(self, folder: Path) -> None:
        """Store the index as FAISS does, and beside it what is known and what it is made of.

        Raises:
            StorageError: the folder cannot be written to.
        """
        import faiss

        path = folder / INDEX
        try:
            faiss.write_index(self.index, str(path))
        except RuntimeError as error:  # all that FAISS raises, a full disk included
            raise StorageError(
                f"cannot write {path}: {_last_line(error)}",
                "free some space on that disk, or point the command at another one; finished work is kept",
            ) from error
        arrays: dict[str, Any] = {**self.known, "made_of": json.dumps(self.made_of)}
        np.savez(folder / _KNOWN, **arrays)
        write_json(folder / ABOUT, {"rows": len(self), "dim": int(self.index.d), "features": self.made_of})

    @classmethod
    def load(
        cls, folder: Path, now: Mapping[str, str], spec: IndexSpec = FLAT, transform: Transform = unit_norm
    ) -> Gallery:
        """What `save` stored, the index memory-mapped.

        Args:
            folder: where it lies.
            now: what its vectors must be made of, those parts that are known without the photos.
            spec: the kind of index.
            transform: features to the vectors that are searched.

        Raises:
            DataError: it is made of other features, which are named beside those that it should be made of; or it is
                damaged.
        """
        path, fix = folder / INDEX, f"delete {folder} and run again"
        with np.load(folder / _KNOWN, allow_pickle=False) as stored:
            known = dict(stored)
        of_known: dict[str, str] = json.loads(str(known.pop("made_of")))
        about = read_json(folder / ABOUT)
        made_of: dict[str, str] = about["features"]
        for what, expected in {**of_known, **now}.items():  # what is known of other photos would be taken for theirs
            found = made_of.get(what)
            if found != expected:
                raise DataError(
                    f"{path} was made from other features: its {what} is {_short(found)}, but {_short(expected)} here",
                    fix,
                )
        try:
            index = read_index(path, spec)
        except RuntimeError as error:  # all that FAISS raises
            raise DataError(f"{path} cannot be read: {_last_line(error)}", fix) from error
        if any(int(index.ntotal) != rows for rows in (about["rows"], *map(len, known.values()))):
            raise DataError(f"{path} holds {index.ntotal:,} photos instead of {about['rows']:,}", fix)
        return cls(index, known, made_of, spec, transform)


def identity(encoder: str, parts: Sequence[Features], transform: str = UNIT_NORM) -> dict[str, str]:
    """What a gallery's vectors follow from, by digest.

    Args:
        encoder: digest of the encoder.
        parts: features of the photos.
        transform: digest of what was done to the features, or its name.
    """
    return {"encoder": encoder, "photos": digest([p.photos.digest for p in parts]), "transform": transform}


def labels_of(parts: Sequence[Features]) -> npt.NDArray[np.int32]:
    """int32 [rows]: addresses of the photos that have a candidate address, in a gallery's order."""
    return np.concatenate([p.labels[p.labels >= 0] for p in parts]).astype(np.int32)


def _last_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1]


def _short(digest_text: str | None) -> str:
    return "unknown" if digest_text is None else digest_text[:16]
