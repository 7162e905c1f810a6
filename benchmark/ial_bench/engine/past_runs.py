"""Finished runs on this machine, as a source of costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean
from typing import NamedTuple

from ial_bench.engine.identity import RunSpec, part_id
from ial_bench.engine.record import RunRecord, TimedPhase


def kind(spec: RunSpec) -> str:
    """An id that runs share if they differ in their seed alone."""
    return replace(spec, seed=0, known_as=None).run_id


@dataclass(frozen=True)
class Taken:
    """What one finished run took, wherever its parts came from.

    Attributes:
        record: of the run.
        fit: seconds of its fit and index, without those of other methods' parts.
        rest: seconds of everything else but encoding for the cache: loading, answers, latency.
        memory: bytes at the peak of the process, None where it was not measured.
    """

    record: RunRecord
    fit: float
    rest: float
    memory: int | None

    @classmethod
    def of(cls, record: RunRecord) -> Taken:
        """By its record."""
        phases = record.phases
        assert phases is not None  # noqa: S101 - asked of done runs alone
        fit, index = phases.fit, phases.index
        others = sum(part.seconds for part in record.method.parts if part.method != record.method.name)
        now = (fit.seconds if fit.seconds_now is None else fit.seconds_now) + index.seconds
        peaks = [of.peak_rss_bytes for of in (fit, index, phases.query) if of is not None and of.peak_rss_bytes]
        rest = max(0.0, wall_seconds(record) - now)
        return cls(record, max(0.0, fit.seconds - others) + index.seconds, rest, max(peaks, default=None))


def wall_seconds(record: RunRecord) -> float:
    """Seconds from start to end without encoding for the cache; for a run that resumed, from its last start."""
    started, ended = (datetime.fromisoformat(t) for t in (record.provenance.started, record.provenance.finished))
    seconds, phases = (ended - started).total_seconds(), record.phases
    if phases is not None and phases.features is not None and not phases.features.cached:
        seconds -= phases.features.seconds
    return seconds


class _Encoder(NamedTuple):
    digest: str
    dtype: str


class Past:
    """Finished runs as a source of costs.

    Args:
        records: of any dataset and machine.
        hardware_digest: of this machine; times of other machines do not count here.
    """

    def __init__(self, records: Iterable[RunRecord], hardware_digest: str) -> None:
        done = [r for r in records if r.status == "done" and r.phases is not None]
        here = [r for r in done if r.provenance.hardware_digest == hardware_digest and r.received is None]
        self._kinds: dict[str, list[Taken]] = {}
        self._methods: dict[tuple[str, str, str | None], list[Taken]] = {}
        self._photos: dict[_Encoder, list[float]] = {}
        self._flops: dict[str, int] = {}
        self._parts: list[tuple[str, int, TimedPhase]] = []
        for record in done:
            self._count_flops(record)
        for record in here:
            taken = Taken.of(record)
            self._kinds.setdefault(kind(RunSpec.of(record)), []).append(taken)
            self._methods.setdefault(_method_of(RunSpec.of(record)), []).append(taken)
            for part in record.method.parts:
                phase = TimedPhase(seconds=part.seconds, peak_rss_bytes=part.peak_rss_bytes)
                self._parts.append((part.identity, record.seed, phase))
            self._count_photos(record)

    def _count_flops(self, record: RunRecord) -> None:
        """Count the image tower's: the fewest that a query of any method on its frozen features took."""
        encoder, phases = record.method.encoder, record.phases
        if encoder is None or phases is None or phases.features is None or phases.query is None:
            return
        if flops := phases.query.torch_flops:
            self._flops[encoder.digest] = min(flops, self._flops.get(encoder.digest, flops))

    def _count_photos(self, record: RunRecord) -> None:
        encoder, phases = record.method.encoder, record.phases
        if encoder is not None and phases is not None and (encoded := phases.features) is not None and encoded.images:
            self._photos.setdefault(_Encoder(encoder.digest, record.dtype), []).append(encoded.seconds / encoded.images)

    def same(self, spec: RunSpec) -> list[Taken]:
        """Runs that differ from this one in their seed alone."""
        return self._kinds.get(kind(spec), [])

    def like(self, spec: RunSpec) -> list[Taken]:
        """Runs of this method on the same encoder, with other settings or on other photos; the last one last."""
        found = self._methods.get(_method_of(spec), [])
        return sorted(found, key=lambda taken: taken.record.provenance.finished)

    def part(self, spec: RunSpec) -> TimedPhase | None:
        """What such a part took with any seed, whichever method it was fitted for."""
        found = [
            phase for identity, seed, phase in self._parts if identity == part_id(replace(spec, seed=seed))
        ]  # fmt: skip
        if not found:
            return None
        peak = max((p.peak_rss_bytes for p in found if p.peak_rss_bytes), default=None)
        return TimedPhase(seconds=fmean(p.seconds for p in found), peak_rss_bytes=peak)

    def photo_seconds(self, encoder_digest: str, dtype: str) -> float | None:
        """Seconds of encoding a photo for the cache, averaged over all runs."""
        found = self._photos.get(_Encoder(encoder_digest, dtype))
        return None if found is None else fmean(found)

    def image_flops(self, encoder_digest: str) -> int | None:
        """Operations of a photo in the image tower, as counted on any machine."""
        return self._flops.get(encoder_digest)


def _method_of(spec: RunSpec) -> tuple[str, str, str | None]:
    return spec.method, spec.version, spec.encoder_digest
