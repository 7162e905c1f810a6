"""The report, served on this machine alone; thumbnails are made when they are looked at."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from ial_bench.errors import BenchError, StorageError
from ial_bench.escape import short_line
from ial_bench.folders import inside
from ial_bench.report.site.build import photos_script
from ial_bench.report.site.folder import FOLDER, Thumbnails
from ial_bench.report.site.pages import POLICY
from ial_bench.report.site.source import Source

LOOPBACK = "127.0.0.1"
SILENCE_S = 20.0
"""Seconds for which a client may say or take nothing; then its connection is closed."""
_WAITING = 128  # connections that may wait to be accepted: a browser opens many at once
_PHOTO = re.compile(rf"/datasets/(?P<folder>[^/]+)/{FOLDER}/(?P<key>[^/]+)/\d+/(?P<i>\d{{1,9}})\.jpg")
_PHOTOS = re.compile(r"/datasets/(?P<folder>[^/]+)/data/photos\.js")


class _Handler(SimpleHTTPRequestHandler):
    """Serves files of the report's folder to pages of this machine. Missing thumbnails are made."""

    protocol_version = "HTTP/1.1"
    server_version = "ial-bench"
    sys_version = ""
    timeout = SILENCE_S

    def __init__(
        self, *arguments: Any, thumbnails: Mapping[str, Thumbnails], say: Callable[[str], object], **options: Any
    ) -> None:
        self.thumbnails, self.say = thumbnails, say
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

    def send_head(self) -> Any:
        """Only files of the report itself: no lists of folders, and nothing behind a link."""
        if self._is_own_file():
            return super().send_head()
        self.send_error(HTTPStatus.NOT_FOUND)
        return None

    def end_headers(self) -> None:
        """With the pages' policy, which then holds for everything."""
        for name, value in (
            ("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-cache"),
        ):  # fmt: skip
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Log no single requests, and no connections that time out."""

    def _is_own_file(self) -> bool:
        folder = Path(self.directory)
        try:
            name = Path(self.translate_path(self.path)).relative_to(folder)
            name = name / "index.html" if (folder / name).is_dir() else name
            return inside(folder, name.as_posix()).is_file()
        except (BenchError, OSError, ValueError):  # a link, or no name that a file could have
            return False

    def _is_own_name(self) -> bool:
        """Whether the request names this machine: a foreign page could let its own name lead here."""
        port = self.connection.getsockname()[1]
        if self.headers.get("Host") in {f"{LOOPBACK}:{port}", f"localhost:{port}"}:
            return True
        self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        return False

    def _make(self, folder: str, key: str, i: int) -> None:
        """Make a thumbnail; if that fails, the answer is that there is none."""
        mine = self.thumbnails.get(folder)
        if mine is not None and key == mine.key and i < len(mine.photos):
            try:
                mine.make(i)
            except BenchError as error:
                self.say(error.problem)

    def _send_script(self, text: str) -> None:
        content = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/javascript")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    """A server of the report, a thread a client, bound to this machine's own address and to no other.

    Args:
        folder: a report.
        sources: its parts, whose datasets the thumbnails are made from.
        port: 0 for any free one.
        say: called with a line for each thing that went wrong.

    Raises:
        StorageError: the port cannot be had.
    """

    daemon_threads = True
    request_queue_size = _WAITING

    def __init__(
        self, folder: Path, sources: Sequence[Source], port: int = 0, say: Callable[[str], object] = lambda _: None
    ) -> None:
        self._say, self._saying = say, Lock()
        self._thumbnails = {
            s.folder: Thumbnails(folder / "datasets" / s.folder, s.key, s.queries)
            for s in sources
            if s.queries is not None
        }
        handler = partial(_Handler, directory=str(folder), thumbnails=self._thumbnails, say=self.say)
        try:
            super().__init__((LOOPBACK, port), handler)
        except OSError as error:
            raise StorageError(
                f"cannot serve on port {port}: {error.strerror}", "another --port; 0 finds one"
            ) from error

    @property
    def address(self) -> str:
        """The address for a browser."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    def say(self, text: str) -> None:
        """Write a line, whole."""
        with self._saying:
            self._say(short_line(text))

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log what ended a connection; a client that goes away is no error."""
        error = sys.exc_info()[1]
        client = f"{client_address[0]}:{client_address[1]}"
        what = "went away" if isinstance(error, ConnectionError) else f"{type(error).__name__}: {error}"
        self.say(f"{client}: {what}")

    def server_close(self) -> None:
        """Close the server once the thumbnails in work are finished."""
        super().server_close()
        for thumbnails in self._thumbnails.values():
            thumbnails.close()


def serve_report(
    folder: Path, sources: Sequence[Source], port: int, tell: Callable[[str], object], say: Callable[[str], object]
) -> None:
    """Serve the report until the user interrupts.

    Args:
        folder: a report.
        sources: its parts.
        port: 0 for any free one.
        tell: called with the address.
        say: called with a line for each thing that went wrong, and at the end.
    """
    with Server(folder, sources, port, say) as server:
        tell(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            server.say("ended")
