"""From options to a dataset folder: photos over a process pool, resumable, the same bytes whoever makes them.

    synth-city.json         the options, written first: what the folder may be resumed with
    images/ROLE/SUB/*.jpg   the photos; a file under its own name is whole
    rows/SUB.json           captions, sizes and content digests of a sub-street whose photos are all there
    dataset.toml, ...       the dataset, written last
    .writing.lock           held by the process that writes; gone once it is done

The work is cut by sub-street. Nothing a photo depends on is shared between two, so neither the number of workers
nor an interruption can show in a photo.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ial_bench.errors import ConfigError, DataError, StorageError
from ial_bench.files import storage_errors
from ial_bench.folders import LOCK, alone, inside, is_free
from ial_bench.json_files import read_json, write_json
from ial_bench.synth.layout import City, make_layout
from ial_bench.synth.options import PRETRAIN_SEEDS, CityOptions
from ial_bench.synth.photograph import ROWS, kept_rows, photograph
from ial_bench.synth.records import CITY_VERSION, IMAGES, shots_of, write_tables

if TYPE_CHECKING:
    from ial_bench.datasets.dataset import Dataset

MARKER = "synth-city.json"


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
        ConfigError: the seed is one of those kept for pretraining, or `name` is no name or kept for another dataset.
        DataError: `out` holds something else, or a city of other options; nothing is touched.
        StorageError: the folder cannot be written to, or the disk is full. What is done is kept.
    """
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.datasets.streets import STREETS
    from ial_bench.datasets.table import DESCRIPTION

    mark = check_folder(out, options, name, city.survey.source if city and city.survey else None)
    city = city or make_layout(options)
    subs = range(len(city.sub_streets))
    made = (out / DESCRIPTION).is_file() and all(kept_rows(out, city, sub) is not None for sub in subs)
    # A city of an earlier release lacks its streets, a killed process leaves its lock: mended where that can be.
    mended = (out / STREETS).is_file() and not (out / LOCK).exists()
    if made and (mended or not os.access(out, os.W_OK)):
        progress(sum(len(shots_of(city, sub)) for sub in subs))
        return Dataset(out)  # without a lock: the folder of a whole city may be read-only
    with _stop_cleanly(out), alone(out, say):
        if not _is_ours(out, mark):
            write_json(out / MARKER, mark)
        for folder in (IMAGES, ROWS):
            inside(out, folder)
        _sweep(out)
        missing = []
        for sub in subs:
            if kept_rows(out, city, sub) is None:
                missing.append(sub)
            else:
                progress(len(shots_of(city, sub)))
        if not missing and (out / DESCRIPTION).is_file() and (out / STREETS).is_file():
            return Dataset(out)
        photograph(out, city, missing, workers, progress)
        write_tables(out, city, name, [kept_rows(out, city, sub) or {} for sub in subs])
    return Dataset(out)


def check_folder(out: Path, options: CityOptions, name: str, streets: dict[str, Any] | None = None) -> dict[str, Any]:
    """Refuse, before anything is written, what `make_city` would refuse.

    Args:
        out: as for `make_city`.
        options: as for `make_city`.
        name: as for `make_city`.
        streets: the street map that the city is drawn on, as in `Survey.source`.

    Returns:
        What marks a folder as this city.

    Raises:
        ConfigError: the seed is one of those kept for pretraining, or `name` is no name or kept for another dataset.
        DataError: `out` holds something else, or a city of other options.
    """
    from ial_bench.datasets.names import own_name

    own_name(name)
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
    if not is_free(out):
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
