"""Processes that work for this one: asked one thing at a time through a socket each, and missed when they end.

What they are asked and what they answer goes through the sockets alone. Shared memory is 64 MB in a container where
nobody said otherwise, and who finds it full dies or waits. A process that is killed is noticed at once: nobody else
holds the other end of its socket, so that reading from it ends. (A queue that many write to has no such end; a process
killed in the middle of an answer would leave its reader waiting for the rest.)

They are forked by a server that has done nothing but imports. Forked from this process they would have copies of the
locks that its threads, of torch or CUDA, hold at that moment, and nobody to release them; started from nothing, each
would import torch, for every epoch of a training anew.
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

Asked = TypeVar("Asked")
Told = TypeVar("Told")

_CONTEXT = get_context("forkserver")
_PRELOAD = ("ial_bench.cli.main", "ial_bench.processes")
_SECONDS_TO_END = 10.0
_HEAD = struct.Struct("<Q")


class Workers(Generic[Asked, Told]):
    """Processes that all do the same work.

    Args:
        work: called in the processes with what each is asked; must be one that pickle can carry there.
        number: of processes.
        preload: modules that `work` needs and that take long to import; they are imported once for all.

    Raises:
        WorkerError: they cannot be started.
    """

    def __init__(self, work: Callable[[Asked], Told], number: int, preload: Sequence[str] = ()) -> None:
        start_server(preload)
        told = pickle.dumps(work)
        self._all: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(number, "worker")
        try:
            for _ in range(number):
                self._all.append(_Worker())
            for worker in self._all:
                worker.take(told)
                self._idle.put(worker)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Workers[Asked, Told]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, asked: Asked) -> Future[Told]:
        """Have one of them do it, in the order of asking.

        The result raises what the work raised there, and `WorkerError` where the process has ended.
        """
        return self._threads.submit(self._ask, asked)

    def close(self) -> None:
        """End them: nothing more is begun; what was begun is finished, or ended with them after a while."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._all:
            worker.dismiss()
        self._threads.shutdown()
        for worker in self._all:
            worker.end()

    def _ask(self, asked: Asked) -> Told:
        worker = self._idle.get()
        try:
            told: Told = worker.ask(asked)
        finally:
            self._idle.put(worker)
        return told


def start_server(preload: Sequence[str] = ()) -> None:
    """Start what processes are forked from, if it does not run yet, without waiting for its imports."""
    _CONTEXT.set_forkserver_preload([*_PRELOAD, *preload])
    # Ctrl-C reaches all processes of a terminal; what then becomes of them is for this one to say. What is blocked when
    # the server starts stays so in all that it forks.
    try:
        resource_tracker.ensure_running()  # of which the server would start one, and unblock signals thereby
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
        # Without the work, which may be more than a pipe holds: an interrupt would leave the process with half of it.
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

    def ask(self, asked: object) -> Any:
        try:
            _send(self._socket, asked)
            told = _receive(self._socket)
        except (OSError, EOFError) as error:
            raise CancelledError if self._dismissed else self._missed() from error
        if isinstance(told, _Raised):
            raise told.error from _ThereError(told.traceback)
        return told

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
        """Let it end when it has done what it was asked."""
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
    """An error of the work."""

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
            asked = _receive(pipe)
            try:
                if do is None:
                    do = pickle.loads(work)  # noqa: S301 - our own bytes
                told = do(asked)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, it is for who asked
                told = _Raised(error)
            _send(pipe, told)
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
    told = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    raw = [a.raw() for a in arrays]
    body = pickle.dumps((told, [len(r) for r in raw]))
    pipe.sendall(_HEAD.pack(len(body)) + body)
    for block in raw:
        pipe.sendall(block)


def _receive(pipe: socket.socket) -> Any:
    (size,) = _HEAD.unpack(_read(pipe, _HEAD.size))
    told, sizes = pickle.loads(_read(pipe, size))  # noqa: S301 - from a process of our own
    return pickle.loads(told, buffers=[_read(pipe, size) for size in sizes])  # noqa: S301


def _read(pipe: socket.socket, size: int) -> memoryview:
    block = np.empty(size, np.uint8).data  # not cleared first, as a bytearray is
    filled = 0
    while filled < size:
        got = pipe.recv_into(block[filled:], size - filled, socket.MSG_WAITALL)
        if got == 0:
            raise EOFError
        filled += got
    return block
