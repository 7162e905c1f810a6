"""Geocoding services, against a server of our own: right answers, faults, the cache, the pace."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from geopy.geocoders import SERVICE_TO_GEOCODER

from ial_bench.addresses import Address
from ial_bench.errors import ConfigError, SkipMethod, StorageError
from ial_bench.geocoding.reverse import NearestTown, PlaceName, Service, ServiceError, ServiceOptions
from ial_bench.registry import Registry
from ial_bench.settings import config_from_text
from support.nominatim_server import Nominatim, serve

FORBES = Address("Forbes Avenue", "Oakland", ("Craig Street", "Bellefield Avenue"))
HERE, THERE = (40.0, -80.0), (41.0, -81.0)
NAMED = PlaceName(("FORBES AVE",), ("Oakland", "Tinytown"))


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nominatim]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve([(*HERE, FORBES)]) as nominatim:
        yield nominatim


def options(domain: str, name: str = "nominatim", language: str | None = None, retries: int = 4) -> ServiceOptions:
    return ServiceOptions(name, domain, "http", "a test", language, 5.0, 1.0, retries, 2.0)


def service(server: Nominatim, folder: Path | None = None, language: str | None = None) -> tuple[Service, Clock]:
    clock = Clock()
    return Service(options(server.domain, language=language), folder, clock.sleep, clock), clock


def test_answers_are_read_and_the_request_says_who_asks(server: Nominatim) -> None:
    asking, _ = service(server, language="en")
    assert asking.names(np.array([HERE, THERE])) == [NAMED, None]
    assert server.asked[0]["accept-language"] == "en"
    assert (float(server.asked[0]["lat"]), float(server.asked[0]["lon"])) == HERE
    assert set(server.agents) == {"a test"}


@pytest.mark.parametrize(
    ("faults", "waits"),
    [
        (["500"], [2.0]),
        (["503", "500", "malformed"], [2.0, 4.0, 8.0]),
        (["429"], [7.0]),  # as the server says, not as the backoff would
        (["429", "429", "429", "429"], [7.0, 7.0, 8.0, 16.0]),
        (["text", "list", "empty"], [2.0, 4.0, 8.0]),
    ],
)
def test_faults_are_retried_ever_more_slowly(server: Nominatim, faults: list[str], waits: list[float]) -> None:
    asking, clock = service(server)
    server.faults.extend(faults)
    assert asking.names(np.array([HERE])) == [NAMED]
    assert clock.slept == waits
    told = asking.facts()
    assert (told["requests"], told["failed_requests"], told["cache_hits"]) == (len(faults) + 1, len(faults), 0)
    assert told["seconds_between"] == sum(waits)


def test_a_slow_answer_is_not_waited_for(server: Nominatim) -> None:
    clock = Clock()
    slow = ServiceOptions("nominatim", server.domain, "http", "a test", None, 0.1, 0.0, 1, 0.0)
    asking = Service(slow, None, clock.sleep, clock)
    server.faults.append("slow")
    assert asking.names(np.array([HERE])) == [NAMED]
    assert asking.facts()["failed_requests"] == 1
    server.faults.extend(["slow", "slow"])
    with pytest.raises(ServiceError, match="GeocoderTimedOut"):
        asking.names(np.array([THERE]))


@pytest.mark.parametrize("fault", ["500", "429", "malformed", "text", "list", "empty"])
def test_a_service_that_stays_broken_is_an_error_and_never_an_answer(
    server: Nominatim, fault: str, tmp_path: Path
) -> None:
    asking, _ = service(server, tmp_path)
    assert asking.names(np.array([HERE])) == [NAMED]
    server.always = fault
    with pytest.raises(ServiceError, match=f"nominatim at {server.domain} does not answer") as caught:
        asking.names(np.array([HERE, THERE]))
    assert "kept" in (caught.value.fix or "")
    assert len(server.asked) == 1 + 5  # the first place was known
    server.always = None
    again, _ = service(server, tmp_path)
    assert again.names(np.array([HERE, THERE])) == [NAMED, None]  # the fault was not kept
    assert again.facts()["requests"] == again.facts()["cache_hits"] == 1


def test_a_refusal_is_not_retried(server: Nominatim) -> None:
    asking, clock = service(server)
    server.faults.append("401")
    with pytest.raises(ServiceError, match="refuses"):
        asking.names(np.array([HERE]))
    assert len(server.asked) == 1
    assert clock.slept == []


def test_a_wait_of_hours_is_not_waited(server: Nominatim) -> None:
    clock = Clock()
    long = ServiceOptions("nominatim", server.domain, "http", "a test", None, 5.0, 0.0, 3, 61.0)
    server.faults.append("500")
    with pytest.raises(ServiceError):
        Service(long, None, clock.sleep, clock).names(np.array([HERE]))
    assert clock.slept == []


def test_requests_keep_their_distance_in_time(server: Nominatim) -> None:
    asking, clock = service(server)
    asking.names(np.array([[40.0 + 0.01 * i, -80.0] for i in range(5)]))
    assert clock.slept == [1.0] * 4
    asking.names(np.array([HERE]))  # known
    assert clock.slept == [1.0] * 4


def test_a_cell_is_asked_about_once_at_its_middle(server: Nominatim, tmp_path: Path) -> None:
    asking, _ = service(server, tmp_path)
    near = np.array([[40.000001, -80.000004], [39.999996, -79.999999], [40.0, -80.0]])
    assert asking.names(near) == [NAMED] * 3
    assert len(server.asked) == 1
    assert (float(server.asked[0]["lat"]), float(server.asked[0]["lon"])) == HERE
    other, _ = service(server, tmp_path)
    assert other.names(near) == [NAMED] * 3
    assert len(server.asked) == 1
    french, _ = service(server, tmp_path, language="fr")  # names of another language are other answers
    french.names(near)
    assert len(server.asked) == 2


def test_both_sides_of_the_antimeridian_and_the_poles(server: Nominatim) -> None:
    asking, _ = service(server)
    assert asking.names(np.array([[-17.0, 180.0], [-17.0, -180.0], [-17.0, 179.999999]])) == [None] * 3
    assert len(server.asked) == 1
    assert asking.names(np.array([[90.0, 12.0], [-90.0, 0.0]])) == [None] * 2


def test_a_damaged_cache_is_told(server: Nominatim, tmp_path: Path) -> None:
    asking, _ = service(server, tmp_path)
    asking.names(np.array([HERE]))
    (file,) = tmp_path.glob("*.sqlite")
    file.write_bytes(b"no database" * 1000)
    other, _ = service(server, tmp_path)
    with pytest.raises(StorageError, match=r"cannot be used: .* not a database") as caught:
        other.names(np.array([HERE]))
    assert "delete" in (caught.value.fix or "")


def test_no_server_is_a_skip_that_names_it() -> None:
    with serve() as gone:
        pass
    clock = Clock()
    asking = Service(options(gone.domain), None, clock.sleep, clock)
    with pytest.raises(SkipMethod, match=f"nominatim at {gone.domain} does not answer"):
        asking.check()


def test_a_service_that_needs_a_key_is_skipped_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IAL_BENCH_GEOCODER_KEY", raising=False)
    needs = ServiceOptions("tomtom", None, "https", "a test", None, 5.0, 1.0, 0, 0.0)
    with pytest.raises(SkipMethod, match=r"\$IAL_BENCH_GEOCODER_KEY"):
        Service(needs, None)
    monkeypatch.setenv("IAL_BENCH_GEOCODER_KEY", "a key")
    assert Service(needs, None)._geocoder.api_key == "a key"


def test_unknown_services_and_options() -> None:
    with pytest.raises(ConfigError, match="did you mean 'nominatim'"):
        Service(options("localhost", name="nominatin"), None)
    fixed = next(
        n for n, c in sorted(SERVICE_TO_GEOCODER.items()) if "domain" not in inspect.signature(c.__init__).parameters
    )
    with pytest.raises(ConfigError, match="no domain of one's own"):
        Service(options("localhost", name=fixed), None)
    with pytest.raises(ConfigError, match="or geopy:name"):
        config_from_text(Registry().get("two-stage"), {"stage2": "street"})


def test_a_package_that_is_not_installed_is_a_skip_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("geopy", "reverse_geocoder"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SkipMethod, match=r"geopy is not installed: pip install 'ial-bench\[geo\]'"):
        Service(options("localhost"), None)
    with pytest.raises(SkipMethod, match=r"reverse_geocoder is not installed: pip install 'ial-bench\[geo\]'"):
        NearestTown()
