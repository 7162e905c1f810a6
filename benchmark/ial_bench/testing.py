"""The conformance suite: does a method keep the contract? Any plugin can run it on itself.

from ial_bench.testing import check_method

def test_my_method():
    check_method(MyMethod)

An answer may end in `ial_bench.topk.NO_ANSWER` (-1) where the method knows no more candidates; it is wrong at every k.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ial_bench.addresses import Address
from ial_bench.datasets.contents import sums_of
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.table import Bounds, Description, write_dataset
from ial_bench.engine import fitted_methods
from ial_bench.engine.features import FeatureStore
from ial_bench.errors import BenchError, SkipMethod
from ial_bench.geo.lines import StreetLines
from ial_bench.image_batch import ImageBatch
from ial_bench.method import Method, MethodConfig, RunContext
from ial_bench.progress import NoReport
from ial_bench.seeds import generator
from ial_bench.settings import check_presets
from ial_bench.topk import TopK

CHECK_BACKBONE = "openclip:tiny-check/random-init"
"""A model of a few thousand untrained parameters, for checks alone."""

_STREETS = (
    "Oak Street",
    "Elm Street",
    "Pine Street",
    "Maple Avenue",
    "Cedar Avenue",
    "Birch Lane",
    "Ash Lane",
    "Fir Way",
)
_K = 3
_SCORE_TOLERANCE = 1e-4  # relative; batches of other sizes round differently


@dataclass(frozen=True)
class CheckOutcome:
    """One check: its name, and the problem, None if it passed."""

    name: str
    problem: str | None


def make_tiny_city(
    folder: Path,
    n_addresses: int = 6,
    train_places: int = 5,
    query_places: int = 2,
    views: int = 2,
    size: int = 32,
    val: bool = True,
    seed: int = 0,
    query_label_shift: int = 0,
) -> Dataset:
    """A dataset of small drawn photos: each address has colours of its own, each photo its own noise.

    Args:
        folder: where to write it.
        n_addresses: sub-streets, two to a street where there is more than one.
        train_places: places per address in train; one of them goes to val where there are several.
        query_places: places per address in query.
        views: photos per place.
        size: of the photos, in pixels.
        val: whether there is a val split.
        seed: of the noise.
        query_label_shift: moves the address of each query on by this many: the same photos, other labels.
    """
    from PIL import Image

    rng = generator("tiny city", seed)
    addresses = sorted(
        (
            Address(
                _STREETS[i // 2 % len(_STREETS)],
                "Old Town" if i < 2 * len(_STREETS) else f"Quarter {i}",
                cross,
            )
            for i in range(n_addresses)
            for cross in [(f"Crossing {i}", f"Crossing {i + 1}")]
        ),
        key=lambda a: a.text,
    )
    tints = generator("tiny city tints").integers(40, 216, size=(n_addresses, 2, 3))
    columns: dict[str, list[object]] = {
        name: []
        for name in (
            "photo_id",
            "path",
            "bytes",
            "split",
            "place_id",
            "address",
            "lat",
            "lon",
            "heading",
            "caption",
        )
    }
    files: list[Path] = []
    for row in range(n_addresses):
        for place in range(train_places + query_places):
            split = "query" if place >= train_places else "val" if val and place == 0 and train_places > 1 else "train"
            where = rng.normal(0, 2e-5, 2) + np.array([40.0 + 1e-3 * row, -80.0 + 1e-4 * place])
            for view in range(views):
                photo = np.repeat(tints[row], (size + 1) // 2, axis=0)[:size, None, :] + rng.normal(
                    0, 25, (size, size, 3)
                )
                path = f"{row:03d}/{place:03d}_{view}.png"
                target = folder / "images" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8)).save(target)
                files.append(target)
                values = (
                    path, path, target.stat().st_size, split, f"{row}-{place}",
                    (row + query_label_shift) % n_addresses if split == "query" else row,
                    where[0], where[1], 180.0 * view, f"a drawn street number {row}",
                )  # fmt: skip
                for name, value in zip(columns, values, strict=True):
                    columns[name].append(value)
    description = Description(
        "tiny-city", "Tiny city", "images", Bounds(39.0, -81.0, 41.0, -79.0), "drawn by ial-bench"
    )
    streets = _tiny_streets(n_addresses)
    contents = sums_of(len(files), lambda part: (file.read_bytes() for file in files[part]))
    write_dataset(folder, description, addresses, [a.verbose for a in addresses], columns, streets, contents=contents)
    return Dataset(folder)


def _tiny_streets(n: int) -> StreetLines:
    """A straight line through the places of each address."""
    lines = [np.array([[40.0 + 1e-3 * row, lon] for lon in (-80.0005, -79.999)]) for row in range(n)]
    return StreetLines.of(range(n), lines)


def check_method(method: type[Method], config: MethodConfig | None = None) -> None:
    """Check a method against the contract.

    Args:
        method: the class.
        config: its configuration; by default the class's own, with a tiny untrained encoder as backbone.

    Raises:
        AssertionError: it does not keep the contract; lists every check that failed.
    """
    if config is None:
        has_backbone = "backbone" in method.Config.model_fields
        config = method.Config(**({"backbone": CHECK_BACKBONE} if has_backbone else {}))
    failed = [o for o in run_checks(method, config) if o.problem is not None]
    if failed:
        lines = "\n".join(f"  {o.name}: {o.problem}" for o in failed)
        raise AssertionError(f"method {method.info.name!r} does not keep the contract:\n{lines}")


def run_checks(method: type[Method], config: MethodConfig) -> list[CheckOutcome]:
    """Every check with its outcome."""
    with tempfile.TemporaryDirectory(prefix="ial-bench-check-") as folder:
        bench = _Bench(method, config, Path(folder))
        checks: Sequence[tuple[str, Callable[[], None]]] = (
            ("answers are valid", bench.valid),
            ("k larger than the candidate set", bench.large_k),
            ("no photos", bench.no_photos),
            ("same seed, same answers", bench.deterministic),
            ("the seed matters only if declared", bench.seed_declared),
            ("answers do not depend on the batch", bench.batch_independent),
            ("photos are not written to", bench.photos_untouched),
            ("labels of queries are not used", bench.labels_unused),
            ("save and load", bench.round_trip),
            ("parts", bench.parts),
            ("one candidate", bench.one_candidate),
            ("no val split", bench.no_val),
            ("sizes are told", bench.sizes),
            ("presets fit the settings", bench.presets),
        )
        return [CheckOutcome(name, _problem(check)) for name, check in checks]


def _problem(check: Callable[[], None]) -> str | None:
    try:
        check()
    except SkipMethod as skip:
        return f"cannot run here: {skip.reason}"
    except AssertionError as error:
        return str(error)
    except BenchError as error:
        return error.problem
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a method raises is its problem
        return f"{type(error).__name__}: {error}"
    return None


class _Bench:
    """A method with small cities to try it on."""

    def __init__(self, method: type[Method], config: MethodConfig, folder: Path) -> None:
        self._method = method
        self._config = config
        self._folder = folder
        self._store = FeatureStore(folder / "cache", "cpu", batch_size=8, workers=0, report=NoReport())
        self._city = make_tiny_city(folder / "city")
        self._kept: Method | None = None

    def _new(self, seed: int = 0) -> Method:
        context = RunContext(seed, "cpu", self._store, NoReport(), batch_size=8)
        return self._method(self._config, context)

    def _fitted(self, city: Dataset | None = None, seed: int = 0) -> Method:
        data, method = city or self._city, self._new(seed)
        method.prepare()
        method.fit(data.split("train"), data.split("val"))
        method.index(data.candidates)
        return method

    @property
    def _ready(self) -> Method:
        if self._kept is None:
            self._kept = self._fitted()
        return self._kept

    def _photos(self, city: Dataset | None = None, which: slice = slice(None)) -> ImageBatch:
        """Queries as decoded arrays, so that nothing is looked up in the cache."""
        queries = (city or self._city).split("query").part(which)
        arrays = [queries.image(i) for i in range(len(queries))]
        oracle = self._method.info.oracle
        return ImageBatch.from_arrays(arrays, queries.keys(), queries.positions if oracle else None)

    def _ask(self, method: Method, photos: ImageBatch, k: int = _K, n_candidates: int | None = None) -> TopK:
        top = method.predict(photos, k)
        top.check(len(photos), k, n_candidates or len(self._city.candidates), self._method.info.name)
        return top

    def valid(self) -> None:
        self._ask(self._ready, self._photos())

    def large_k(self) -> None:
        self._ask(self._ready, self._photos(), k=1000)

    def no_photos(self) -> None:
        self._ask(self._ready, self._photos(which=slice(0, 0)))

    def deterministic(self) -> None:
        photos = self._photos()
        _same(
            self._ask(self._ready, photos),
            self._ask(self._fitted(), photos),
            "a second fit with the same seed",
        )
        _same(self._ask(self._ready, photos), self._ask(self._ready, photos), "asking twice")

    def seed_declared(self) -> None:
        if not self._method.info.stochastic:
            photos = self._photos()
            what = "another seed, though info.stochastic is False,"
            _same(self._ask(self._ready, photos), self._ask(self._fitted(seed=1), photos), what)

    def batch_independent(self) -> None:
        photos = self._photos()
        together = self._ask(self._ready, photos)
        one_by_one = [self._ask(self._ready, photos[i : i + 1]) for i in range(len(photos))]
        alone = TopK(np.concatenate([t.indices for t in one_by_one]), np.concatenate([t.scores for t in one_by_one]))
        _close(together, alone, "asking photo by photo")

    def photos_untouched(self) -> None:
        photos = self._photos()
        before = [photos[i].copy() for i in range(len(photos))]
        self._ask(self._ready, photos)
        assert all((photos[i] == before[i]).all() for i in range(len(photos))), (
            "predict changed the photos it was given"
        )

    def labels_unused(self) -> None:
        other = make_tiny_city(self._folder / "relabelled", query_label_shift=1)
        photos = self._photos()
        _same(
            self._ask(self._ready, photos),
            self._ask(self._fitted(other), photos),
            "other labels of the queries",
        )

    def round_trip(self) -> None:
        folder = self._folder / "saved"
        folder.mkdir()
        fitted_methods.store(self._ready, folder, {})
        loaded = self._new()
        loaded.prepare()
        fitted_methods.restored(loaded, folder)
        photos = self._photos()
        _same(self._ask(self._ready, photos), self._ask(loaded, photos), "a save and a load")

    def parts(self) -> None:
        for name, part in self._new().parts().items():
            assert part.method.shares_fit, (
                f"its part {name!r} is {part.method.info.name}, which does not share its fit: shares_fit is False"
            )
        if self._method.shares_fit:
            again = self._new()
            again.prepare()
            again.facts.update(self._ready.facts)
            again.restore_fit({name: np.array(array) for name, array in self._ready.fit_state().items()})
            again.index(self._city.candidates)
            photos = self._photos()
            _same(self._ask(self._ready, photos), self._ask(again, photos), "a shared fit that came back")

    def one_candidate(self) -> None:
        city = make_tiny_city(self._folder / "one", n_addresses=1)
        self._ask(self._fitted(city), self._photos(city), n_candidates=1)

    def no_val(self) -> None:
        city = make_tiny_city(self._folder / "no-val", val=False)
        self._ask(self._fitted(city), self._photos(city))

    def sizes(self) -> None:
        storage, count = self._ready.storage_bytes(), self._ready.parameters()
        assert storage >= 0, f"storage_bytes is {storage}"
        assert 0 <= count.trained <= count.total, f"{count.trained} of {count.total} parameters are trained"

    def presets(self) -> None:
        check_presets(self._method)


def _same(a: TopK, b: TopK, what: str) -> None:
    equal = (a.indices == b.indices).all(axis=1) & np.isclose(a.scores, b.scores, rtol=1e-6).all(axis=1)
    assert equal.all(), f"{what} gives another answer to {int((~equal).sum())} of {len(equal)} photos"


def _close(a: TopK, b: TopK, what: str) -> None:
    """The same up to rounding: candidates may change places only where their scores are nearly equal."""
    scale: npt.NDArray[np.float32] = np.maximum(np.abs(a.scores).max(axis=1, keepdims=True), np.float32(1e-6))
    near = np.abs(a.scores - b.scores) <= _SCORE_TOLERANCE * scale
    assert near.all(), f"{what} gives other scores to {int((~near.all(axis=1)).sum())} of {len(near)} photos"
    gaps = np.abs(np.diff(a.scores, axis=1, append=a.scores[:, -1:] - 2 * scale))
    swapped = (a.indices != b.indices) & (gaps > 2 * _SCORE_TOLERANCE * scale)
    swapped[:, 1:] &= gaps[:, :-1] > 2 * _SCORE_TOLERANCE * scale
    assert not swapped.any(), (
        f"{what} gives another answer to {int(swapped.any(axis=1).sum())} of {len(swapped)} photos"
    )
