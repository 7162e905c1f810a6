"""Search among unit vectors with FAISS: exact, or by an index that looks at a part of them.

FAISS is imported where it is used: methods are listed and planned without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ial_bench import ConfigError, Effort, Features, Sizes, chunks, generator

Rows: TypeAlias = npt.NDArray[np.float32]
Transform: TypeAlias = Callable[[Rows], Rows]
"""Features [n, d] to the unit vectors [n, m] that are searched."""

FORMS = "flat, ivf:LISTS, ivfpq:LISTS,BYTES or hnsw:LINKS"
_NUMBERS = {"flat": 0, "ivf": 1, "ivfpq": 2, "hnsw": 1}
_BLOCK = 8192
_EXACT_BLOCK = 65_536  # larger, so that the merging of blocks costs nothing beside their search
_SAMPLE_PER_LIST, _LEAST_SAMPLE = 64, 65_536  # rows that k-means sees; 256 for each centroid of a product quantiser
_NEIGHBOURS, _QUERIES = 10, 1000  # that recall is measured with
_CENTROIDS = 256  # of each byte of a product-quantised vector


@dataclass(frozen=True)
class IndexSpec:
    """What kind of index, by its text.

    Attributes:
        kind: ``flat``, ``ivf``, ``ivfpq`` or ``hnsw``.
        numbers: lists; lists and bytes of a vector; links of a node.
    """

    kind: str
    numbers: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> IndexSpec:
        """The kind that `text` names, such as ``ivfpq:1024,32``.

        Raises:
            ValueError: it is none.
        """
        kind, colon, rest = text.partition(":")
        if kind not in _NUMBERS:
            near = difflib.get_close_matches(kind.lower(), _NUMBERS, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"unknown kind of index {kind!r}{hint} (there are {FORMS})")
        words = rest.split(",") if colon else []
        least = 2 if kind == "hnsw" else 1
        right = len(words) == _NUMBERS[kind] and all(w.isascii() and w.isdigit() and int(w) >= least for w in words)
        if not right:
            raise ValueError(f"index {text!r} is none of {FORMS}, with whole numbers of at least {least}")
        return cls(kind, tuple(int(w) for w in words))

    @property
    def exact(self) -> bool:
        """Whether it looks at every vector as it is."""
        return self.kind == "flat"

    @property
    def has_lists(self) -> bool:
        """Whether vectors lie in lists, one for each centroid; a query looks into some of them."""
        return self.kind in ("ivf", "ivfpq")

    def check(self, dim: int, n_train: int) -> None:
        """See whether such an index can be made.

        Args:
            dim: length of a vector.
            n_train: train photos, from which centroids are learnt.

        Raises:
            ConfigError: it cannot.
        """
        if self.has_lists and self.numbers[0] > n_train:
            raise ConfigError(
                f"{self.kind} with {self.numbers[0]:,} lists needs as many train photos; there are {n_train:,}",
                "set index to fewer lists, or to flat",
            )
        if self.kind == "ivfpq" and dim % self.numbers[1]:
            raise ConfigError(
                f"vectors of {dim} numbers cannot be cut into {self.numbers[1]} equal parts of one byte each",
                f"choose a number of bytes that divides {dim}, or whiten to another number of dimensions",
            )
        if self.kind == "ivfpq" and n_train < _CENTROIDS:
            raise ConfigError(
                f"ivfpq learns {_CENTROIDS} centroids a byte, from as many train photos; there are {n_train:,}",
                "set index to ivf:LISTS or to flat",
            )


def search_effort(sizes: Sizes) -> tuple[Effort, Effort]:
    """Searching the train photos for each val photo and the gallery for one photo, at most: exactly."""
    return Effort(flops=2.0 * sizes.val * sizes.train * sizes.dim), Effort(flops=2.0 * sizes.labelled * sizes.dim)


FLAT = IndexSpec("flat")


def build_index(
    spec: IndexSpec,
    parts: Sequence[Features],
    transform: Transform,
    after_train: Callable[[Any], None] | None = None,
    *,
    every_photo: bool = False,
) -> Any:
    """A FAISS inner-product index of the photos of `parts` whose address is a candidate, in their order.

    Centroids are learnt from a sample of the first part, the train photos, by k-means with a fixed seed; HNSW's graph
    is built by one thread, since with several it would depend on their timing. Memory is taken once, for what the
    index needs in the end, and features are read in blocks.

    Args:
        spec: the kind.
        parts: train, then the rest.
        transform: applied to all.
        after_train: called with the index when it holds the train photos alone.
        every_photo: whether those without a candidate address belong to it, too.

    Raises:
        ConfigError: such an index cannot be made of these photos.
    """
    train = parts[0]
    dim = transform(np.zeros((1, train.x.shape[1]), np.float32)).shape[1]
    spec.check(dim, int((train.labels >= 0).sum()))
    index = _empty(spec, dim)
    if spec.has_lists:
        index.train(_sample(train, transform, dim, max(_SAMPLE_PER_LIST * spec.numbers[0], _LEAST_SAMPLE)))
    lists = _reserve(index, spec, parts, transform, every_photo)
    with _one_thread(when=spec.kind == "hnsw"):
        for number, part in enumerate(parts):
            for x in vector_blocks(part, transform, every_photo):
                if lists is None:
                    index.add(x)
                else:
                    _add_to_lists(index, x, lists[index.ntotal : index.ntotal + len(x)])
            if number == 0 and after_train is not None:
                after_train(index)
    return index


def vector_blocks(
    part: Features, transform: Transform, every_photo: bool = False, size: int = _BLOCK
) -> Iterator[Rows]:
    """Vectors, in blocks, of the photos whose address is a candidate, or of every photo."""
    for x, y in part.blocks(size):
        yield transform(x if every_photo else x[y >= 0])


def set_effort(index: Any, spec: IndexSpec, nprobe: int, ef_search: int) -> None:
    """How much of the index a query looks at: lists, or nodes kept while walking the graph."""
    if spec.has_lists:
        index.nprobe = min(nprobe, index.nlist)
    elif spec.kind == "hnsw":
        index.hnsw.efSearch = ef_search


def search(index: Any, x: Rows, k: int) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Similarities and rows [n, k] of the k nearest, nearest first; -inf and -1 where fewer were found."""
    similarity, rows = index.search(x, min(k, index.ntotal))
    if (rows < 0).any():
        similarity = np.where(rows < 0, np.float32(-np.inf), similarity)
    return similarity, rows


class StreamedExact:
    """Exact search that reads the vectors anew for each call and holds none: for galleries whose index is smaller.

    Args:
        part: the photos.
        transform: applied to them.
    """

    def __init__(self, part: Features, transform: Transform) -> None:
        self._part = part
        self._transform = transform
        self.ntotal = int((part.labels >= 0).sum())

    def search(self, x: Rows, k: int) -> tuple[Rows, npt.NDArray[np.int64]]:
        """As a FAISS index does."""
        import faiss

        similarity = np.zeros((len(x), 0), np.float32)
        rows = np.zeros((len(x), 0), np.int64)
        start = 0
        for block in vector_blocks(self._part, self._transform, size=_EXACT_BLOCK):
            if len(block) == 0:
                continue
            found, where = faiss.knn(x, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
            similarity = np.concatenate([similarity, found], axis=1)
            rows = np.concatenate([rows, where + start], axis=1)
            best = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
            similarity, rows = np.take_along_axis(similarity, best, axis=1), np.take_along_axis(rows, best, axis=1)
            start += len(block)
        return similarity, rows


def index_bytes(index: Any, spec: IndexSpec) -> int:
    """Exact bytes of what the index holds: vectors or codes, ids, centroids, graph."""
    plain = int(index.ntotal) * int(index.d) * 4
    if spec.kind == "hnsw":
        graph = index.hnsw
        return plain + int(graph.neighbors.size() * 4 + graph.offsets.size() * 8 + graph.levels.size() * 4)
    if not spec.has_lists:
        return plain
    codebook = index.pq.centroids.size() * 4 if spec.kind == "ivfpq" else 0
    return int(index.ntotal) * (int(index.code_size) + 8) + int(index.nlist) * int(index.d) * 4 + int(codebook)


def read_index(path: Path, spec: IndexSpec) -> Any:
    """The index in `path`, memory-mapped: it may be larger than memory."""
    import faiss

    # Lists have a mapping of their own; the other flag would read them into memory.
    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP if spec.has_lists else faiss.IO_FLAG_MMAP_IFC)
    if spec.has_lists:
        faiss.downcast_InvertedLists(index.invlists).prefetch_nthread = 0  # dozens of threads made for every query
    return index


@dataclass(frozen=True)
class Probe:
    """Photos whose nearest train photos are known: val photos, or train photos where there is no val.

    Attributes:
        x: [q, d], their vectors.
        own: int64 [q], the row of each in the gallery, -1 for val photos: no photo counts as its own neighbour.
        nearest: int64 [q, 10], rows of its nearest among the train photos; fewer columns where there are fewer.
    """

    x: Rows
    own: npt.NDArray[np.int64]
    nearest: npt.NDArray[np.int64]

    @classmethod
    def sample(cls, train: Features, val: Features, exact: Any, transform: Transform) -> Probe:
        """At most 1,000 photos, the same ones each time.

        Args:
            train: what is searched.
            val: what searches; may be empty.
            exact: an exact index of the train photos that have a candidate address.
            transform: features to vectors.
        """
        part, known = (val, np.arange(len(val))) if len(val) else (train, np.flatnonzero(train.labels >= 0))
        rng = generator("retrieval", "recall")
        chosen = np.sort(rng.choice(len(known), min(_QUERIES, len(known)), replace=False)).astype(np.int64)
        own = np.full(len(chosen), -1, np.int64) if len(val) else chosen
        x = transform(np.asarray(part.x[known[chosen]]))
        return cls(x, own, _others(exact, x, own))

    def recall(self, index: Any) -> float:
        """Recall@10 of an index of the train photos: the share of the nearest that it finds among as many.

        1 where there is nothing to find.
        """
        found = _others(index, self.x, self.own)
        hits = (found[:, :, None] == self.nearest[:, None, :]).any(axis=2)
        return float(hits.sum() / self.nearest.size) if self.nearest.size else 1.0


def _empty(spec: IndexSpec, dim: int) -> Any:
    import faiss

    metric = faiss.METRIC_INNER_PRODUCT
    if spec.kind == "flat":
        return faiss.IndexFlatIP(dim)
    if spec.kind == "hnsw":
        return faiss.IndexHNSWFlat(dim, spec.numbers[0], metric)
    quantiser = faiss.IndexFlatIP(dim)
    if spec.kind == "ivf":
        index = faiss.IndexIVFFlat(quantiser, dim, spec.numbers[0], metric)
    else:
        index = faiss.IndexIVFPQ(quantiser, dim, *spec.numbers, 8, metric)
        index.pq.cp.min_points_per_centroid = 1
    index.cp.min_points_per_centroid = 1  # small cities are no mistake to be warned of
    return index


def _sample(train: Features, transform: Transform, dim: int, size: int) -> Rows:
    """At most `size` of the train vectors, drawn without replacement, the same ones each time."""
    rows = np.flatnonzero(train.labels >= 0)
    if len(rows) > size:
        rows = np.sort(generator("retrieval", "quantiser").choice(rows, size, replace=False))
    sample = np.empty((len(rows), dim), np.float32)
    for part in chunks(len(rows), _BLOCK):
        sample[part] = transform(np.asarray(train.x[rows[part]]))
    return sample


def _reserve(
    index: Any, spec: IndexSpec, parts: Sequence[Features], transform: Transform, every_photo: bool
) -> npt.NDArray[np.int64] | None:
    """Take the memory at once: growing by doubling takes up to three times as much. The vectors' lists, if any."""
    total = sum(len(p) if every_photo else int((p.labels >= 0).sum()) for p in parts)
    if not spec.has_lists:
        import faiss

        hnsw = spec.kind == "hnsw"
        _grow(faiss.downcast_index(index.storage).codes if hnsw else index.codes, total * int(index.d) * 4)
        if hnsw:
            _grow(index.hnsw.neighbors, total * 2 * (spec.numbers[0] + 1))  # 2 M on the ground, about 1 above it
        return None
    lists = np.empty(total, dtype=np.int64)
    done = 0
    for part in parts:
        for x in vector_blocks(part, transform, every_photo):
            lists[done : done + len(x)] = index.quantizer.search(x, 1)[1][:, 0]
            done += len(x)
    for number, size in enumerate(np.bincount(lists, minlength=index.nlist).tolist()):
        index.invlists.resize(number, size)
        index.invlists.resize(number, 0)
    return lists


def _grow(vector: Any, size: int) -> None:
    """Make room; a vector keeps it when it shrinks."""
    vector.resize(size)
    vector.resize(0)


def _add_to_lists(index: Any, x: Rows, lists: npt.NDArray[np.int64]) -> None:
    import faiss

    index.add_core(len(x), faiss.swig_ptr(x), None, faiss.swig_ptr(np.ascontiguousarray(lists)))


@contextmanager
def _one_thread(*, when: bool) -> Iterator[None]:
    import faiss

    threads = faiss.omp_get_max_threads()
    if when:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _others(index: Any, x: Rows, own: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows of the 10 nearest, [q, 10], the queries themselves left out."""
    itself = int((own >= 0).any())
    _, rows = search(index, x, _NEIGHBOURS + itself)
    if not itself:
        return rows
    others_first = np.argsort(rows == own[:, None], axis=1, kind="stable")
    return np.take_along_axis(rows, others_first, axis=1)[:, :-1]
