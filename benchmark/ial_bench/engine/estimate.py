"""What a plan will cost on this machine: time, memory and disk, before anything of it begins.

Each run is a list of things to be done. What several runs share (features of a frozen encoder, fitted parts) has one
name in all of them, so that it is counted once, with the run that needs it first. How long a thing takes is known from
finished runs on this machine where there are any: runs that differ in their seed alone, or other runs of the method,
scaled by the work of both. Otherwise reference figures give it, scaled by a probe of this machine. For a method that
does not say what work it has, it is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.photos import Photos
from ial_bench.encoders.encoder import EncoderCard
from ial_bench.engine import fitted_methods
from ial_bench.engine.bill import RunCost, Thing
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.fitted_methods import PARTS, part_of
from ial_bench.engine.identity import RunSpec, part_id
from ial_bench.engine.past_runs import Past, Taken
from ial_bench.engine.plan import EngineOptions, Planned, make_context
from ial_bench.engine.prices import Memory, Prices, Probe, Towers, checkpoint_bytes, fitted_bytes, peak_memory
from ial_bench.engine.selection import Selection
from ial_bench.engine.timing import THROUGHPUT_BATCH, TIMED_CALLS, WARMUP_CALLS
from ial_bench.errors import SkipMethod
from ial_bench.method import Method
from ial_bench.progress import Reporter
from ial_bench.training.checkpoint import steps_done
from ial_bench.training.config import TrainingConfig
from ial_bench.workload import Effort, Sizes, Workload

UNKNOWN = "unknown: no run of it here, and it tells no workload()"
_ROUNDS = 4  # rounds of the throughput's batch
_LEAST = 0.05  # seconds that are added to both sides of a ratio: a ratio of tiny times means nothing
_RECORD_BYTES = 20_000


@dataclass
class Estimator:
    """Estimates what runs will cost. Nothing is computed for it but, where needed, the probe.

    Args:
        options: where and how.
        store: encoders and features.
        report: notes.
        past: finished runs.
        probe: this machine's probe, called where finished runs do not suffice.
    """

    options: EngineOptions
    store: FeatureStore
    report: Reporter
    past: Past
    probe: Callable[[], Probe]
    _probed: Probe | None = None

    def costs(self, dataset: Dataset, todo: Sequence[Planned]) -> list[RunCost]:
        """The cost of each run of a plan on one dataset, in the plan's order."""
        chosen = Selection.of(dataset, self.options.limit)
        return [
            _RunEstimate(self, dataset, chosen, planned).cost()
            if planned.state == "run"
            else RunCost(planned, dataset.name)
            for planned in todo
        ]

    @property
    def prices(self) -> Prices:
        """Those of this machine."""
        if self._probed is None:
            self._probed = self.probe()
        return Prices(self._probed)

    @property
    def reference_words(self) -> str:
        """Where figures come from that no finished run gives."""
        assert self._probed is not None  # noqa: S101 - prices were asked for
        return f"reference x {self.prices.slower:.2f}, probe of {self._probed.age}"


@dataclass
class _RunEstimate:
    of: Estimator
    dataset: Dataset
    chosen: Selection
    planned: Planned

    def cost(self) -> RunCost:
        of, planned, spec = self.of, self.planned, self.planned.spec
        method = planned.method(
            planned.config, make_context(planned.method, of.options, of.store, of.report, spec.seed)
        )
        self.card = planned.encoder
        work = of.options.cache / "runs" / spec.run_id
        fitted = fitted_methods.is_whole(work / fitted_methods.STATE) and not of.options.rerun
        own = self._workload(method)
        things = list(self._features(method))
        if not fitted:
            things += self._parts(method, spec)
            things.append(self._fit(method, spec, own, work))
        things.append(self._rest(method, own))
        memory, source = self._memory(spec, own)
        done = fitted or any(work.glob("answers-*.npz")) or (work / "training.safetensors").is_file()
        k = min(spec.k, len(self.chosen.candidates))
        return RunCost(
            planned, self.dataset.name, tuple(things), memory, source,
            passing=0.0 if own is None else checkpoint_bytes(own),
            results=_RECORD_BYTES + len(self.chosen.queries) * (24.0 + 8 * k), resumes=done,
        )  # fmt: skip

    def _workload(self, method: Method, sizes: Sizes | None = None) -> Workload | None:
        """The workload that a method states; an inherited one does not know parts that the class names itself."""
        kind = type(method)
        if not issubclass(_owner(kind, "workload"), _owner(kind, "parts")):
            return None
        try:
            return method.workload(self.sizes if sizes is None else sizes)
        except Exception as error:  # noqa: BLE001 - a plugin's error; its run may still succeed
            self.of.report.log(f"note: workload() of {method.info.name} failed: {type(error).__name__}: {error}")
            return None

    @property
    def sizes(self) -> Sizes:
        return self.chosen.sizes(self.card)

    def towers(self, card: EncoderCard | None) -> Towers:
        """The towers of an encoder."""
        if card is None:
            return Towers(megapixels=self.chosen.megapixels)
        flops = self.of.past.image_flops(card.digest)
        return Towers.of(card, flops, self.chosen.megapixels)

    def _measured(self, towers: Towers, card: EncoderCard | None, prices: Prices) -> Towers:
        took = None if card is None else self.of.past.photo_seconds(card.digest, self.planned.spec.dtype)
        return towers if took is None else replace(towers, factor=took / max(1e-9, prices.photo(towers)))

    def _features(self, method: Method) -> Iterator[Thing]:
        """Encoding the photos of each split that the cache lacks."""
        if self.card is None or method.backbone is None or not method.uses_features:
            return
        source = self.of.store
        splits: Mapping[str, Photos] = {
            "train": self.chosen.train, "val": self.chosen.val, "database": self.chosen.database,
            "query": self.chosen.queries,
        }  # fmt: skip
        took = self.of.past.photo_seconds(self.card.digest, self.planned.spec.dtype)
        for split, photos in splits.items():
            if not (missing := source.missing(self.card, photos)):
                continue
            if took is None:
                each = self.of.prices.photo(self.towers(self.card))
                words = self.of.reference_words
            else:
                each, words = took, "this encoder here"
            yield Thing(
                f"features {self.card.digest} {self.dataset.name} {split}", f"features of {self.card.spec}",
                missing * each, words, 4.0 * missing * self.card.dim, sure=True, shared=True,
            )  # fmt: skip

    def _parts(self, method: Method, spec: RunSpec) -> Iterator[Thing]:
        """The parts that it is made of, and theirs in turn, except those that the cache holds."""
        of = self.of
        for part in method.parts().values():
            context = make_context(part.method, of.options, of.store, of.report, spec.seed)
            try:
                made, own = part_of(part, context, spec, self.dataset, of.options)
            except SkipMethod:
                continue  # its run will say so
            yield from self._parts(made, own)
            yield self._fit(made, own, self._workload(made), Path())

    def _fit(self, method: Method, spec: RunSpec, own: Workload | None, work: Path) -> Thing:
        """The fit of a run, or of a part. If the method shares its fit, it is one thing for all that need it."""
        name, key = method.info.name, f"fit {spec.run_id}"
        left = _left(work / "training.safetensors", method, len(self.chosen.train))
        if method.shares_fit:
            key = f"fit {part_id(spec)}"
            folder = self.of.options.cache / PARTS / part_id(spec)
            if fitted_methods.is_whole(folder / fitted_methods.STATE) and not self.of.options.rerun:
                return Thing(key, f"{name}, fitted already", 0.0, "the cache")
            left = _left(folder / "training.safetensors", method, len(self.chosen.train))
        disk = 0.0 if own is None else fitted_bytes(own)
        found: tuple[float | None, str]
        if not self.of.past.same(spec) and (part := self.of.past.part(spec)) is not None:
            found = part.seconds, "the same part of a run here"
        else:
            found = self._known(method, spec, None if own is None else own.fit, lambda taken: taken.fit)
        seconds, source = found
        return Thing(
            key, f"fit of {name}", None if seconds is None else seconds * left, source, disk, shared=method.shares_fit
        )

    def _rest(self, method: Method, own: Workload | None) -> Thing:
        """Loading, answering, and measuring latency."""
        spec = self.planned.spec
        key, what = f"answers {spec.run_id}", f"answers of {spec.method}"
        if own is None and not self.of.past.like(spec):
            return Thing(key, what, None, UNKNOWN)
        seconds, source = self._known(method, spec, None, lambda taken: taken.rest, answers=own or _ONE_PHOTO)
        return Thing(key, what, seconds, source)

    def _known(
        self, method: Method, spec: RunSpec, effort: Effort | None, taken: Callable[[Taken], float],
        answers: Workload | None = None,
    ) -> tuple[float | None, str]:  # fmt: skip
        """Seconds and their source: of a fit that takes `effort` or, where given, of `answers`."""
        past = self.of.past
        if same := past.same(spec):
            many = f"{len(same)} runs" if len(same) > 1 else "a run"
            return fmean(taken(one) for one in same), f"{many} of it here"
        for one in reversed(past.like(spec)):
            found = self._scaled(method, one, effort, taken(one), answers)
            if found is not None:
                about = one.record.dataset
                return found, f"a run here on {about.name} ({about.n_train:,} train photos), scaled"
        if answers is None and effort is None:
            return None, UNKNOWN
        if (effort if answers is None else answers.query) == Effort():  # what takes no time needs no probe
            return self._priced(Prices(), Towers(), self.sizes, effort, answers), "next to nothing"
        prices, towers = self.of.prices, self.towers(self.card)
        seen = self._measured(towers, self.card, prices)
        return self._priced(prices, seen, self.sizes, effort, answers), self.of.reference_words

    def _scaled(
        self, method: Method, one: Taken, effort: Effort | None, took: float, answers: Workload | None
    ) -> float | None:
        """What a run with other settings or photos took, times the work of this run over the work of that one."""
        record, prices, towers = one.record, Prices(), self.towers(self.card)
        about = record.dataset
        sizes = replace(
            self.sizes, train=about.n_train, val=about.n_val, database=about.n_database, queries=about.n_queries,
            candidates=about.n_candidates,
        )  # fmt: skip
        try:
            config = type(method).Config.model_validate(record.method.config)
        except ValueError:
            return None  # settings of another release
        then = self._workload(type(method)(config, method.context), sizes)
        now = self._workload(method)
        if then is None or now is None:  # no stated workload: by the photos that it learns from or answers
            per_photo = _answered if answers is not None else _learnt
            return took * per_photo(self.sizes, method.config) / max(1, per_photo(sizes, config))
        if answers is not None:
            timed = record.phases is not None and record.phases.query is not None
            before = self._priced(prices, towers, sizes, None, then, timed)
        else:
            before = self._priced(prices, towers, sizes, then.fit, None)
        after = self._priced(prices, towers, self.sizes, effort, answers)
        return max(0.0, (took + _LEAST) * (after + _LEAST) / (before + _LEAST) - _LEAST)

    def _priced(
        self, prices: Prices, towers: Towers, sizes: Sizes, effort: Effort | None, answers: Workload | None,
        timing: bool | None = None,
    ) -> float:  # fmt: skip
        if answers is None:
            return prices.seconds(effort or Effort(), towers)
        timing = self.of.options.timing if timing is None else timing
        calls = (WARMUP_CALLS + TIMED_CALLS) if timing and sizes.queries else 0
        together = _ROUNDS * THROUGHPUT_BATCH if calls else 0
        cached = self.planned.method.uses_features
        return prices.answers(answers.query, towers, sizes.queries, cached, calls, together)

    def _memory(self, spec: RunSpec, own: Workload | None) -> tuple[Memory | None, str]:
        """Memory at the peak: as measured in runs like this one, else computed."""
        on_gpu = not self.of.options.device.startswith("cpu")
        made = None
        if own is not None:
            made = peak_memory(own, self.towers(self.card), len(self.dataset), on_gpu)
        if peaks := [one.memory for one in self.of.past.same(spec) if one.memory]:
            return Memory(max(peaks), 0.0 if made is None else made.device), "runs of it here"
        return made, UNKNOWN if made is None else "made up of towers, batches and what is held"


_ONE_PHOTO = Workload(query=Effort(images=1))


def _learnt(sizes: Sizes, config: Any) -> float:
    return sizes.train * float(getattr(config, "epochs", 1))


def _answered(sizes: Sizes, config: Any) -> float:  # noqa: ARG001 - as `_learnt`
    return sizes.queries


def _owner(kind: type, name: str) -> type:
    """The class that defines what `kind` has under a name."""
    return next(c for c in kind.__mro__ if name in vars(c))


def _left(checkpoint: Path, method: Method, train: int) -> float:
    """The share of a training that is left after its checkpoint."""
    config = method.config
    if not isinstance(config, TrainingConfig) or not (steps := config.steps_over(train)):
        return 1.0
    return max(0.0, 1 - steps_done(checkpoint) / steps)
