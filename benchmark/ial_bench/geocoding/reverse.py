"""Reverse geocoders: what a position is called, by a table of towns or by a service over the network.

Services are asked through geopy, once for each position; their answers are kept.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from ial_bench.errors import BenchError, ConfigError, SkipMethod, StorageError, unknown_name
from ial_bench.files import make_folder
from ial_bench.geo.points import CELLS_PER_DEGREE, Cell, Points, cells_of

# Where services put the name of a street, and those of the parts of a city, from the smallest to the largest.
_STREET_KEYS = ("road", "street", "route", "pedestrian", "footway", "residential", "path", "square", "streetname")
_AREA_KEYS = (
    "neighbourhood", "neighborhood", "quarter", "suburb", "locality", "sublocality", "city_district", "district",
    "borough", "hamlet", "village", "town", "city",
)  # fmt: skip
KEY_VARIABLE = "IAL_BENCH_GEOCODER_KEY"
_KEY_PARAMETERS = ("api_key", "access_token", "subscription_key", "apikey", "username")
_LONGEST_WAIT_S = 60.0
_CACHE_NAME = "geocoder-answers.sqlite"
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    service TEXT, lat INTEGER, lon INTEGER, answer TEXT, asked TEXT, PRIMARY KEY (service, lat, lon)
) WITHOUT ROWID"""


@dataclass(frozen=True)
class PlaceName:
    """What a geocoder calls a position.

    Attributes:
        streets: names of the street it is on, the likeliest first; none where it is on no named one.
        areas: names of parts of the city it lies in, the smallest first.
    """

    streets: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()


class ReverseGeocoder(Protocol):
    """Looks up what a position is called."""

    def names(self, positions: Points) -> list[PlaceName | None]:
        """The name of each position [n, 2]; None where it has none."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What is worth keeping in a run's record. JSON values."""
        ...


class NearestTown:
    """City and district of a position, from GeoNames' towns of more than 1,000 people, by the reverse_geocoder package.

    It knows no streets: as the look-up of a pipeline it answers nothing, and its row in a table shows that.

    Raises:
        SkipMethod: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            import reverse_geocoder
        except ImportError as error:
            raise SkipMethod("reverse_geocoder is not installed: pip install 'ial-bench[geo]'") from error
        # Given its own table as a stream, it neither prints, nor starts processes, nor leaves a file open.
        table = Path(reverse_geocoder.__file__).with_name(reverse_geocoder.RG_FILE)
        stream = io.StringIO(table.read_text(encoding="utf-8"))
        self._geocoder = reverse_geocoder.RGeocoder(mode=1, verbose=False, stream=stream)
        self._towns = set[str]()

    def names(self, positions: Points) -> list[PlaceName | None]:
        """Town, district and region."""
        found = self._geocoder.query([tuple(p) for p in positions.tolist()]) if len(positions) else []
        self._towns.update(one["name"] for one in found)
        return [PlaceName(areas=tuple(one[k] for k in ("name", "admin2", "admin1") if one[k])) for one in found]

    def facts(self) -> Mapping[str, Any]:
        """The towns it named, ten at most."""
        return {"towns": sorted(self._towns)[:10]}


def parts_of(raw: Any, text: str = "") -> PlaceName:
    """The names in a service's answer.

    Understands the layouts of Nominatim (``address``), Photon (``properties``) and Google (``address_components``), and
    whatever else has keys of their names. Without any, the parts between the commas of `text` may be either.

    Args:
        raw: the answer, JSON.
        text: its address in one line.
    """
    found = _named(raw)
    streets = [found[key] for key in _STREET_KEYS if key in found]
    areas = [found[key] for key in _AREA_KEYS if key in found]
    if not found:
        # A line may begin with a house number.
        streets = areas = [clean for part in text.split(",") if (clean := re.sub(r"^\s*\d+\w?\s+", "", part).strip())]
    return PlaceName(tuple(dict.fromkeys(streets)), tuple(dict.fromkeys(areas)))


def _named(raw: Any) -> dict[str, str]:
    if not isinstance(raw, Mapping):
        return {}
    if isinstance(components := raw.get("address_components"), list):
        return {
            str(kind): str(one["long_name"])
            for one in reversed(components)  # the first of a kind counts
            if isinstance(one, Mapping) and one.get("long_name")
            for kind in one.get("types", ())
        }
    parts = next((raw[k] for k in ("address", "properties") if isinstance(raw.get(k), Mapping)), raw)
    return {
        k.casefold(): v for k, v in parts.items() if k.casefold() in {*_STREET_KEYS, *_AREA_KEYS} and isinstance(v, str)
    }


class ServiceError(BenchError):
    """A geocoding service that does not answer, or with something that is no answer."""


@dataclass(frozen=True)
class ServiceOptions:
    """How to reach a service, and its rate limits.

    Attributes:
        name: geopy's name of it, such as ``nominatim`` or ``photon``.
        domain: where it runs, such as ``localhost:8080``; None: geopy's default.
        scheme: ``https`` or ``http``.
        user_agent: what to call oneself.
        language: of the names it gives; None: its own.
        timeout_s: for one answer.
        interval_s: least time between two requests.
        retries: of a request that failed.
        backoff_s: wait before the first retry; doubled for each further one.
    """

    name: str
    domain: str | None
    scheme: str
    user_agent: str
    language: str | None
    timeout_s: float
    interval_s: float
    retries: int
    backoff_s: float


class Service:
    """A geocoding service.

    Positions are asked about in cells of 1e-5 degrees (1.1 m), at the cell's middle, so that an answer does not depend
    on who asked first; good answers, also that there is nothing, are kept in `folder` for other runs, errors never.

    Args:
        options: which, and how.
        folder: where answers are kept; None: in memory.
        sleep: waits.
        clock: seconds.

    Raises:
        SkipMethod: geopy is not installed, or the service needs a key and has none.
        ConfigError: geopy knows no such service, or it has no such option.
    """

    def __init__(
        self,
        options: ServiceOptions,
        folder: Path | None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options, self._sleep, self._clock = options, sleep, clock
        self._geocoder = _geocoder(options)
        self._speaks = "language" in inspect.signature(self._geocoder.reverse).parameters
        identity = "|".join((options.name, options.scheme, options.domain or "", options.language or ""))
        self._cache = AnswerCache(None if folder is None else folder / _CACHE_NAME, identity)
        self._next = 0.0
        self._counts = dict.fromkeys(("requests", "failed_requests", "cache_hits"), 0)
        self._asking_s = self._waiting_s = 0.0

    def check(self) -> None:
        """Ask once, to see whether the service is there.

        Raises:
            SkipMethod: it is not.
        """
        try:
            self._ask((0, 0), retries=min(1, self._options.retries))
        except ServiceError as error:
            raise SkipMethod(f"{error.problem}; another server is set by geocoder_domain") from error

    def names(self, positions: Points) -> list[PlaceName | None]:
        """The names of each position [n, 2]; None where the service knows of nothing.

        Raises:
            ServiceError: it did not answer, however often asked. What it had answered is kept.
        """
        return [self._name(cell) for cell in cells_of(positions)]

    def facts(self) -> Mapping[str, Any]:
        """Requests and cache hits of this process, and its seconds of waiting: for answers, and between requests."""
        return {
            **self._counts,
            "seconds_asking": round(self._asking_s, 3),
            "seconds_between": round(self._waiting_s, 3),
        }

    def _name(self, cell: Cell) -> PlaceName | None:
        known, answer = self._cache.get(cell)
        self._counts["cache_hits"] += known
        if not known:
            answer = self._ask(cell, self._options.retries)
            self._cache.put(cell, answer)
        return None if answer is None else parts_of(answer["raw"], answer["text"])

    def _ask(self, cell: Cell, retries: int) -> dict[str, Any] | None:
        from geopy import exc

        fatal = (exc.GeocoderAuthenticationFailure, exc.GeocoderInsufficientPrivileges, exc.ConfigurationError)
        problem = ""
        for attempt in range(retries + 1):
            self._wait(self._next - self._clock())
            started = self._clock()
            self._counts["requests"] += 1
            try:
                return self._once(cell)
            except fatal as error:
                self._counts["failed_requests"] += 1
                raise ServiceError(f"{self._options.name} refuses: {error}", f"is ${KEY_VARIABLE} right?") from error
            # geopy parses what a broken server sends, which may raise anything.
            except (exc.GeopyError, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
                self._counts["failed_requests"] += 1
                problem = f"{type(error).__name__}: {error}"
                wait = self._options.backoff_s * 2**attempt
                wait = max(wait, float(getattr(error, "retry_after", None) or 0))
                if wait > _LONGEST_WAIT_S:
                    break
                self._next = self._clock() + wait
            finally:
                self._asking_s += self._clock() - started
                self._next = max(self._next, started + self._options.interval_s)
        where = self._options.domain or "its default server"
        raise ServiceError(
            f"geocoder {self._options.name} at {where} does not answer: {problem}",
            "run it again when it does: what it has answered is kept",
        )

    def _once(self, cell: Cell) -> dict[str, Any] | None:
        language = {"language": self._options.language} if self._speaks and self._options.language else {}
        point = (cell[0] / CELLS_PER_DEGREE, cell[1] / CELLS_PER_DEGREE)
        location = self._geocoder.reverse(point, exactly_one=True, **language)
        return None if location is None else {"raw": location.raw, "text": str(location.address or "")}

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self._waiting_s += seconds
            self._sleep(seconds)


def _geocoder(options: ServiceOptions) -> Any:
    try:
        from geopy import adapters, exc, geocoders
    except ImportError as error:
        raise SkipMethod("geopy is not installed: pip install 'ial-bench[geo]'") from error
    try:
        cls = geocoders.get_geocoder_for_service(options.name)
    except exc.GeocoderNotFound as error:
        wrong = unknown_name("geocoder", options.name, geocoders.SERVICE_TO_GEOCODER, "take one that geopy knows")
        raise ConfigError(wrong.problem, wrong.fix) from error
    accepted = inspect.signature(cls.__init__).parameters
    if options.domain is not None and "domain" not in accepted:
        raise ConfigError(f"geocoder {options.name} has no domain of one's own", "leave geocoder_domain out")
    # The library's own adapter makes one connection for each request, whichever other packages are installed.
    wanted = {
        "timeout": options.timeout_s, "scheme": options.scheme, "user_agent": options.user_agent,
        "domain": options.domain, "adapter_factory": adapters.URLLibAdapter,
    }  # fmt: skip
    if key := os.environ.get(KEY_VARIABLE):  # never a setting: settings are written into records
        wanted |= {next((p for p in _KEY_PARAMETERS if p in accepted), ""): key}
    given = {name: value for name, value in wanted.items() if name in accepted and value is not None}
    try:
        return cls(**given)
    except (TypeError, exc.ConfigurationError) as error:
        raise SkipMethod(
            f"geocoder {options.name} cannot be set up: {error}; a key is read from ${KEY_VARIABLE}"
        ) from error


class AnswerCache:
    """Answers by service and cell.

    Several processes may use one file. Each answer is on the disk before the next is asked for.

    Args:
        path: the SQLite file; None keeps answers in memory.
        service: which service, and all of its settings that its answers depend on.
    """

    def __init__(self, path: Path | None, service: str) -> None:
        self._path, self._service = path, service
        self._memory: dict[Cell, Any] = {}

    def get(self, cell: Cell) -> tuple[bool, Any]:
        """Whether there is an answer, and the answer: a JSON value.

        Raises:
            StorageError: the file cannot be read.
        """
        if cell not in self._memory and self._path is not None and self._path.is_file():
            with self._open() as base:
                row = base.execute(
                    "SELECT answer FROM answers WHERE service = ? AND lat = ? AND lon = ?", (self._service, *cell)
                ).fetchone()
            if row is not None:
                self._memory[cell] = json.loads(row[0])
        return cell in self._memory, self._memory.get(cell)

    def put(self, cell: Cell, answer: Any) -> None:
        """Keep an answer.

        Raises:
            StorageError: the file cannot be written.
        """
        self._memory[cell] = answer
        if self._path is not None:
            asked = datetime.now(timezone.utc).isoformat(timespec="seconds")
            text = json.dumps(answer, ensure_ascii=False)
            with self._open() as base:
                base.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", (self._service, *cell, text, asked)
                )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        assert self._path is not None  # noqa: S101 - asked before
        make_folder(self._path.parent)
        try:
            with closing(sqlite3.connect(self._path, timeout=30)) as base, base:  # the second commits
                base.execute(_TABLE)
                yield base
        except sqlite3.Error as error:
            raise StorageError(
                f"the answers of geocoders in {self._path} cannot be used: {error}",
                "delete the file if it is damaged, or choose another --cache",
            ) from error
