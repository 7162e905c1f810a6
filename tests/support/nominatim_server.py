"""A small server that speaks Nominatim's reverse API, with right answers and with faults to order."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ial_bench.addresses import Address
from ial_bench.datasets.photos import Photos

_EARTH_M = 111_195.0  # of a degree of latitude, on a sphere of the Earth's mean radius


class Nominatim:
    """The streets of some photos, and what the next requests are to meet.

    Each fault takes one request: ``slow``, ``429`` (with Retry-After: 7), ``500``, ``malformed``, ``text`` (JSON, but
    no answer), ``list``, ``empty``; without any, requests are answered rightly.
    """

    def __init__(self, port: int, streets: list[tuple[float, float, Address]], range_m: float) -> None:
        self.domain = f"127.0.0.1:{port}"
        self.streets, self.range_m = streets, range_m
        self.faults: deque[str] = deque()
        self.always: str | None = None
        self.asked: list[dict[str, str]] = []
        self.agents: list[str] = []

    def answer(self, lat: float, lon: float) -> dict[str, Any]:
        def off(one: tuple[float, float, Address]) -> float:  # right near the equator and in a city of small extent
            return _EARTH_M * math.hypot(one[0] - lat, (one[1] - lon) * 0.766)  # cos 40 degrees

        nearest = min(self.streets, key=off, default=None)
        if nearest is None or off(nearest) > self.range_m:
            return {"error": "Unable to geocode"}
        road = nearest[2].street.replace("Street", "St.").replace("Avenue", "Ave").upper()
        parts = {"house_number": "12", "road": road, "suburb": nearest[2].neighbourhood, "city": "Tinytown"}
        return {
            "place_id": 1, "lat": str(nearest[0]), "lon": str(nearest[1]),
            "display_name": f"12, {road}, Tinytown", "address": parts,
        }  # fmt: skip


def streets_of(photos: Photos) -> list[tuple[float, float, Address]]:
    addresses = photos.candidates.addresses
    return [
        (float(p[0]), float(p[1]), addresses[label]) for p, label in zip(photos.positions, photos.labels, strict=True)
    ]


@contextmanager
def serve(streets: list[tuple[float, float, Address]] | None = None, range_m: float = 300.0) -> Iterator[Nominatim]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {k: v[0] for k, v in parse_qs(url.query).items()}
            nominatim.asked.append(query)
            nominatim.agents.append(self.headers["User-Agent"])
            fault = nominatim.faults.popleft() if nominatim.faults else nominatim.always
            if url.path != "/reverse":
                fault = "404"
            status = int(fault) if fault and fault.isdecimal() else 200
            good = json.dumps(nominatim.answer(float(query["lat"]), float(query["lon"])))
            body = {"malformed": good[:-20], "text": '"road"', "list": "[1, 2]", "empty": ""}.get(fault or "", good)
            if fault == "slow":
                time.sleep(0.5)
            with suppress(OSError):  # who asked may have gone
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                if status == 429:
                    self.send_header("Retry-After", "7")
                self.end_headers()
                self.wfile.write(body.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    nominatim = Nominatim(server.server_port, streets or [], range_m)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield nominatim
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
