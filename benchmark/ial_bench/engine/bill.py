"""What a plan costs in all, against what is free on the machine; what runs share is counted once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ial_bench.engine.plan import Planned
from ial_bench.engine.prices import Memory
from ial_bench.errors import StorageError
from ial_bench.machine import Room


@dataclass(frozen=True)
class Thing:
    """Something that is done once, however many runs need it.

    Attributes:
        key: its name.
        what: in words.
        seconds: None where nobody knows.
        source: where that figure comes from.
        disk: bytes that it leaves in the cache.
        sure: whether it will certainly take those bytes.
        shared: whether other runs may need it too.
    """

    key: str
    what: str
    seconds: float | None
    source: str
    disk: float = 0.0
    sure: bool = False
    shared: bool = False


@dataclass(frozen=True)
class RunCost:
    """What one planned run needs.

    Attributes:
        planned: the run.
        dataset: name of the dataset.
        things: all that it needs and that is missing; empty for a run that is done or skipped.
        memory: at its peak; None where nobody knows.
        memory_source: where that figure comes from.
        passing: bytes of the cache that it frees at its end: checkpoints.
        results: bytes that it leaves in the results folder.
        resumes: whether a part of it is done already.
    """

    planned: Planned
    dataset: str
    things: tuple[Thing, ...] = ()
    memory: Memory | None = None
    memory_source: str = ""
    passing: float = 0.0
    results: float = 0.0
    resumes: bool = False


@dataclass(frozen=True)
class Line:
    """One run of the plan.

    Attributes:
        run: the run, with all that it needs.
        own: the things that no earlier run of the plan does.
    """

    run: RunCost
    own: tuple[Thing, ...]

    @property
    def seconds(self) -> float | None:
        """Time of the steps charged to this run; None if that of one is unknown."""
        return None if any(t.seconds is None for t in self.own) else sum(t.seconds or 0.0 for t in self.own)

    @property
    def disk(self) -> float:
        """Bytes that it leaves on disks."""
        return sum(t.disk for t in self.own) + self.run.results

    @property
    def source(self) -> str:
        """Where its time comes from, the longest thing first; and what of it later runs share."""
        known = sorted((t for t in self.own if t.seconds != 0), key=lambda t: -(t.seconds or 0.0))
        sources = "; ".join(dict.fromkeys(t.source for t in known))
        shared = dict.fromkeys(t.what for t in self.own if t.shared and t.seconds != 0)
        return f"{sources} (with {', '.join(shared)})" if shared else sources


@dataclass(frozen=True)
class Bill:
    """A plan's lines and sums.

    Attributes:
        lines: in the plan's order.
        room: what is free.
    """

    lines: tuple[Line, ...]
    room: Room

    @classmethod
    def of(cls, costs: Sequence[RunCost], room: Room) -> Bill:
        """The bill of some runs; each thing is charged to the first run that needs it."""
        seen: set[str] = set()
        lines = []
        for run in costs:
            own = tuple(t for t in run.things if t.key not in seen)
            seen.update(t.key for t in own)
            lines.append(Line(run, own))
        return cls(tuple(lines), room)

    @property
    def _things(self) -> list[Thing]:
        return [thing for line in self.lines for thing in line.own]

    @property
    def seconds(self) -> float:
        """Time of all things whose time is known."""
        return sum(t.seconds or 0.0 for t in self._things)

    @property
    def unknown(self) -> list[Line]:
        """Runs whose time is not known."""
        return [line for line in self.lines if line.seconds is None]

    @property
    def largest(self) -> Thing | None:
        """The thing that takes longest; None where nothing is to be done, or no time is known."""
        known = [t for t in self._things if t.seconds]
        return max(known, key=lambda t: t.seconds or 0.0, default=None)

    @property
    def memory(self) -> tuple[Line, Memory] | None:
        """The run with the highest peak of memory, and that peak."""
        known = [(line, line.run.memory) for line in self.lines if line.run.memory is not None]
        return max(known, key=lambda pair: pair[1].host, default=None)

    @property
    def device_memory(self) -> tuple[Line, Memory] | None:
        """Likewise for the GPU; None without one."""
        known = [(line, line.run.memory) for line in self.lines if line.run.memory is not None]
        return max((p for p in known if p[1].device), key=lambda pair: pair[1].device, default=None)

    @property
    def cache(self) -> float:
        """Most bytes that the cache needs at once: all that stays, and the largest checkpoint."""
        return sum(t.disk for t in self._things) + max((line.run.passing for line in self.lines), default=0.0)

    @property
    def results(self) -> float:
        """Bytes that the results need."""
        return sum(line.run.results for line in self.lines)

    @property
    def sure(self) -> float:
        """Bytes that the cache needs in any case: features, whose size is known to the byte."""
        return sum(t.disk for t in self._things if t.sure)

    def short(self) -> list[str]:
        """What is short, one line each."""
        room, missing = self.room, []
        for what, found, free in (
            ("memory", None if (m := self.memory) is None else (m[0], m[1].host), room.memory),
            ("GPU memory", None if (d := self.device_memory) is None else (d[0], d[1].device), room.device),
        ):
            if found is not None and free is not None and found[1] > free:
                whose = f"{found[0].run.planned.spec.method} on {found[0].run.dataset}"
                missing.append(f"{what}: {whose} takes about {in_bytes(found[1])}, {in_bytes(free)} are free")
        both = (("cache and results", self.cache + self.results, room.cache),)
        apart = (("cache", self.cache, room.cache), ("results", self.results, room.results))
        for what, needed, free in both if room.one_disk else apart:
            if needed > free:
                missing.append(f"disk: {what} take about {in_bytes(needed)}, {in_bytes(free)} are free")
        return missing

    def refuse(self, cache: Path) -> None:
        """Refuse a plan that the disk cannot hold.

        Raises:
            StorageError: the features alone need more than is free.
        """
        if self.sure > self.room.cache:
            names = ", ".join(dict.fromkeys(t.what for t in self._things if t.sure))
            raise StorageError(
                f"the cache {cache} cannot hold what this plan encodes: {names} take {in_bytes(self.sure)}, "
                f"{in_bytes(self.room.cache)} are free; nothing was begun",
                "free some space, point --cache at another disk, or run fewer datasets or encoders; "
                "--dry-run tells what each run needs",
            )

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        largest, memory, device = self.largest, self.memory, self.device_memory
        return {
            "seconds": self.seconds,
            "unknown": [line.run.planned.spec.run_id for line in self.unknown],
            "largest": None if largest is None else {"what": largest.what, "seconds": largest.seconds},
            "memory_bytes": None if memory is None else round(memory[1].host),
            "memory_free_bytes": self.room.memory,
            "device_memory_bytes": None if device is None else round(device[1].device),
            "device_memory_free_bytes": self.room.device,
            "cache_bytes": round(self.cache),
            "cache_free_bytes": self.room.cache,
            "results_bytes": round(self.results),
            "results_free_bytes": self.room.results,
            "short": self.short(),
        }


def in_time(seconds: float) -> str:
    """A duration in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def in_bytes(number: float) -> str:
    """A size in words."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number / 1e3:,.0f} kB"
