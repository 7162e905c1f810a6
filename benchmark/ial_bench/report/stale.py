"""Runs made by code that has changed since: superseded ones, which later runs replace, and stale ones.

What comes with ial-bench is known by its version; a plugin's run also by the digest of its source, and one with an
encoder by the releases of the libraries that define it. Runs by different code never replace each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ial_bench.engine.record import RunRecord
from ial_bench.json_files import digest

if TYPE_CHECKING:
    from ial_bench.registry import Registry

Standing = Literal["superseded", "stale"]
STALE = "stale"


@dataclass(frozen=True)
class Code:
    """The code of methods as it is here.

    Attributes:
        registry: the methods whose code is known; None: no code is.
    """

    registry: Registry | None = None

    def changed(self, run: RunRecord) -> bool:
        """Whether a run's method is known here, from the same distribution or file, and its source is another now."""
        method, known = run.method, self.registry
        if known is None or method.name not in known.names:
            return False
        if Path(known.origin(method.name)).name != method.origin:
            return False  # another method of that name
        return known.source(method.name) != method.source_digest


NO_CODE = Code()
"""For tables of records alone."""


def installed_code() -> Code:
    """The code of the installed methods."""
    from ial_bench.registry import Registry

    return Code(Registry())


def by_latest_code(runs: Sequence[RunRecord], code: Code) -> tuple[list[RunRecord], list[RunRecord]]:
    """The finished runs that are current, and those that are superseded.

    A run is superseded by a later one that is equal in everything but the method's source or the releases of the
    encoder's libraries, and by any such run of the code as it is now: whoever reverts a change must not see its
    number.
    """
    if len({_code_of(r) for r in runs}) <= 1:
        return list(runs), []
    latest: dict[Hashable, RunRecord] = {}
    keys = [_all_but_code(r) for r in runs]
    for key, run in zip(keys, runs, strict=True):
        if key not in latest or _lateness(run, code) >= _lateness(latest[key], code):
            latest[key] = run
    current: list[RunRecord] = []
    superseded: list[RunRecord] = []
    for key, run in zip(keys, runs, strict=True):
        (current if _code_of(run) == _code_of(latest[key]) else superseded).append(run)
    return current, superseded


def standings(runs: Sequence[RunRecord], code: Code) -> list[Standing | None]:
    """Whether each run is superseded or stale; None: neither."""
    _, superseded = by_latest_code([r for r in runs if r.status == "done"], code)
    left_out = {id(r) for r in superseded}
    return ["superseded" if id(r) in left_out else "stale" if code.changed(r) else None for r in runs]


def about_superseded(runs: Iterable[RunRecord]) -> list[str]:
    """Notes on superseded runs."""
    counted = Counter(
        f"the libraries of {r.method.name}'s encoder"
        if r.method.encoder and not r.method.source_digest
        else r.method.name
        for r in runs
    )
    return [
        f"{n:,} {'run' if n == 1 else 'runs'} by earlier code of {name} {'is' if n == 1 else 'are'} left out"
        for name, n in sorted(counted.items())
    ]


def about_stale(methods: Iterable[str]) -> list[str]:
    """A note on stale rows, by the names of their methods."""
    names = sorted(set(methods))
    if not names:
        return []
    stale = f"{STALE}: the code of {', '.join(names)} has changed since; such rows are not ranked"
    return [f"{stale}, and `bench run` makes them anew"]


def _lateness(run: RunRecord, code: Code) -> tuple[bool, str]:
    return not code.changed(run), run.provenance.finished


def _code_of(run: RunRecord) -> Hashable:
    encoder = run.method.encoder
    return run.method.source_digest, None if encoder is None else tuple(sorted(encoder.libraries.items()))


def _all_but_code(run: RunRecord) -> Hashable:
    return but_for_contents(run), run.dataset.contents_digest


def but_for_contents(run: RunRecord) -> Hashable:
    """What distinguishes runs, apart from the contents of photos and the code; another origin is another method."""
    method, data = run.method, run.dataset
    encoder: Hashable = (method.backbone, method.weights_digest)
    if method.encoder is not None:
        encoder = digest(method.encoder.model_dump(exclude={"digest", "libraries", "notes"}))
    return (
        data.name, data.digest, data.candidate_digest, data.streets_digest, data.limit, run.k, run.dtype, run.seed,
        run.protocol_version, method.name, method.origin, method.version, method.settings_digest, encoder,
    )  # fmt: skip
