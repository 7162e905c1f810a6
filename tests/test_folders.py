"""Folders that commands write to: nothing through links, one writer at a time, moves between disks."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from ial_bench.errors import ConfigError, StorageError
from ial_bench.folders import LOCK, alone, inside, is_free, locked, move, whole_folder


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def only(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


class TestInside:
    def test_a_path_without_links(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        assert inside(tmp_path, "a/b/c.txt") == tmp_path / "a" / "b" / "c.txt"
        assert inside(tmp_path, ".") == tmp_path

    def test_the_folder_itself_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "out").symlink_to(tmp_path / "disk")
        assert inside(tmp_path / "out", "a.txt") == tmp_path / "out" / "a.txt"

    @pytest.mark.parametrize("link", ["a", "a/b", "a/b/c.txt"])
    @pytest.mark.parametrize("target", ["there", "gone"])
    def test_links_on_the_way(self, tmp_path: Path, link: str, target: str) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "out" / link).parent.mkdir(parents=True)
        (tmp_path / "out" / link).symlink_to(tmp_path / target)
        with pytest.raises(StorageError, match="is a link") as caught:
            inside(tmp_path / "out", "a/b/c.txt")
        assert str(tmp_path / "out" / link) in caught.value.problem


class TestIsFree:
    def test_nothing_and_what_kills_leave(self, tmp_path: Path) -> None:
        assert is_free(tmp_path / "new")
        assert is_free(tmp_path)
        for name in (LOCK, ".report.json.a1b2.tmp"):
            (tmp_path / name).touch()
        assert is_free(tmp_path)

    @pytest.mark.parametrize("name", ["thesis.tex", "half.tmp", ".hidden", ".tmp.txt"])
    def test_things_of_somebody(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        assert not is_free(tmp_path)
        assert not is_free(tmp_path / name)
        assert is_free(tmp_path, but=name)


class TestAlone:
    def test_the_lock_is_gone_afterwards_whatever_happens(self, tmp_path: Path) -> None:
        with alone(tmp_path):
            assert (tmp_path / LOCK).is_file()
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(ValueError, match="inside"), alone(tmp_path):
            raise ValueError("inside")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_nothing_came_of_is_gone_too(self, tmp_path: Path) -> None:
        new = tmp_path / "a" / "b" / "new"
        with alone(new):
            pass
        assert only(tmp_path) == []
        with alone(new):
            (new.parent / "other").touch()
        assert only(tmp_path / "a" / "b") == ["other"]
        with alone(new):
            (new / "file").touch()
        assert (new / "file").exists()
        (new / "file").unlink()
        with alone(new):
            assert (new / LOCK).exists()
        assert new.exists(), "it was there before"

    def test_another_process_is_not_disturbed(self, tmp_path: Path) -> None:
        with (
            FileLock(tmp_path / LOCK),
            pytest.raises(ConfigError, match="another process writes to") as caught,
            alone(tmp_path),
        ):
            pytest.fail("both are in")
        assert "wait for it" in str(caught.value.fix)

    def test_it_is_waited_for_where_asked(self, tmp_path: Path) -> None:
        other, said = FileLock(tmp_path / LOCK), list[str]()
        other.acquire()

        def say(text: str) -> None:
            said.append(text)
            other.release()

        with alone(tmp_path, say):
            assert said == [f"another process writes to {tmp_path}; waiting for it"]

    def test_a_lock_that_a_killed_process_left(self, tmp_path: Path) -> None:
        (tmp_path / LOCK).touch()
        with alone(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
    def test_a_file_system_without_locks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        def flock(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("fcntl.flock", flock)
        with alone(tmp_path / "out"):
            (tmp_path / "out" / "file").touch()
        assert only(tmp_path / "out") == ["file"]

    def test_a_link_in_its_place_keeps_what_it_leads_to(self, tmp_path: Path) -> None:
        (tmp_path / "letter.txt").write_text("mine")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / LOCK).symlink_to(tmp_path / "letter.txt")
        with pytest.raises(StorageError, match="is a link"), alone(tmp_path / "out"):
            pytest.fail("it is in")
        assert (tmp_path / "letter.txt").read_text() == "mine"


@pytest.fixture
def two_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Folders between which nothing can be renamed."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()

    def on_one_disk(do: Callable[..., None]) -> Callable[..., None]:
        def renamed(source: str | Path, target: str | Path) -> None:
            if Path(source).is_relative_to(one) != Path(target).is_relative_to(one):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            do(source, target)

        return renamed

    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, on_one_disk(getattr(os, name)))
    return one, other


def fitted(folder: Path) -> dict[str, bytes]:
    (folder / "below").mkdir(parents=True)
    (folder / "phases.json").write_text("{}")
    (folder / "below" / "state").write_bytes(b"\0" * 1000)
    return tree(folder)


class TestMove:
    def test_on_one_disk_and_between_two(self, two_disks: tuple[Path, Path]) -> None:
        one, other = two_disks
        for target in (one / "target", other / "target"):
            before = fitted(one / "source")
            target.mkdir()
            (target / "old").touch()
            move(one / "source", target)
            assert tree(target) == before
            assert not (one / "source").exists()
            assert only(target.parent) == ["target"]

    def test_a_full_disk_loses_nothing(self, two_disks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        one, other = two_disks
        before = fitted(one / "source")
        copy = shutil.copyfile

        def full(source: str, target: str, **options: bool) -> str:
            if target.endswith("state"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return copy(source, target, **options)

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "copyfile", full)
            with pytest.raises(StorageError, match="No space left"):
                move(one / "source", other / "target")
        assert tree(one / "source") == before
        assert only(other) == []
        move(one / "source", other / "target")
        assert tree(other / "target") == before
        assert only(other) == ["target"]


def test_a_folder_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    target, half = tmp_path / "state", tmp_path / "state.new"
    target.mkdir()
    (target / "old").touch()
    half.mkdir()
    (half / "of a killed process").touch()
    with pytest.raises(FileNotFoundError), whole_folder(target) as fresh:
        (fresh / "no folder" / "file").touch()
    assert only(target) == ["old"]
    with whole_folder(target) as fresh:
        assert only(fresh) == []
        (fresh / "new").touch()
        assert only(target) == ["old"]
    assert only(target) == ["new"]
    assert only(tmp_path) == ["state"]


def test_a_lock_is_held_by_one_and_is_no_link(tmp_path: Path) -> None:
    lock, mine = tmp_path / "lock", tmp_path / "mine"
    with locked(tmp_path, lock), pytest.raises(Timeout):
        FileLock(lock, timeout=0).acquire()
    with FileLock(lock), pytest.raises(Timeout), locked(tmp_path, lock, timeout=0):
        pytest.fail("it is held by another")
    lock.unlink()
    mine.write_text("mine")
    lock.symlink_to(mine)
    with pytest.raises(StorageError, match="is a link"), locked(tmp_path, lock):
        pytest.fail("a lock would empty the file")
    assert mine.read_text() == "mine"
    with pytest.raises(StorageError, match=re.escape(f"cannot write {tmp_path}: ")), locked(tmp_path, tmp_path / "own"):
        raise OSError(errno.ENOSPC, "full")
