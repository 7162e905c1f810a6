"""`bench report`, and its server: loopback alone, the report's files alone, thumbnails when they are looked at."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse, RemoteDisconnected
from pathlib import Path

import pytest

from ial_bench.datasets.dataset import Dataset
from ial_bench.images import RGB
from ial_bench.progress import NoReport
from ial_bench.report.site import serve
from ial_bench.report.site.build import Options, build
from ial_bench.report.site.folder import Thumbnails, thumbnail
from ial_bench.report.site.serve import LOOPBACK, Server
from support.made_records import run_baselines


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
    with Server(out, sources) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
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


# ------------------------------------------------------------------------------------- clients that do not behave


def raw(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=20)


def reset(client: socket.socket) -> None:
    """Close a connection as a client does that is killed: with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def wait_until(moment: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not moment():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def own(served: tuple[Path, int, str]) -> Iterator[tuple[int, list[str], Path]]:
    """A server of the report of its own: its port, what it said, and its folder."""
    out, said = served[0], list[str]()
    with Server(out, [], say=said.append) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1], said, out
        finally:
            server.shutdown()
            thread.join()


def test_silent_clients_block_nobody(own: tuple[int, list[str], Path]) -> None:
    port, said, _ = own
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(raw(port))
        started = time.monotonic()
        assert ask(port, "/index.html")[0].status == 200
        assert time.monotonic() - started < 5
    assert said == []


def test_silent_clients_do_not_pile_up(own: tuple[int, list[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    port, said, _ = own
    monkeypatch.setattr(serve._Handler, "timeout", 0.2)
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw(port)) for _ in range(20)]
        clients[0].sendall(b"GET /index.html HTTP/1.1\r\nHost: ")  # and no more
        assert [client.recv(1) for client in clients] == [b""] * 20, "the server has closed them"
        wait_until(lambda: threading.active_count() <= before)
    assert said == []


def test_a_client_that_goes_away_is_a_line(own: tuple[int, list[str], Path], capfd: pytest.CaptureFixture[str]) -> None:
    port, said, out = own
    (out / "large.bin").write_bytes(bytes(30_000_000))  # more than the buffers of a connection
    try:
        for _ in range(3):
            client = raw(port)
            client.sendall(f"GET /large.bin HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\n\r\n".encode())
            assert client.recv(10) == b"HTTP/1.1 2"
            reset(client)
        wait_until(lambda: len(said) == 3)
    finally:
        (out / "large.bin").unlink()
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+: went away", line) for line in said)
    assert ask(port, "/index.html")[0].status == 200
    assert capfd.readouterr().err == ""


def test_what_fails_is_a_line(
    own: tuple[int, list[str], Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of\nluck\x1b[31m")

    port, said, _ = own
    with monkeypatch.context() as patch:
        patch.setattr(serve._Handler, "do_GET", broken)
        with pytest.raises(RemoteDisconnected):
            ask(port, "/index.html")
    wait_until(lambda: len(said) == 1)
    assert re.fullmatch(r"127\.0\.0\.1:\d+: RuntimeError: out of luck\[31m", said[0])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("path", ["/a%00b", "/%ff", "/%ed%a0%80", "/" + "a" * 5000, "/assets/../../secret.txt"])
def test_odd_names_are_not_there(own: tuple[int, list[str], Path], path: str) -> None:
    port, said, _ = own
    assert ask(port, path)[0].status == 404
    assert said == []


def test_links_and_pipes_are_not_served(own: tuple[int, list[str], Path], tmp_path: Path) -> None:
    port, _, out = own
    (tmp_path / "secret.txt").write_text("mine")
    (tmp_path / "index.html").write_text("mine")
    links = {"file.txt": tmp_path / "secret.txt", "folder": tmp_path}
    for name, target in links.items():
        (out / name).symlink_to(target)
    os.mkfifo(out / "pipe")
    try:
        for path in ("/file.txt", "/folder/secret.txt", "/folder/", "/pipe"):
            answer, content = ask(port, path)
            assert (answer.status, b"mine" in content) == (404, False)
    finally:
        for name in (*links, "pipe"):
            (out / name).unlink()


def test_two_clients_that_ask_for_one_thumbnail(
    tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def slow(photo: RGB) -> bytes:
        made.append(len(photo))
        time.sleep(0.1)
        return thumbnail(photo)

    monkeypatch.setattr("ial_bench.report.site.folder.thumbnail", slow)
    thumbnails = Thumbnails(tmp_path, "key", tiny_city.split("query"))
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(thumbnails.make, [3] * 8))
    assert len(made) == 1
    assert set(paths) == {tmp_path / "photos" / "key" / "0" / "3.jpg"}
    assert paths[0].read_bytes() == thumbnail(tiny_city.split("query").image(3))


SERVE = """
import sys
from pathlib import Path
from ial_bench.report.site.serve import serve_report
def tell(address):
    print(address, flush=True)
serve_report(Path(sys.argv[1]), [], 0, tell, lambda text: print(text, file=sys.stderr, flush=True))
print("after", flush=True)
"""


def test_ctrl_c_ends_it(served: tuple[Path, int, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(served[0])], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        with raw(port):  # a silent client keeps nothing up
            assert ask(port, "/index.html")[0].status == 200
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "after\n", "ended\n")
