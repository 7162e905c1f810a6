"""Worker processes: each takes one request at a time through a socket of its own, and its end is noticed at once.

Requests and answers go through the sockets alone. Shared memory is 64 MB in a container by default, and a process that
finds it full dies or waits. When a worker is killed, reading from its socket ends, since nobody else holds its other
end. (A queue that many write to has no such end: a process killed in the middle of an answer would leave its reader
waiting for the rest.)

Workers are forked by a server that has done nothing but imports. Forked from this process they would copy locks that
its threads, or those of torch and CUDA, hold at that moment, with nobody to release them. Started from scratch, each
would import torch, again for every epoch of a training.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

import numpy as np

from ial_bench.errors import WorkerError

Request = TypeVar("Request")
Answer = TypeVar("Answer")

_CONTEXT = get_context("forkserver")
_PRELOAD = ("ial_bench.cli.main", "ial_bench.processes")
_SECONDS_TO_END = 10.0
_HEAD = struct.Struct("<Q")


class Workers(Generic[Request, Answer]):
    """Worker processes that all do the same work.

    Args:
        work: called in the workers with each request; it must be picklable.
        number: of processes.
        preload: modules that `work` needs and that take long to import; they are imported once for all.

    Raises:
        WorkerError: they cannot be started.
    """

    def __init__(self, work: Callable[[Request], Answer], number: int, preload: Sequence[str] = ()) -> None:
        start_server(preload)
        task = pickle.dumps(work)
        self._all: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(number, "worker")
        try:
            for _ in range(number):
                self._all.append(_Worker())
            for worker in self._all:
                worker.take(task)
                self._idle.put(worker)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Workers[Request, Answer]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, request: Request) -> Future[Answer]:
        """Have a worker answer a request, in the order of the calls.

        The future raises what the work raised there, or `WorkerError` where the worker has ended.
        """
        return self._threads.submit(self._ask, request)

    def close(self) -> None:
        """End the workers. Nothing new is begun; what was begun is finished, or ended with its worker after a while."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._all:
            worker.dismiss()
        self._threads.shutdown()
        for worker in self._all:
            worker.end()

    def _ask(self, request: Request) -> Answer:
        worker = self._idle.get()
        try:
            answer: Answer = worker.ask(request)
        finally:
            self._idle.put(worker)
        return answer


def start_server(preload: Sequence[str] = ()) -> None:
    """Start the server that workers are forked from, if it does not run yet, without waiting for its imports."""
    _CONTEXT.set_forkserver_preload([*_PRELOAD, *preload])
    # Ctrl-C reaches all processes of a terminal, but only this one decides what becomes of them. A signal that is
    # blocked when the server starts stays blocked in all that it forks.
    try:
        resource_tracker.ensure_running()  # else the server would start one, and unblock signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    except OSError as error:
        raise _not_started(error) from error


class _Worker:
    """One process, and this end of its socket."""

    def __init__(self) -> None:
        self._dismissed = False
        self._socket, theirs = socket.socketpair()
        # The work is sent later: it may be more than a pipe holds, and an interrupt would leave the process with half.
        self._process = _CONTEXT.Process(target=_serve, args=(theirs,), daemon=True)
        try:
            self._process.start()
        except (OSError, EOFError) as error:
            self._socket.close()
            raise _not_started(error) from error
        finally:
            theirs.close()

    def take(self, work: bytes) -> None:
        try:
            _send(self._socket, work)
        except OSError as error:
            raise self._missed() from error

    def ask(self, request: object) -> Any:
        try:
            _send(self._socket, request)
            answer = _receive(self._socket)
        except (OSError, EOFError) as error:
            raise CancelledError if self._dismissed else self._missed() from error
        if isinstance(answer, _Raised):
            raise answer.error from _ThereError(answer.traceback)
        return answer

    def _missed(self) -> WorkerError:
        self._process.join(_SECONDS_TO_END)
        code = self._process.exitcode or 0
        if code >= 0:
            return WorkerError(f"a worker process ended by itself, with status {code}", "what it said stands above")
        return WorkerError(
            f"a worker process was ended from outside by {signal.Signals(-code).name}, for want of memory perhaps",
            "give the same command again with fewer --workers; it goes on from where it was",
        )

    def dismiss(self) -> None:
        """Let it end after its request."""
        self._dismissed = True
        with contextlib.suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_RDWR)  # closing it alone would not wake a thread that reads from it

    def end(self) -> None:
        self._process.join(_SECONDS_TO_END)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self._process.close()
        self._socket.close()


def _not_started(error: Exception) -> WorkerError:
    return WorkerError(
        f"a worker process cannot be started: {error}", "give the same command again with fewer --workers"
    )


class _ThereError(Exception):
    """The traceback of an error in a worker, shown as the cause of the error here."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


class _Raised:
    """An error that the work raised."""

    def __init__(self, error: BaseException) -> None:
        self.traceback = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        except Exception:  # noqa: BLE001 - whatever it is, it cannot be sent
            error = RuntimeError(f"{type(error).__name__}: {error}")
        self.error = error


def _serve(pipe: socket.socket) -> None:
    """In a worker: answer until the other end is closed."""
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    do: Any = None
    try:
        work = _receive(pipe)
        while True:
            request = _receive(pipe)
            try:
                if do is None:
                    do = pickle.loads(work)  # noqa: S301 - our own bytes
                answer = do(request)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, whoever asked gets it
                answer = _Raised(error)
            _send(pipe, answer)
    except (EOFError, OSError):
        return  # dismissed


def _end_with_parent() -> None:
    """End this worker when its parent is killed: it would go on writing beside who resumes the work."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _send(pipe: socket.socket, value: object) -> None:
    """Arrays go as they lie in memory, after all else."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    raw = [a.raw() for a in arrays]
    body = pickle.dumps((head, [len(r) for r in raw]))
    pipe.sendall(_HEAD.pack(len(body)) + body)
    for block in raw:
        pipe.sendall(block)


def _receive(pipe: socket.socket) -> Any:
    (size,) = _HEAD.unpack(_read(pipe, _HEAD.size))
    head, sizes = pickle.loads(_read(pipe, size))  # noqa: S301 - from a process of our own
    return pickle.loads(head, buffers=[_read(pipe, size) for size in sizes])  # noqa: S301


def _read(pipe: socket.socket, size: int) -> memoryview:
    block = np.empty(size, np.uint8).data  # not cleared first, as a bytearray is
    filled = 0
    while filled < size:
        got = pipe.recv_into(block[filled:], size - filled, socket.MSG_WAITALL)
        if got == 0:
            raise EOFError
        filled += got
    return block
