"""`bench report`, and its server: loopback alone, the report's files alone, thumbnails when they are looked at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.method import NoReport
from ial_bench.report.site.build import Options, build
from ial_bench.report.site.serve import LOOPBACK, make_server
from made_records import run_baselines


@pytest.fixture(scope="module")
def served(tiny_city: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, str]]:
    """A report without thumbnails, the port that it is served on, and the address of its dataset's part."""
    folder = tmp_path_factory.mktemp("served")
    run_baselines(tiny_city, folder, names=["majority"])
    (folder / "data").mkdir()
    (folder / "data" / tiny_city.name).symlink_to(tiny_city.folder)
    (folder / "secret.txt").write_text("mine")
    out = folder / "out"
    sources, problems = build(out, [tiny_city.name], Options(folder / "results", folder / "data", None, 0), NoReport())
    assert problems == []
    with make_server(out, sources) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield out, server.server_address[1], f"/datasets/{tiny_city.name}/"
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, path: str, verb: str = "GET", host: str | None = None) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(LOOPBACK, port, timeout=20)
    connection.request(verb, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def test_pages_come_with_the_policy(served: tuple[Path, int, str]) -> None:
    out, port, part = served
    for path in ("/", "/index.html", f"{part}queries.html", "/assets/style.css"):
        answer, content = ask(port, path)
        assert answer.status == 200
        assert "default-src 'none'" in (answer.getheader("Content-Security-Policy") or "")
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert content == (out / ("index.html" if path == "/" else path[1:])).read_bytes()


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/datasets/", "/assets/", "//secret.txt"])
def test_nothing_else_is_served(served: tuple[Path, int, str], path: str) -> None:
    answer, content = ask(served[1], path)
    assert answer.status == 404
    assert b"mine" not in content


def test_it_answers_under_its_own_name_alone(served: tuple[Path, int, str]) -> None:
    _, port, _ = served
    for host in ("evil.example", f"evil.example:{port}", f"{LOOPBACK}:1", f"{LOOPBACK}.evil.example:{port}"):
        for verb in ("GET", "HEAD"):
            assert ask(port, "/index.html", verb, host)[0].status == 421
    assert ask(port, "/index.html", "GET", f"localhost:{port}")[0].status == 200
    assert ask(port, "/index.html", "POST")[0].status == 501


def test_thumbnails_are_made_when_they_are_looked_at(served: tuple[Path, int, str]) -> None:
    out, port, part = served
    assert not list(out.rglob("*.jpg"))
    script = ask(port, f"{part}data/photos.js")[1].decode()
    assert '"all":true' in script
    folder = script.partition('"folder":"')[2].partition('"')[0]
    answer, content = ask(port, f"{part}{folder}/0/1.jpg")
    assert answer.status == 200
    assert content.startswith(b"\xff\xd8")
    assert [p.name for p in out.rglob("*.jpg")] == ["1.jpg"]
    for wrong in (f"{folder}/0/999999.jpg", f"{folder}x/0/1.jpg", f"{folder}/0/-1.jpg", f"{folder}/../0/1.jpg"):
        assert ask(port, f"{part}{wrong}")[0].status == 404
    assert len(list(out.rglob("*.jpg"))) == 1
