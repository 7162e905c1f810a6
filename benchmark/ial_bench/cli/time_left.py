"""How long the rest of a plan may take, told after each run from what such runs took before."""

from __future__ import annotations

from collections.abc import Iterable

from ial_bench.engine.identity import RunSpec
from ial_bench.engine.past_runs import kind, wall_seconds
from ial_bench.engine.plan import Planned
from ial_bench.engine.record import RunRecord


class TimeLeft:
    """An estimate for the runs to come.

    A run is taken to last as long as others of its method and settings, with any seed, on the same photos and
    hardware. Where there are none nothing is guessed: one method's time says little of another's. Encoding photos is
    left out: those others did it, and it shows its own time left.

    Args:
        todo: the whole plan, in order.
        earlier: finished runs, of any dataset.
        hardware_digest: of this machine; other machines' times tell nothing here.
    """

    def __init__(self, todo: Iterable[Planned], earlier: Iterable[RunRecord], hardware_digest: str) -> None:
        self._ahead = [p.spec for p in todo if p.state == "run"]
        self._known: dict[str, list[float]] = {}
        for record in earlier:
            if record.status == "done" and record.provenance.hardware_digest == hardware_digest:
                self._known.setdefault(kind(RunSpec.of(record)), []).append(_seconds(record))

    def ended(self, spec: RunSpec, record: RunRecord) -> str:
        """What is left now that a run has ended; nothing to say, "", where at most one run is left."""
        self._ahead = [s for s in self._ahead if s != spec]
        if record.status == "done":
            self._known.setdefault(kind(spec), []).append(_seconds(record))
        if len(self._ahead) < 2:
            return ""
        known = [_mean(self._known[of]) for s in self._ahead if (of := kind(s)) in self._known]
        left = f"{len(self._ahead)} runs left"
        if not known:
            return left
        if len(known) == len(self._ahead):
            return f"{left}, about {_in_words(sum(known))}"
        return f"{left}, {len(known)} of them about {_in_words(sum(known))}; the rest was never timed here"


def _seconds(record: RunRecord) -> float:
    """From start to end without encoding; of a run that resumed, at least the phases it took over."""
    seconds, phases = wall_seconds(record), record.phases
    return seconds if phases is None else max(seconds, phases.fit.seconds + phases.index.seconds)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
