"""Files are whole or absent; what others wrote is read with an error that names the file."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ial_bench import files, json_files
from ial_bench.errors import DataError, StorageError

FIXED = settings(derandomize=True, deadline=None)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: "\\ud" not in json.dumps(value))  # no halves of characters: they are no UTF-8


@dataclass(frozen=True)
class Pairs:
    """An object of JSON as it is written: keys may stand twice."""

    pairs: list[tuple[str, Any]]


_texts = st.text(st.sampled_from('ab":\\ \né'), max_size=3)
objects = st.recursive(
    _texts | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(_texts, inner), max_size=4).map(Pairs),
    max_leaves=12,
)


def written(value: Any) -> str:
    """JSON with blanks where they may be."""
    if isinstance(value, Pairs):
        return "{" + ",".join(f" {json.dumps(k, ensure_ascii=False)} : {written(v)}" for k, v in value.pairs) + "}"
    if isinstance(value, list):
        return f"[{' , '.join(map(written, value))}]"
    return json.dumps(value, ensure_ascii=False)


def stands_twice(value: Any) -> bool:
    """Whether an object has a key twice."""
    if isinstance(value, Pairs):
        keys = [key for key, _ in value.pairs]
        return len({*keys}) < len(keys) or any(stands_twice(below) for _, below in value.pairs)
    return isinstance(value, list) and any(map(stands_twice, value))


def only(folder: Path) -> list[str]:
    """Names of all that lies in `folder`, hidden ones too."""
    return sorted(p.name for p in folder.iterdir())


class TestAtomicPath:
    def test_writes_and_makes_folders(self, tmp_path: Path) -> None:
        target = tmp_path / "a" / "b" / "c.bin"
        files.write_bytes(target, b"\0\xff")
        assert target.read_bytes() == b"\0\xff"
        assert only(target.parent) == ["c.bin"]

    def test_target_appears_at_the_end(self, tmp_path: Path) -> None:
        target = tmp_path / "x"
        with files.atomic_path(target) as temporary:
            temporary.write_text("whole")
            assert not target.exists()
            assert temporary.parent == tmp_path  # on the same disk, so that renaming is one step
        assert target.read_text() == "whole"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    def test_failure_keeps_the_old_file_and_leaves_nothing(self, tmp_path: Path, error: type[BaseException]) -> None:
        def write(target: Path) -> None:
            with files.atomic_path(target) as temporary:
                temporary.write_text("half")
                raise error

        target = tmp_path / "x"
        target.write_text("old")
        with pytest.raises(error):
            write(target)
        assert target.read_text() == "old"
        assert only(tmp_path) == ["x"]

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
    def test_disk_gives_up_while_syncing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        def fsync(_: int) -> None:
            raise OSError(number, os.strerror(number))

        target = tmp_path / "x"
        target.write_text("old")
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(StorageError) as caught:
            files.write_bytes(target, b"new")
        assert str(target) in caught.value.problem
        assert os.strerror(number) in caught.value.problem
        assert caught.value.fix
        assert target.read_text() == "old"
        assert only(tmp_path) == ["x"]

    def test_data_is_synced_before_it_is_renamed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        target, synced = tmp_path / "x", []

        def fsync(handle: int) -> None:
            synced.append((os.fstat(handle).st_size, target.exists()))

        monkeypatch.setattr(os, "fsync", fsync)
        files.write_bytes(target, b"12345")
        assert synced == [(5, False)]

    def test_other_errors_pass_as_they_are(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="is wrong") as caught, files.atomic_path(tmp_path / "x"):
            raise OSError(errno.EDOM, "the sum is wrong")
        assert not isinstance(caught.value, StorageError)

    def test_rights_are_those_of_a_new_file(self, tmp_path: Path) -> None:
        plain = tmp_path / "plain"
        plain.touch()
        files.write_bytes(tmp_path / "x", b"")
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)

    def test_leaves_the_process_as_it_was(self, tmp_path: Path) -> None:
        def next_handle() -> int:
            handle = os.open(os.devnull, os.O_RDONLY)
            os.close(handle)
            return handle

        handle, before = next_handle(), os.umask(0o027)
        try:
            files.write_bytes(tmp_path / "x", b"")
            assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
        finally:
            after = os.umask(before)
        assert after == 0o027
        assert next_handle() == handle

    def test_long_name(self, tmp_path: Path) -> None:
        target = tmp_path / ("é" * 120)  # 240 bytes of the 255 that a name may have
        files.write_bytes(target, b"1")
        assert only(tmp_path) == [target.name]

    def test_too_long_name(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="File name too long"):
            files.write_bytes(tmp_path / ("x" * 300), b"1")
        assert only(tmp_path) == []

    def test_folder_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "x" / "y").mkdir(parents=True)
        with pytest.raises(StorageError) as caught:
            files.write_bytes(tmp_path / "x", b"1")
        assert caught.value.fix
        assert only(tmp_path) == ["x"]

    def test_file_in_the_way_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "x").touch()
        for target in (tmp_path / "x" / "y", tmp_path / "x" / "y" / "z"):
            with pytest.raises(StorageError, match="cannot write") as caught:
                files.write_bytes(target, b"1")
            assert "another folder" in (caught.value.fix or "")

    def test_disk_that_really_is_full(self, tmp_path: Path) -> None:
        """In a process of its own that may write no file over 4 kB: the first write over it fails."""
        program = (
            "import sys, pathlib, resource\n"
            "from ial_bench import files\n"
            "from ial_bench.errors import StorageError\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
            "files.write_bytes(pathlib.Path(sys.argv[1]), b'o' * 4096)\n"
            "try:\n"
            "    files.write_bytes(pathlib.Path(sys.argv[1]), b'n' * 5000)\n"
            "except StorageError as error:\n"
            "    print(error.problem, '|', error.fix)\n"
        )
        target = tmp_path / "x"
        done = subprocess.run(
            [sys.executable, "-c", program, str(target)], capture_output=True, text=True, check=True, timeout=60
        )
        assert str(target) in done.stdout
        assert "too large" in done.stdout
        assert "| None" not in done.stdout
        assert target.read_bytes() == b"o" * 4096
        assert only(tmp_path) == ["x"]
        assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096  # ours is as it was


class TestWhatNoFileMayReplace:
    def test_links_are_kept_and_so_is_what_they_lead_to(self, tmp_path: Path) -> None:
        (tmp_path / "notes.md").write_text("mine")
        for name, target in (("link", "notes.md"), ("nowhere", "gone"), ("itself", "itself")):
            (tmp_path / name).symlink_to(tmp_path / target)
            with pytest.raises(StorageError, match="is a link, to") as caught:
                files.write_bytes(tmp_path / name, b"new")
            assert str(tmp_path / target) in caught.value.problem
            assert "name the file" in (caught.value.fix or "")
            assert (tmp_path / name).is_symlink()
        assert (tmp_path / "notes.md").read_text() == "mine"
        assert only(tmp_path) == ["itself", "link", "notes.md", "nowhere"]

    def test_pipes_and_sockets_are_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        os.mkfifo(tmp_path / "pipe")
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            for name, kind in (("pipe", stat.S_ISFIFO), ("socket", stat.S_ISSOCK)):
                with pytest.raises(StorageError, match="a device, a pipe or a socket"):
                    files.write_bytes(tmp_path / name, b"new")
                assert kind((tmp_path / name).stat().st_mode)
        assert only(tmp_path) == ["pipe", "socket"]

    def test_devices_are_refused(self) -> None:
        with pytest.raises(StorageError, match="a device, a pipe or a socket"):
            files.check_target(Path(os.devnull))

    def test_files_and_what_is_not_there_are_free(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for name in ("file", "new", "no/folder/yet"):
            files.check_target(tmp_path / name)


class TestCheckWritable:
    def test_makes_the_folder_and_leaves_nothing_in_it(self, tmp_path: Path) -> None:
        files.check_writable(tmp_path / "a" / "b")
        assert only(tmp_path / "a" / "b") == []

    def test_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "x").touch()
        with pytest.raises(StorageError) as caught:
            files.check_writable(tmp_path / "x" / "y")
        assert caught.value.fix

    def test_closed_door(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def temporary_file(**_: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr("tempfile.TemporaryFile", temporary_file)
        with pytest.raises(StorageError, match="Read-only") as caught:
            files.check_writable(tmp_path)
        assert str(tmp_path) in caught.value.problem


class TestJson:
    @FIXED
    @given(json_values)
    def test_round_trip(self, tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
        path = tmp_path_factory.getbasetemp() / "value.json"
        json_files.write_json(path, value)
        assert json_files.read_json(path) == value

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
    def test_no_number_is_not_written(self, tmp_path: Path, value: object) -> None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            json_files.write_json(tmp_path / "x.json", value)
        assert only(tmp_path) == []

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b'{"a": [1, 2',
            b"\xff\xfe\x00",
            b'{"a": "\xff"}',
            b"[" * 100_000,
            b"1" * 10_000,
            b'{"a": 1, "b": {"c": 1, "c": 2}}',
            b"nope",
        ],
        ids=["empty", "cut off", "UTF-16 of nothing", "Latin 1", "deep", "long number", "key twice", "no JSON"],
    )
    def test_bad_file_is_named(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "records.json"
        path.write_bytes(data)
        with pytest.raises(DataError, match="is not valid JSON") as caught:
            json_files.read_json(path)
        assert str(path) in caught.value.problem
        assert caught.value.fix

    def test_key_that_stands_twice_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "x.json").write_text('[{"first": 0, "photo": 1, "other": 2, "photo": 3}]')
        with pytest.raises(DataError, match="the key 'photo' stands twice"):
            json_files.read_json(tmp_path / "x.json")

    @FIXED
    @given(objects)
    def test_keys_that_stand_twice_are_found_wherever_they_stand(self, found: Any) -> None:
        if stands_twice(found):
            with pytest.raises(DataError, match="stands twice"):
                json_files.parse_json(written(found).encode(), "x.json")
        else:
            assert json_files.parse_json(written(found).encode(), "x.json") == json.loads(written(found))

    @pytest.mark.parametrize(
        "text",
        [
            '{"a": 1, "a": 2}',
            '{"a" : 1, "a"\t:\n2}',
            '{"": 1, "": 1}',
            '{"a": ":", "b": ": ", "a": "\u2028"}',
            '{"a": 1, "\\u0061": 2}',
            '{"a\\"": 1, "b": "\\":", "a\\u0022": 2}',
            '[{"x": {"a": [{"a": {}, "b": [], "a": {}}]}}, "a", "b"]',
            '{"a": {"b": 1, "c": 2}, "a": {"d": "e", "f": "g"}}',
        ],
    )
    @pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
    def test_spelling_hides_no_key_that_stands_twice(self, text: str, code: str) -> None:
        with pytest.raises(DataError, match="stands twice"):
            json_files.parse_json(text.encode(code), "x.json")

    @pytest.mark.parametrize(
        "text",
        [
            "0", "-0", "-0.0", "1E400", "-1e-400", "0.1", "2.2250738585072011e-308", "9007199254740993", "1" * 4_300,
            "9007199254740993.0", "123456789012345678901234567890.5e-12", "NaN", "-Infinity",
            '": "', '"\\ud83d\\ude00"',
        ],
    )  # fmt: skip
    def test_values_are_those_of_json(self, text: str) -> None:
        found = json_files.parse_json(f" [{text}]\n".encode(), "x.json")
        assert repr(found) == repr(json.loads(f"[{text}]"))

    @pytest.mark.parametrize("text", ["NaN", "-Infinity", '{"a": "b", "c": [Infinity]}'])
    def test_strictly_read_no_number_is_refused(self, text: str) -> None:
        with pytest.raises(DataError, match="is no number of JSON"):
            json_files.parse_json(text.encode(), "x.json", strict=True)

    @pytest.mark.parametrize(
        "text",
        ["01", "+1", ".5", "1.", "[1,]", "{'a': 1}", '"\n"', '"a', "{} {}", "[1] // one", "nan", '{"a": 1,}', "0x1"],
    )
    def test_what_is_nearly_json_is_refused(self, text: str) -> None:
        with pytest.raises(DataError, match=r"x\.json is not valid JSON"):
            json_files.parse_json(text.encode(), "x.json")

    def test_missing_or_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such file"):
            json_files.read_json(tmp_path / "x.json")
        with pytest.raises(DataError, match="cannot read"):
            json_files.read_json(tmp_path)


class TestSealed:
    def test_comes_back_as_it_was(self, tmp_path: Path) -> None:
        value = {"seconds": 0.1 + 0.2, "files": {"Straße": "ab"}, "none": None, "list": [1, "2"]}
        json_files.write_sealed(tmp_path / "x.json", value)
        assert json_files.read_sealed(tmp_path / "x.json") == value

    def test_any_other_letter_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "x.json"
        json_files.write_sealed(path, {"seconds": 12.5, "files": {"Straße": "ab"}, "none": None})
        whole = path.read_text(encoding="utf-8")
        for i, letter in enumerate(whole):
            path.write_text(whole[:i] + ("8" if letter != "8" else "9") + whole[i + 1 :], encoding="utf-8")
            with pytest.raises(DataError) as caught:
                json_files.read_sealed(path)
            assert str(path) in caught.value.problem

    @pytest.mark.parametrize("text", ["{}", "[]", "null", '{"seconds": 1}', '{"sha256": 1}', '{"sha256": null}'])
    def test_what_was_never_sealed_is_not_taken(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(DataError, match="is damaged"):
            json_files.read_sealed(tmp_path / "x.json")


class TestToml:
    def test_reads(self, tmp_path: Path) -> None:
        (tmp_path / "x.toml").write_text('name = "Zürich"\n[bounds]\nsouth = 1.5\n', encoding="utf-8")
        assert files.read_toml(tmp_path / "x.toml") == {"name": "Zürich", "bounds": {"south": 1.5}}

    @pytest.mark.parametrize(
        "data",
        [b"name", b"a = 1\na = 2\n", b'a = "\xff"', b"a = " + b"[" * 100_000, b"a = " + b"1" * 10_000],
        ids=["cut off", "key twice", "Latin 1", "deep", "long number"],
    )
    def test_bad_file_is_named(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "dataset.toml"
        path.write_bytes(data)
        with pytest.raises(DataError, match="is not valid TOML") as caught:
            files.read_toml(path)
        assert str(path) in caught.value.problem

    def test_missing_or_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such file"):
            files.read_toml(tmp_path / "x.toml")
        with pytest.raises(DataError, match="cannot read"):
            files.read_toml(tmp_path)


class TestDigests:
    def test_of_a_value_ignores_order_of_keys_alone(self) -> None:
        assert json_files.digest({"a": 1, "b": [1, 2]}) == json_files.digest({"b": [1, 2], "a": 1})
        others = [
            {"a": 1, "b": [2, 1]},
            {"a": 1},
            {"a": "1", "b": [1, 2]},
            {"a": 1.0, "b": [1, 2]},
            [["a", 1], ["b", [1, 2]]],
        ]
        assert (
            len({json_files.digest(v) for v in others} | {json_files.digest({"a": 1, "b": [1, 2]})}) == len(others) + 1
        )

    def test_of_a_value_is_the_sha_of_its_canonical_text(self) -> None:
        assert json_files.canonical_json({"b": "é", "a": [1, None]}) == '{"a":[1,null],"b":"é"}'.encode()
        assert json_files.digest([]) == hashlib.sha256(b"[]").hexdigest()
        with pytest.raises(ValueError, match="not JSON compliant"):
            json_files.digest(float("nan"))

    @pytest.mark.parametrize("size", [0, 1, 3_000_000])
    def test_of_a_file(self, tmp_path: Path, size: int) -> None:
        (tmp_path / "x").write_bytes(b"7" * size)
        assert files.sha256_file(tmp_path / "x") == hashlib.sha256(b"7" * size).hexdigest()
        with (tmp_path / "x").open("rb") as file:
            assert files._sha256(file) == files.sha256_file(tmp_path / "x")  # the way of older Pythons


class TestSafeRelative:
    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("images/0_0.jpg", "images/0_0.jpg"),
            ("./images/0_0.jpg", "images/0_0.jpg"),
            ("images//a///b.jpg", "images/a/b.jpg"),
            ("images/./a.jpg", "images/a.jpg"),
            ("images\\a.jpg", "images/a.jpg"),
            (".\\images\\a.jpg", "images/a.jpg"),
            ("a..b/..c.jpg", "a..b/..c.jpg"),
            ("...", "..."),
            ("a/b/", "a/b"),
            ("with blank/ü.jpg", "with blank/ü.jpg"),
            ("~/a.jpg", "~/a.jpg"),
            ("@1@2@.jpg", "@1@2@.jpg"),
        ],
    )
    def test_safe(self, text: str, path: str) -> None:
        assert files.safe_relative(text) == path
        assert files.safe_relative(path) == path

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "\t\n",
            ".",
            "./",
            "/",
            "/etc/passwd",
            "//etc/passwd",
            "\\etc\\passwd",
            "..",
            "../a.jpg",
            "a/../../b.jpg",
            "a/..",
            "images/../a.jpg",
            "..\\a.jpg",
            "a\\..\\..\\b.jpg",
            "a\0.jpg",
        ],
    )
    def test_unsafe(self, text: str) -> None:
        with pytest.raises(DataError, match="unsafe photo path") as caught:
            files.safe_relative(text)
        assert repr(text) in caught.value.problem

    @FIXED
    @given(st.text(st.sampled_from("./\\ab~ "), max_size=12))
    def test_what_is_accepted_stays_below(self, text: str) -> None:
        try:
            path = files.safe_relative(text)
        except DataError:
            return
        assert os.path.normpath(f"/top/folder/{path}").startswith("/top/folder/")
        assert not Path(path).is_absolute()


class TestSweep:
    def half(self, folder: Path, name: str = "x.json") -> Path:
        """What a writer that was killed has left."""
        script = (
            "import os, signal, sys\nfrom pathlib import Path\nfrom ial_bench.files import atomic_path\n"
            "with atomic_path(Path(sys.argv[1])) as temporary:\n    temporary.write_text('half')\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        subprocess.run([sys.executable, "-c", script, str(folder / name)], check=False)
        (found,) = folder.glob(f".{name}.*.tmp")
        return found

    def test_what_a_killed_writer_left_is_removed_also_below(self, tmp_path: Path) -> None:
        below = tmp_path / "a" / "b"
        below.mkdir(parents=True)
        self.half(tmp_path)
        self.half(below)
        files.sweep(tmp_path)
        assert [p for p in tmp_path.rglob("*") if p.is_file()] == []

    def test_what_is_being_written_stays(self, tmp_path: Path) -> None:
        with files.atomic_path(tmp_path / "x.json") as temporary:
            temporary.write_text("half")
            files.sweep(tmp_path)
            script = "import sys; from pathlib import Path; from ial_bench.files import sweep; sweep(Path(sys.argv[1]))"
            subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
            assert temporary.read_text() == "half"
        assert only(tmp_path) == ["x.json"]

    def test_what_is_not_its_own_stays(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside" / ".x.json.writing.tmp"
        outside.parent.mkdir()
        outside.write_text("precious")
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / ".link.json.writing.tmp").symlink_to(outside)
        (folder / "linked").symlink_to(outside.parent)
        (folder / "notes.tmp").write_text("mine")
        (folder / ".x.json.abcdefgh.tmp").write_text("mine")
        os.mkfifo(folder / ".pipe.json.writing.tmp")
        before = only(folder)
        files.sweep(folder)
        assert only(folder) == before
        assert outside.read_text() == "precious"

    def test_the_next_writer_takes_over_what_a_killed_one_left(self, tmp_path: Path) -> None:
        self.half(tmp_path)
        files.write_text(tmp_path / "x.json", "w")
        assert only(tmp_path) == ["x.json"]
        assert (tmp_path / "x.json").read_text() == "w"
        assert stat.S_IMODE((tmp_path / "x.json").stat().st_mode) == 0o666 & ~files._umask()

    @pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
    def test_nothing_is_written_through_what_was_planted(
        self, tmp_path: Path, plant: Callable[[Path, Path], None]
    ) -> None:
        precious = tmp_path / "precious"
        precious.write_text("precious")
        plant(tmp_path / ".x.json.writing.tmp", precious)
        files.write_text(tmp_path / "x.json", "whole")
        assert precious.read_text() == "precious"
        assert (tmp_path / "x.json").read_text() == "whole"

    def test_two_writers_of_one_file_do_not_meet(self, tmp_path: Path) -> None:
        with files.atomic_path(tmp_path / "x") as one, files.atomic_path(tmp_path / "x") as two:
            assert one != two
            one.write_text("one")
            two.write_text("two")
        assert only(tmp_path) == ["x"]
        assert (tmp_path / "x").read_text() == "one"

    def test_a_file_swept_before_it_was_locked_is_begun_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = []
        lock = files._lock

        def late(handle: int) -> bool:
            made.append(handle)
            if len(made) == 1:
                next(tmp_path.glob(".x.json.*.tmp")).unlink()
            return lock(handle)

        monkeypatch.setattr(files, "_lock", late)
        files.write_text(tmp_path / "x.json", "whole")
        assert (tmp_path / "x.json").read_text() == "whole"
        assert len(made) == 2


class TestErrorsOfTheDisk:
    @pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ESTALE, errno.EMFILE])
    def test_they_are_seen_through_whatever_wraps_them(self, tmp_path: Path, number: int) -> None:
        try:
            try:
                raise OSError(number, os.strerror(number), "there")
            except OSError as error:
                raise ValueError("the method failed") from error
        except ValueError as error:
            wrapped = error
        with pytest.raises(StorageError, match=f"cannot go on with there: {os.strerror(number)}"):
            files.check_storage(wrapped, tmp_path)

    @pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(errno.ENOENT, "gone"), KeyError("y")])
    def test_others_are_none(self, tmp_path: Path, error: Exception) -> None:
        files.check_storage(error, tmp_path)
