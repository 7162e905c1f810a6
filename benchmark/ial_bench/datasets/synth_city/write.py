"""From options to a dataset folder: photos over a process pool, resumable, the same bytes whoever makes them.

    synth-city.json         the options, written first: what the folder may be resumed with
    images/ROLE/SUB/*.jpg   the photos; a file under its own name is whole
    rows/SUB.json           captions and sizes of a sub-street whose photos are all there
    dataset.toml, ...       the dataset, written last
    .synth-city.json.lock   held by the process that writes; gone once the city is whole

The work is cut by sub-street. Nothing a photo depends on is shared between two, so neither the number of workers
nor an interruption can show in a photo.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from ial_bench.datasets.synth_city.captions import caption
from ial_bench.datasets.synth_city.captures import QUERY, captures_of
from ial_bench.datasets.synth_city.layout import City, make_layout
from ial_bench.datasets.synth_city.options import PRETRAIN_SEEDS, SUFFIXES, CityOptions
from ial_bench.datasets.synth_city.records import CITY_VERSION, IMAGES, shots_of, write_tables
from ial_bench.datasets.synth_city.render import photo_of
from ial_bench.datasets.synth_city.trace import trace
from ial_bench.errors import ConfigError, DataError, StorageError
from ial_bench.files import make_folder, read_json, storage_errors, write_json
from ial_bench.images import RGB

if TYPE_CHECKING:
    from ial_bench.datasets.dataset import Dataset

MARKER, ROWS = "synth-city.json", "rows"
_LOCK = f".{MARKER}.lock"
_JPEG_QUALITY = 92
_UNFINISHED = ".part"


def make_city(
    out: Path,
    options: CityOptions,
    workers: int = 1,
    progress: Callable[[int], object] = lambda _: None,
    name: str = "synth-city",
    say: Callable[[str], object] = lambda _: None,
    city: City | None = None,
) -> Dataset:
    """Make the city of `options` in `out`, or what is missing of it, and open it.

    Where another process is making it, this one waits and then takes over what is there.

    Args:
        out: the dataset folder. May be new, empty, or a synth city of the same options, whole or in part.
        options: what it is to be.
        workers: processes that render; photos do not depend on it.
        progress: called with the number of photos done since the last call.
        name: the name the dataset is reported by.
        say: told a line where it must wait for another process.
        city: of the same options, where it is drawn on a street map; None: the one that the options describe.

    Raises:
        ConfigError: the seed is one of those kept for pretraining.
        DataError: `out` holds something else, or a city of other options; nothing is touched.
        StorageError: the folder cannot be written to, or the disk is full. What is done is kept.
    """
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.datasets.streets import STREETS
    from ial_bench.datasets.table import DESCRIPTION

    mark = check_folder(out, options, name, city.survey.source if city and city.survey else None)
    city = city or make_layout(options)
    subs = range(len(city.sub_streets))
    made = (out / DESCRIPTION).is_file() and all(_kept_rows(out, city, sub) is not None for sub in subs)
    # A city of an earlier release lacks its streets: they are added, where the folder can be written to.
    if made and ((out / STREETS).is_file() or not os.access(out, os.W_OK)):
        progress(sum(len(shots_of(city, sub)) for sub in subs))
        return Dataset(out)  # without a lock: the folder of a whole city may be read-only
    with _stop_cleanly(out), _alone(out, say):
        if not _is_ours(out, mark):
            write_json(out / MARKER, mark)
        _sweep(out)
        missing = []
        for sub in subs:
            if _kept_rows(out, city, sub) is None:
                missing.append(sub)
            else:
                progress(len(shots_of(city, sub)))
        if not missing and (out / DESCRIPTION).is_file() and (out / STREETS).is_file():
            return Dataset(out)
        _photograph(out, city, missing, workers, progress)
        write_tables(out, city, name, [_kept_rows(out, city, sub) or {} for sub in subs])
    return Dataset(out)


def check_folder(out: Path, options: CityOptions, name: str, streets: dict[str, Any] | None = None) -> dict[str, Any]:
    """Refuse, before anything is written, what `make_city` would refuse.

    Args:
        out, options, name: as for `make_city`.
        streets: the street map that the city is drawn on, as in `Survey.source`.

    Returns:
        What marks a folder as this city.

    Raises:
        ConfigError: the seed is one of those kept for pretraining.
        DataError: `out` holds something else, or a city of other options.
    """
    if options.seed in PRETRAIN_SEEDS:
        raise ConfigError(
            f"city seed {options.seed:,} is kept for pretraining, so that no encoder has seen a measured city",
            f"give a seed below {PRETRAIN_SEEDS.start:,}",
        )
    told = {"options": options.to_json(blocks=streets is None), **({"streets": streets} if streets else {})}
    mark = {"synth_city": CITY_VERSION, "name": name, **told}
    _is_ours(out, mark)
    return mark


def _is_ours(out: Path, mark: dict[str, Any]) -> bool:
    """Whether `out` is marked as this city; False if it is free to be.

    Raises:
        DataError: it is neither.
    """
    marker = out / MARKER
    if marker.is_file():
        there = read_json(marker)
        if there != mark:
            differing = _difference(there, mark)
            raise DataError(
                f"{out} is a synth city of other options ({differing}); it is not overwritten",
                "choose another folder or --name, or delete that one first",
            )
        return True
    with storage_errors(out):
        occupied = out.exists() and (
            not out.is_dir() or any(not p.name.startswith(f".{MARKER}") for p in out.iterdir())
        )
    if occupied:
        raise DataError(
            f"{out} is there and is not a synth city; it is not overwritten", "choose another folder or --name"
        )
    return False


def _difference(there: Any, mark: dict[str, Any]) -> str:
    if not isinstance(there, dict) or there.get("synth_city") != mark["synth_city"]:
        return "made by another version"
    if there.get("name") != mark["name"]:
        return f"its name is {there.get('name')!r}"
    old, new = ({**(m.get("streets") or {}), **(m.get("options") or {})} for m in (there, mark))
    differing = [k for k in {**new, **old} if old.get(k) != new.get(k)]
    return ", ".join(f"{k}: {old.get(k)}, not {new.get(k)}" for k in differing)


@contextlib.contextmanager
def _alone(out: Path, say: Callable[[str], object]) -> Iterator[None]:
    """Hold the lock of `out`, so that no two processes write there. A killed process holds it no longer."""
    from filelock import FileLock, Timeout

    path = make_folder(out) / _LOCK
    lock = FileLock(path)
    with storage_errors(path):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another process is making {out}; waiting for it")
            lock.acquire()
    try:
        yield
        # The city is whole: whoever holds or awaits a lock on this very file finds nothing left to write.
        path.unlink(missing_ok=True)
    finally:
        lock.release()


def _sweep(out: Path) -> None:
    """Remove the half-written files of a killed process; those of photos are written over."""
    with storage_errors(out):
        for half in (*out.glob(".*.tmp"), *(out / ROWS).glob(".*.tmp")):
            half.unlink(missing_ok=True)


@contextlib.contextmanager
def _stop_cleanly(out: Path) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise StorageError(
            f"{error.problem}; the photos of {out} that are done are kept",
            f"{error.fix or 'mend that'}; then give the same command again, and it goes on from there",
        ) from error


def _kept_rows(out: Path, city: City, sub: int) -> dict[str, Any] | None:
    """What an earlier run wrote of a sub-street; None unless all its photos are there, of the right size."""
    path = out / ROWS / f"{sub:05d}.json"
    if not path.is_file():
        return None
    try:
        rows = read_json(path)
        ids, sizes, captions = rows["photo_id"], rows["bytes"], rows["caption"]
        suffix = SUFFIXES[city.options.image_format]
        whole = len(ids) == len(sizes) == len(captions) and all(
            _size_of(out / IMAGES / f"{photo_id}.{suffix}") == size for photo_id, size in zip(ids, sizes, strict=True)
        )
    except (DataError, KeyError, TypeError):
        return None
    return rows if whole else None


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _photograph(out: Path, city: City, missing: list[int], workers: int, progress: Callable[[int], object]) -> None:
    if min(workers, len(missing)) <= 1:
        for sub in missing:
            progress(_one_sub_street(out, city, sub))
        return
    # Not forked: the caller may have threads (of torch, say), and a lock held by one of them would stay locked.
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(missing)), context, _start_worker, (out, city)) as pool:
        try:
            for done in as_completed([pool.submit(_in_worker, sub) for sub in missing]):
                progress(done.result())
        except BrokenProcessPool as error:
            raise DataError(
                "a process that renders was ended from outside, for want of memory perhaps",
                "give the same command again with fewer --workers; it goes on from there",
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


_worker: dict[str, Any] = {}


def _start_worker(out: Path, city: City) -> None:
    _worker.update(out=out, city=city)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is killed, or it would write beside whoever resumes, and then wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_worker(sub: int) -> int:
    return _one_sub_street(_worker["out"], _worker["city"], sub)


def _one_sub_street(out: Path, city: City, sub: int) -> int:
    """Render a sub-street; how many photos it has. Photos that are there are left as they are."""
    suffix, size = SUFFIXES[city.options.image_format], city.options.size
    rows: dict[str, list[Any]] = {"photo_id": [], "bytes": [], "caption": [], "heading": []}
    views: dict[str, Iterator[Any]] = {}
    for shot in shots_of(city, sub):
        number = city.options.query_views if shot.place.role == QUERY else city.options.train_views
        capture = next(views.setdefault(shot.place.place_id, captures_of(city, shot.place, number)))
        seen = trace(city, capture, size)
        data = encode(photo_of(city, capture, seen), city.options.image_format)
        target = out / IMAGES / f"{shot.photo_id}.{suffix}"
        if _size_of(target) != len(data):
            _write_photo(target, data)
        for column, value in zip(
            rows.values(), (shot.photo_id, len(data), caption(city, capture, seen), capture.heading), strict=True
        ):
            column.append(value)
    write_json(out / ROWS / f"{sub:05d}.json", rows)
    return len(rows["photo_id"])


def encode(photo: RGB, image_format: str) -> bytes:
    """The bytes of an image file. JPEGs keep full colour resolution: photos of 64 pixels have none to spare."""
    from PIL import Image

    buffer = io.BytesIO()
    if image_format == "png":
        Image.fromarray(photo).save(buffer, "PNG", compress_level=6)
    else:
        Image.fromarray(photo).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _write_photo(target: Path, data: bytes) -> None:
    """Whole or not at all. Not synced: a power cut can cost photos, and then the size tells which."""
    make_folder(target.parent)
    with storage_errors(target):
        part = target.with_name(target.name + _UNFINISHED)
        try:
            part.write_bytes(data)
            os.replace(part, target)  # noqa: PTH105 - Path.replace makes another Path of each of a million
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def options_of(folder: Path) -> CityOptions:
    """The options a synth city was made from.

    Raises:
        DataError: not a synth city.
    """
    path = folder / MARKER
    if not path.is_file():
        raise DataError(f"{folder} is not a synth city: no {MARKER} in it", "make one with `bench data synth`")
    try:
        found = read_json(path)["options"]
        return CityOptions(**{**found, "blocks": tuple(found.get("blocks", CityOptions.blocks))})
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} does not hold a city's options: {error}", "make the city again") from error
