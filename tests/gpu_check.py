"""What only a machine with a CUDA device can show, in one go of at most ten minutes:

    python tests/gpu_check.py --out gpu-check.json

    methods     every built-in method on the device against itself on the CPU, on a drawn city
    training    photos a second of AddressCLIP's training: from memory, and from tar shards
    latency     time of a query, alone, as records measure it

Status 1: a method was skipped, failed, or, though nothing is trained, answers otherwise than on the CPU; or a part
failed. Status 2: no such device. Speeds are read, never asserted. `--device cpu --quick` tries the script itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import Any

from ial_bench.cli.console import ConsoleReporter
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.export import export_webdataset
from ial_bench.engine import provenance
from ial_bench.engine.features import FeatureStore
from ial_bench.engine.timing import measure_queries, timed
from ial_bench.errors import ConfigError
from ial_bench.json_files import write_json
from ial_bench.machine import resolve_device
from ial_bench.method import RunContext
from ial_bench.progress import NoReport
from ial_bench.registry import Registry
from ial_bench.synth.options import CityOptions
from ial_bench.synth.write import make_city
from ial_bench.testing import CHECK_BACKBONE
from support.gpu_methods import SEED, Bench, Compared, compare

PHOTOS_PER_SECOND, QUERY_MS = 2500.0, 1.5
"""Aims: of training, and of a query."""


@dataclass(frozen=True)
class Size:
    """How large the check is.

    Attributes:
        methods: names; none: all that come with the project.
        backbone: of the methods that are compared.
        city: that they are compared on.
        large_backbone: whose speed is measured.
        large_city: whose photos it sees.
        batch: photos of a training step.
        steps: that are timed at most, each time.
        seconds: that they may take, each time.
        shard_bytes: of a tar shard at most.
        workers: processes that draw and load photos; none: as many as there are cores.
        needs: seconds to keep for each of the later parts.
    """

    methods: tuple[str, ...]
    backbone: str
    city: CityOptions
    large_backbone: str
    large_city: CityOptions
    batch: int
    steps: int
    seconds: float
    shard_bytes: int
    workers: int | None
    needs: Mapping[str, float]


FULL = Size(
    methods=(), backbone="openclip:tiny-street/synth", city=CityOptions(501, (4, 4), 64, train_places=6, train_views=3),
    large_backbone="openclip:ViT-B-16/random-init",
    large_city=CityOptions(502, (4, 4), 224, train_places=24, query_places=1, val_fraction=0.0),
    batch=256, steps=96, seconds=30.0, shard_bytes=8_000_000, workers=None, needs={"training": 150.0, "latency": 30.0},
)  # fmt: skip
QUICK = Size(
    methods=("tip-adapter", "clip-adapter"), backbone=CHECK_BACKBONE,
    city=CityOptions(501, (2, 2), 32, train_places=2, query_places=1, train_views=2, query_views=1),
    large_backbone=CHECK_BACKBONE,
    large_city=CityOptions(502, (2, 2), 32, train_places=2, query_places=1, query_views=1, val_fraction=0.0),
    batch=4, steps=2, seconds=5.0, shard_bytes=20_000, workers=1, needs={},
)  # fmt: skip


class Check:
    """The three parts, and what they found.

    Args:
        size: how large it is.
        device: torch device to check.
        minutes: that it may take.
        folder: for drawn cities, features and records; may be thrown away.
    """

    def __init__(self, size: Size, device: str, minutes: float, folder: Path) -> None:
        self.size, self.device, self.folder = size, device, folder
        self._ends = time.monotonic() + 60 * minutes
        self._say = ConsoleReporter().log
        self.problems: list[str] = []
        self.found: dict[str, Any] = {}

    def left(self) -> float:
        """Seconds."""
        return self._ends - time.monotonic()

    def part(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Do a part, if there is time for it; its failure is a finding like others."""
        needs = self.size.needs.get(name, 0.0)
        if self.left() <= needs:
            self._say(f"{name}: left out: it takes up to {needs:.0f} s, {max(0.0, self.left()):.0f} s are left")
            self.found[name] = {"state": "left out"}
            return
        self._say(f"{name}: begun, {self.left():.0f} s left")
        started = time.perf_counter()
        try:
            told = {"state": "done", **work()}
        except Exception as error:  # noqa: BLE001 - what the other parts found is to be kept
            told = {"state": "failed", "reason": f"{type(error).__name__}: {error}"}
            self.problems.append(f"{name}: {told['reason']}")
            self._say(self.problems[-1])
        self.found[name] = {**told, "seconds": time.perf_counter() - started}

    @cached_property
    def workers(self) -> int:
        """Processes that load photos."""
        return self.size.workers or int(provenance.hardware("cpu")["cores"])

    def methods(self) -> dict[str, Any]:
        """Every method on the device and on the CPU."""
        city = self._drawn(self.size.city, "gpu-check")
        # Two loaders, where there are several: photos then take the way through workers and pinned memory.
        loaders = min(2, self.workers - 1)
        benches = [
            Bench(city, self.folder / "device", self.device, timing=True, workers=loaders),
            Bench(city, self.folder / "cpu", "cpu", timing=False, workers=loaders),
        ]
        registry = Registry()
        own = [n for n in registry.names if registry.origin(n) == "ial-bench"]
        assert own, "no methods are registered: install the project (pip install -e .)"
        cases: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in self.size.methods or own]
        if self.device != "cpu":
            cases.append(("addressclip", {"precision": "fp16"}))  # scaled gradients are of CUDA alone
        later = sum(self.size.needs.values())
        told = []
        for number, (name, given) in enumerate(cases, 1):
            if self.left() > later:
                found = compare(name, given, registry, self.size.backbone, benches)
            else:
                found = Compared(name, "left out", "the time is kept for the other parts")
            if found.state in {"differs", "skipped", "failed"}:
                self.problems.append(f"{found.method}: {found.state}: {found.reason}")
            self._say(f"[{number}/{len(cases)}] {found}")
            told.append(asdict(found))
        return {"n_queries": len(city.split("query")), "n_candidates": len(city.candidates), "methods": told}

    def training(self) -> dict[str, Any]:
        """Photos a second of AddressCLIP as it was published, in bf16."""
        from ial_bench.datasets.loader import _AHEAD
        from ial_bench.training.loop import _repeatable

        city, size = self._sharded, self.size
        train = city.split("train")
        workers = self.workers
        method = self._addressclip(workers)
        task = method.task(train, city.split("val"))
        trainer = task.trainer
        batch, warm_up = trainer.sampler.size, _AHEAD + 3  # what workers have ready beforehand is used up in it
        wanted = warm_up + size.steps + _AHEAD  # loading goes on to the end of what is timed
        rows = list(islice((r for epoch in count() for r in trainer.sampler.epoch(epoch)), wanted))
        told = {
            "backbone": size.large_backbone, "precision": trainer.config.precision, "batch": batch,
            "pixels": self._side, "photos": len(train), "workers": workers,
        }  # fmt: skip

        def loaded() -> closing[Any]:
            batches: Any = task.inputs(rows, 0)
            return closing(batches)  # its workers end before others begin

        with _repeatable(trainer.device):
            (pixels,) = task.inputs(rows[:1], 0)
            again = ((rows[0], pixels) for _ in count())
            told["memory"] = self._rate("memory", again, lambda given: trainer._step(*given), batch, 5)
            with loaded() as batches:
                told["loading"] = self._rate("shards, loading alone", batches, lambda _: None, batch, warm_up)
            with loaded() as batches:
                steps = zip(rows, batches, strict=False)
                told["shards"] = self._rate("shards", steps, lambda given: trainer._step(*given), batch, warm_up)
        return told

    def latency(self) -> dict[str, Any]:
        """Of AddressCLIP with the large backbone. That of all methods with the small one is told by `methods`."""
        method = self._addressclip(0)
        method.index(self._large.candidates)
        told = measure_queries(method, self._large.split("query"), 10, self.device).model_dump()
        self._say(f"latency: p50 {told['p50_ms']:.2f} ms, p95 {told['p95_ms']:.2f} ms")
        return {"method": "addressclip", "backbone": self.size.large_backbone, "pixels": self._side, **told}

    @property
    def _side(self) -> int:
        return self.size.large_city.size

    def _rate(
        self, what: str, batches: Iterable[Any], use: Callable[[Any], object], size: int, warm_up: int
    ) -> dict[str, Any]:
        feed, steps = iter(batches), 0
        for given in islice(feed, warm_up):
            use(given)
        with timed(self.device) as told:
            started = time.perf_counter()
            for given in islice(feed, self.size.steps):
                use(given)
                steps += 1
                if time.perf_counter() - started > self.size.seconds:
                    break
        phase = told()
        rate = steps * size / phase.seconds
        self._say(f"training: {what}: {rate:,.0f} photos/s")
        return {"photos_per_second": rate, "steps": steps, "warm_up": warm_up, **phase.model_dump()}

    def _addressclip(self, workers: int) -> Any:
        from ial_methods.addressclip.method import AddressClip

        size = self.size
        store = FeatureStore(self.folder / "large-cache", self.device, size.batch, workers, NoReport())
        context = RunContext(SEED, self.device, store, NoReport(), size.batch, workers)
        given = {**AddressClip.presets["paper"], "batch_size": size.batch, "precision": "bf16"}
        return AddressClip(AddressClip.Config(**given, backbone=size.large_backbone), context)

    def _drawn(self, options: CityOptions, name: str) -> Dataset:
        self._say(f"drawing {options.n_photos:,} photos of {options.size} px")
        return make_city(self.folder / name, options, self.workers, name=name)

    @cached_property
    def _large(self) -> Dataset:
        return self._drawn(self.size.large_city, "gpu-check-large")

    @cached_property
    def _sharded(self) -> Dataset:
        out = self.folder / "shards"
        export_webdataset(self._large, out, self.size.shard_bytes)
        return Dataset(out)

    def aims(self) -> list[dict[str, Any]]:
        """What was aimed at and what came of it; None where it was not measured."""
        training, latency = self.found.get("training", {}), self.found.get("latency", {})
        rates = {way: training.get(way, {}).get("photos_per_second") for way in ("memory", "shards")}
        told = [
            {"what": f"training from {way}, photos/s", "aim": PHOTOS_PER_SECOND, "found": rate,
             "met": None if rate is None else rate >= PHOTOS_PER_SECOND}
            for way, rate in rates.items()
        ]  # fmt: skip
        p50 = latency.get("p50_ms")
        met = None if p50 is None else p50 < QUERY_MS
        return [*told, {"what": "query p50, ms", "aim": QUERY_MS, "found": p50, "met": met}]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, write the JSON, print a summary; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"), help="JSON to write")
    parser.add_argument("--minutes", type=float, default=10.0, help="what would not fit into them is left out")
    parser.add_argument("--device", default="cuda", help="torch device to check")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the script")
    given = parser.parse_args(arguments)
    try:
        device = resolve_device(given.device)
    except ConfigError as error:
        print(f"nothing was checked: {error.problem}", file=sys.stderr)
        return 2
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        check = Check(QUICK if given.quick else FULL, device, given.minutes, Path(folder))
        for name, work in (("methods", check.methods), ("training", check.training), ("latency", check.latency)):
            check.part(name, work)
            write_json(given.out, told_of(check, given, time.perf_counter() - started))
    print_summary(check, given.out, time.perf_counter() - started)
    return 1 if check.problems else 0


def told_of(check: Check, given: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """All that is written, as JSON values."""
    import torch

    return {
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "quick": given.quick,
        "minutes": given.minutes,
        "seconds": seconds,
        "seed": SEED,
        "project": provenance.project(),
        "packages": provenance.packages(),
        "hardware": provenance.hardware(check.device),
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32},
        "aims": check.aims(),
        "problems": check.problems,
        **check.found,
    }


def print_summary(check: Check, out: Path, seconds: float) -> None:
    """A page of it."""
    told = check.found.get("methods", {}).get("methods", [])
    states = [m["state"] for m in told]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states)) or "none"
    print(f"{provenance.hardware(check.device).get('gpu', check.device)}: {seconds:.0f} s")
    print(f"methods: {counts}")
    for name, part in check.found.items():
        if part["state"] != "done":
            print(f"{name}: {part['state']}")
    for aim in check.aims():
        met = {None: "not measured", True: "met", False: "not met"}[aim["met"]]
        print(f"{aim['what']}: {aim['found'] or 0:,.2f} (aim {aim['aim']:,g}: {met})")
    for problem in check.problems:
        print(f"problem: {problem}")
    print(f"all figures: {out}")


if __name__ == "__main__":
    sys.exit(main())
