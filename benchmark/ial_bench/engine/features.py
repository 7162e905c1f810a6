"""Features of frozen encoders: computed once per encoder and set of photos, kept on disk, memory-mapped.

One folder per (encoder digest, photos digest)::

    meta.json encoder and photos of the features
    features.f32    float32, [n, d], row-major
    marks           one line a finished chunk: its number, SHA-256 of its bytes, seconds it took

A chunk counts only when its mark is whole and its bytes agree with it, so that a kill, a crash or a full disk loses at
most the current chunk, and a resumed extraction gives the same bytes as an uninterrupted one. (Batches never straddle
chunks, so that every photo is encoded beside the same others.)
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ial_bench.datasets.loader import Prepared, expect_processes, image_tensors, photo_tensors
from ial_bench.encoders.encoder import (
    FLOAT32,
    Encoder,
    EncoderCard,
    Precision,
    names_of_batch,
    remember_card,
    remembered_card,
    require_finite,
)
from ial_bench.encoders.spec import shown_spec
from ial_bench.errors import DataError
from ial_bench.files import check_target, make_folder, storage_errors
from ial_bench.folders import locked
from ial_bench.json_files import write_json
from ial_bench.machine import keep_freed_memory
from ial_bench.progress import Reporter, chunks

if TYPE_CHECKING:
    from ial_bench.datasets.photos import Photos
    from ial_bench.encoders.image_tower import ImageTower
    from ial_bench.encoders.towers import ClipTowers
    from ial_bench.image_batch import ImageBatch

CHUNK_ROWS = 1024
FloatRows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Extraction:
    """How features were made: the computing time, and how much of it was spent now rather than earlier."""

    images: int
    seconds: float
    seconds_now: float


class FeatureStore:
    """Encoders and their features.

    Args:
        cache: the cache folder.
        device: torch device to encode on.
        batch_size: photos to encode at once.
        workers: processes that read and decode photos; 0 does it in this process.
        report: progress.
        chunk_rows: photos per completion mark.
        precision: of the encoders' arithmetic.
    """

    def __init__(
        self,
        cache: Path,
        device: str,
        batch_size: int,
        workers: int,
        report: Reporter,
        chunk_rows: int = CHUNK_ROWS,
        precision: Precision = FLOAT32,
    ) -> None:
        self.cache = cache
        self.device = device
        self.batch_size = batch_size
        self.workers = workers
        self.report = report
        self.precision = precision
        self.chunk_rows = max(batch_size, chunk_rows // batch_size * batch_size)
        self._encoders: dict[str, Encoder] = {}
        self._cards: dict[str, EncoderCard] = {}
        self._ready: dict[tuple[str, str], FloatRows] = {}
        self._full: FeatureStore | None = None
        keep_freed_memory()
        if device.startswith("cuda") and workers:
            expect_processes()

    def in_float32(self) -> FeatureStore:
        """The same store in full precision; itself if it has that."""
        if self.precision == FLOAT32:
            return self
        if self._full is None:
            self._full = FeatureStore(
                self.cache, self.device, self.batch_size, self.workers, self.report, self.chunk_rows
            )
        return self._full

    def encoder(self, spec: str) -> Encoder:
        """The encoder, loaded once.

        Raises:
            SkipMethod: its weights are not available here.
        """
        if spec not in self._encoders:
            from ial_bench.encoders.load import load_encoder

            self._encoders[spec] = load_encoder(spec, self.device, self.precision)
            self._know(self._encoders[spec].card)
            remember_card(self._cards[spec], self.cache)
        return self._encoders[spec]

    def towers(self, spec: str) -> ClipTowers:
        """A separate copy of an open_clip model, on the device, frozen until parts of it are trained.

        Raises:
            SkipMethod: its weights are not available here, or it has no CLIP text tower.
        """
        from ial_bench.encoders.towers import load_towers

        return load_towers(spec, self.device)

    def image_tower(self, spec: str, pooling: str) -> ImageTower:
        """A separate copy of an encoder's image tower, on the device, frozen until it is trained.

        Raises:
            SkipMethod: its weights are not available here, or it cannot be trained here.
            ConfigError: it does not support the pooling.
        """
        from ial_bench.encoders.image_tower import load_image_tower

        return load_image_tower(spec, pooling, self.device)

    def card(self, spec: str) -> EncoderCard:
        """The encoder's card; the encoder is loaded only where no earlier load left its card."""
        if spec not in self._cards:
            card = remembered_card(spec, self.cache, self.precision)
            self._know(self.encoder(spec).card if card is None else card)
        return self._cards[spec]

    def _know(self, card: EncoderCard) -> None:
        """Keep the card, and report once what had to be assumed about the encoder."""
        if card.spec not in self._cards:
            for note in card.notes:
                self.report.log(f"note: {note}")
        self._cards[card.spec] = card

    def photos(self, spec: str, photos: Photos) -> FloatRows:
        """float32 [n, d], memory-mapped: the features of `photos`, computed where the cache lacks them."""
        key = (spec, photos.digest)
        if key not in self._ready:
            self.extract(spec, photos)
        return self._ready[key]

    def batch(self, spec: str, images: ImageBatch) -> FloatRows:
        """float32 [n, d]: features of a batch, from the cache where its photos are rows of a dataset."""
        if images._source is not None:  # noqa: SLF001 - set by the engine
            photos, part = images._source  # noqa: SLF001
            if (spec, photos.digest) in self._ready:
                return np.asarray(self._ready[spec, photos.digest][part])
        return self.encode(spec, images)

    def encode(self, spec: str, images: ImageBatch) -> FloatRows:
        """float32 [n, d]: features of a batch, computed now."""
        encoder = self.encoder(spec)
        blocks = []
        for part in chunks(len(images), self.batch_size):
            pixels = image_tensors(images, range(part.start, part.stop), encoder.preprocess)
            blocks.append(encoder.encode_images(pixels.to(self.device)).cpu().numpy())
        features = np.concatenate(blocks) if blocks else np.zeros((0, encoder.card.dim), np.float32)
        require_finite(features, spec, names_of_batch(images))
        return features

    def missing(self, card: EncoderCard, photos: Photos) -> int:
        """How many of the photos the cache lacks, judged by the marks of finished chunks alone; nothing is written."""
        folder = self.cache / "features" / card.digest[:16]
        if not folder.is_dir():
            return len(photos)
        return max(0, len(photos) - _FeatureFile(folder / photos.digest[:16], len(photos), card.dim).marked())

    def extract(self, spec: str, photos: Photos, what: str = "photos") -> Extraction:
        """Make sure the features of `photos` are in the cache.

        Raises:
            ImageError: a photo cannot be decoded.
            DataError: features that are NaN or infinite.
            SkipMethod: the encoder is not available here.
            StorageError: the cache cannot be written to.
        """
        card = self.card(spec)
        folder = make_folder(self.cache / "features" / card.digest[:16] / photos.digest[:16])
        file = _FeatureFile(folder, len(photos), card.dim)
        for own in (file.data, file.marks):
            check_target(own)  # they are written in place: a link in a shared cache must not lead to another file
        with locked(folder, folder / "lock"):
            if not (folder / "meta.json").is_file():
                meta = {"encoder": shown_spec(spec), "encoder_digest": card.digest, "photos_digest": photos.digest}
                write_json(folder / "meta.json", {**meta, "rows": len(photos), "dim": card.dim})
            done, earlier = file.finished()
            now = 0.0
            if missing := [c for c in chunks(len(photos), self.chunk_rows) if done.get(c.start) != c.stop]:
                with self.report.track(sum(c.stop - c.start for c in missing), f"encode {what}", "photos") as advance:
                    started = time.perf_counter()
                    for chunk, rows in self._encode_chunks(self.encoder(spec), photos, missing, advance):
                        took = time.perf_counter() - started
                        file.write(chunk, rows, took)
                        now += took
                        started = time.perf_counter()
        self._ready[spec, photos.digest] = file.mapped()
        return Extraction(len(photos), earlier + now, now)

    def _encode_chunks(
        self, encoder: Encoder, photos: Photos, missing: list[slice], advance: Any
    ) -> Iterator[tuple[slice, FloatRows]]:
        """Features chunk by chunk, reading ahead in worker processes across chunk borders."""
        batches = [range(c.start, c.stop)[b] for c in missing for b in chunks(c.stop - c.start, self.batch_size)]
        pin = encoder.device.startswith("cuda")
        loader = photo_tensors(photos, Prepared(encoder.preprocess), batches, self.workers, pin=pin)
        for chunk in missing:
            rows = np.empty((chunk.stop - chunk.start, encoder.card.dim), dtype=np.float32)
            for part in chunks(len(rows), self.batch_size):
                rows[part] = encoder.encode_images(next(loader).to(self.device, non_blocking=True)).cpu().numpy()
                advance(part.stop - part.start)
            require_finite(rows, shown_spec(encoder.card.spec), lambda i, first=chunk.start: photos.where(first + i))  # type: ignore[misc]
            yield chunk, rows


class _FeatureFile:
    """The array on disk with its marks."""

    def __init__(self, folder: Path, rows: int, dim: int) -> None:
        self.data = folder / "features.f32"
        self.marks = folder / "marks"
        self.rows = rows
        self.dim = dim

    def finished(self) -> tuple[dict[int, int], float]:
        """Whole chunks, start -> stop, finite, whose bytes agree with their marks, and the seconds they took."""
        whole: dict[int, tuple[int, float]] = {}
        if not (self.marks.is_file() and self.data.is_file()):
            return {}, 0.0
        lines = self.marks.read_bytes().split(b"\n")
        with self.data.open("rb") as file:
            for line in lines[:-1]:  # what follows the last line break is torn or empty
                try:
                    start, stop, sha, took = line.decode().split()
                    part, seconds = slice(int(start), int(stop)), float(took)
                except ValueError:
                    raise DataError(f"{self.marks} is damaged", f"delete the folder {self.marks.parent}") from None
                file.seek(part.start * self.dim * 4)
                block = file.read((part.stop - part.start) * self.dim * 4)
                finite = bool(np.isfinite(np.frombuffer(block[: len(block) // 4 * 4], np.float32)).all())
                if hashlib.sha256(block).hexdigest() == sha and finite:
                    whole[part.start] = part.stop, seconds
        return {start: stop for start, (stop, _) in whole.items()}, sum(s for _, s in whole.values())

    def marked(self) -> int:
        """Rows that have marks, whether or not their bytes agree."""
        if not (self.marks.is_file() and self.data.is_file()):
            return 0
        words = (line.split() for line in self.marks.read_bytes().split(b"\n")[:-1])
        chunks = {start: int(stop) - int(start) for start, stop, *_ in (w for w in words if len(w) == 4)}
        return sum(chunks.values())

    def write(self, chunk: slice, rows: FloatRows, seconds: float) -> None:
        """Store a chunk: first its bytes, then, when they are on the disk, its mark."""
        block = np.ascontiguousarray(rows).tobytes()
        with storage_errors(self.data):
            handle = os.open(self.data, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _write_all(handle, block, chunk.start * self.dim * 4)
                os.fsync(handle)
            finally:
                os.close(handle)
            mark = f"{chunk.start} {chunk.stop} {hashlib.sha256(block).hexdigest()} {seconds:.6f}\n"
            with self.marks.open("ab+") as file:
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)  # drop a mark that a kill cut off
                file.write(mark.encode())
                file.flush()
                os.fsync(file.fileno())

    def mapped(self) -> FloatRows:
        """The whole array, memory-mapped."""
        if self.rows == 0:
            return np.zeros((0, self.dim), np.float32)
        return np.memmap(self.data, dtype=np.float32, mode="r", shape=(self.rows, self.dim))


def _write_all(handle: int, block: bytes, offset: int) -> None:
    """Write through the file, never through a memory map: a full disk is then an error, not a crash."""
    view = memoryview(block)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written
