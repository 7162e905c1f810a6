"""The report, served on this machine alone; thumbnails are made when they are looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ial_bench.errors import BenchError, StorageError
from ial_bench.report.site.build import photos_script
from ial_bench.report.site.pages import POLICY
from ial_bench.report.site.source import Source
from ial_bench.report.site.thumbnails import FOLDER, Thumbnails

LOOPBACK = "127.0.0.1"
_PHOTO = re.compile(rf"/datasets/(?P<folder>[^/]+)/{FOLDER}/(?P<key>[^/]+)/\d+/(?P<i>\d{{1,9}})\.jpg")
_PHOTOS = re.compile(r"/datasets/(?P<folder>[^/]+)/data/photos\.js")


class _Handler(SimpleHTTPRequestHandler):
    """Files of the report's folder, to pages of this machine. What is not there of thumbnails is made."""

    protocol_version = "HTTP/1.1"
    server_version = "ial-bench"
    sys_version = ""

    def __init__(self, *arguments: Any, thumbnails: Mapping[str, Thumbnails], **options: Any) -> None:
        self.thumbnails = thumbnails
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        """Answer, unless the page that asks was reached under another name than this machine's own."""
        if self._is_own_name():
            path = urlsplit(self.path).path
            if (found := _PHOTOS.fullmatch(path)) and found["folder"] in self.thumbnails:
                self._send_script(photos_script(self.thumbnails[found["folder"]].key, "", everything=True))
                return
            if found := _PHOTO.fullmatch(path):
                self._make(found["folder"], found["key"], int(found["i"]))
            super().do_GET()

    def do_HEAD(self) -> None:
        """As `do_GET`, without making anything."""
        if self._is_own_name():
            super().do_HEAD()

    def list_directory(self, path: Any) -> None:  # noqa: ARG002
        """Nothing: the pages link to all that is theirs."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        """With the pages' policy, which then holds for everything."""
        for name, value in (
            ("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-cache"),
        ):  # fmt: skip
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing of single requests."""

    def _is_own_name(self) -> bool:
        """Whether the request names this machine: a page of elsewhere could have its own name lead here."""
        port = self.connection.getsockname()[1]
        if self.headers.get("Host") in {f"{LOOPBACK}:{port}", f"localhost:{port}"}:
            return True
        self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        return False

    def _make(self, folder: str, key: str, i: int) -> None:
        """Make a thumbnail; where it cannot be made, the answer is that it is not there."""
        mine = self.thumbnails.get(folder)
        if mine is not None and key == mine.key and i < len(mine.photos):
            try:
                mine.make(i)
            except BenchError as error:
                self.log_error("%s", error.problem)

    def _send_script(self, text: str) -> None:
        content = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/javascript")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def make_server(folder: Path, sources: Sequence[Source], port: int = 0) -> ThreadingHTTPServer:
    """A server of the report in `folder`, bound to this machine's own address and to no other.

    Args:
        folder: a report.
        sources: its parts, whose datasets the thumbnails are made from.
        port: 0 for any free one.

    Raises:
        StorageError: the port cannot be had.
    """
    thumbnails = {
        s.folder: Thumbnails(folder / "datasets" / s.folder, s.key, s.queries) for s in sources if s.queries is not None
    }
    handler = partial(_Handler, directory=str(folder), thumbnails=thumbnails)
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), handler)
    except OSError as error:
        raise StorageError(f"cannot serve on port {port}: {error.strerror}", "another --port; 0 finds one") from error
    server.daemon_threads = True
    return server


def serve_report(folder: Path, sources: Sequence[Source], port: int, tell: Callable[[str], None]) -> None:
    """Serve the report until the user interrupts.

    Args:
        folder: a report.
        sources: its parts.
        port: 0 for any free one.
        tell: told the address.
    """
    with make_server(folder, sources, port) as server:
        tell(f"http://{LOOPBACK}:{server.server_address[1]}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            tell("ended")
