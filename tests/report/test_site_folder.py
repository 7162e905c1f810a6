"""The report's folder among links, kills and other processes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from ial_bench.errors import ConfigError, StorageError
from ial_bench.folders import LOCK
from ial_bench.progress import NoReport
from ial_bench.report.site.build import Options, build
from ial_bench.report.site.folder import MARK, SiteFolder
from support.made_results import NAME, Method, made_truth, write_results


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, made_truth(40), [Method("a", "Alpha", 0.7), Method("b", "Beta", 0.5)])
    return Options(folder, folder)


@pytest.fixture(scope="module")
def straight(options: Options, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a report that nothing disturbed."""
    return files(make(options, tmp_path_factory.mktemp("straight") / "out"))


def make(options: Options, out: Path) -> Path:
    build(out, [NAME], options, NoReport())
    return out


def lay_mark(out: Path, *names: str) -> None:
    out.mkdir()
    (out / MARK).write_text(json.dumps({"made_by": "bench report", "files": names}))


class TestLinks:
    """A folder of somebody else's says that it is a report."""

    @pytest.fixture
    def mine(self, tmp_path: Path) -> Path:
        """Files that are not the report's."""
        folder = tmp_path / "mine"
        (folder / "assets").mkdir(parents=True)
        for name in ("precious.txt", "index.html", "assets/style.css"):
            (folder / name).write_text("mine")
        return folder

    @pytest.mark.parametrize(
        ("link", "target"),
        [
            ("assets", "assets"),
            ("datasets", "."),
            (f"datasets/{NAME}", "."),
            (f"datasets/{NAME}/data", "assets"),
            ("index.html", "index.html"),
            ("assets/style.css", "assets/style.css"),
        ],
    )
    def test_nothing_is_written_through_them(
        self, options: Options, mine: Path, tmp_path: Path, link: str, target: str
    ) -> None:
        before, out = files(mine), tmp_path / "out"
        lay_mark(out)
        (out / link).parent.mkdir(parents=True, exist_ok=True)
        (out / link).symlink_to(mine / target)
        with pytest.raises(StorageError, match="is a link") as caught:
            make(options, out)
        assert str(out / link) in caught.value.problem
        assert files(mine) == before
        assert (out / link).is_symlink()

    def test_nothing_is_removed_through_them(self, options: Options, mine: Path, tmp_path: Path) -> None:
        before, out = files(mine), tmp_path / "out"
        lay_mark(out, "d/precious.txt", "file", "../mine/precious.txt", str(mine / "precious.txt"), "d", "gone", "")
        (out / "d").symlink_to(mine)
        (out / "file").symlink_to(mine / "precious.txt")
        make(options, out)
        assert files(mine) == before
        assert (out / "d").is_symlink()
        assert (out / "file").is_symlink()

    def test_the_mark_itself(self, options: Options, tmp_path: Path) -> None:
        told = json.dumps({"made_by": "bench report", "files": []})
        (tmp_path / "mine.json").write_text(told)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / MARK).symlink_to(tmp_path / "mine.json")
        with pytest.raises(StorageError, match="is a link"):
            make(options, tmp_path / "out")
        assert (tmp_path / "mine.json").read_text() == told

    def test_a_list_that_is_none(self, options: Options, straight: dict[str, bytes], tmp_path: Path) -> None:
        for i, listed in enumerate((7, None, {"index.html": 1}, [["a"], None, 3, "\0"])):
            out = tmp_path / str(i)
            lay_mark(out)
            (out / MARK).write_text(json.dumps({"made_by": "bench report", "files": listed}))
            assert files(make(options, out)) == straight

    def test_only_files_are_removed(self, options: Options, tmp_path: Path) -> None:
        out = tmp_path / "out"
        lay_mark(out, "folder", "old.html")
        (out / "folder").mkdir()
        (out / "old.html").touch()
        make(options, out)
        assert (out / "folder").is_dir()
        assert not (out / "old.html").exists()


class TestKills:
    def test_before_the_mark(self, options: Options, straight: dict[str, bytes], tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.mkdir()
        (out / LOCK).touch()
        (out / f".{MARK}.a1b2.tmp").touch()
        assert files(make(options, out)).items() >= straight.items()
        assert not (out / LOCK).exists()

    @pytest.mark.parametrize("after", [0, 1, 10])
    def test_half_way(
        self,
        options: Options,
        straight: dict[str, bytes],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        after: int,
    ) -> None:
        class Stop(BaseException):
            pass

        def write(folder: SiteFolder, name: str, content: str | bytes) -> None:
            if len(folder._written) == after:
                raise Stop
            original(folder, name, content)

        original = SiteFolder.write
        with monkeypatch.context() as patch:
            patch.setattr(SiteFolder, "write", write)
            with pytest.raises(Stop):
                make(options, tmp_path / "out")
        assert json.loads((tmp_path / "out" / MARK).read_text())["state"] == "unfinished"
        assert files(make(options, tmp_path / "out")) == straight

    def test_a_finished_report_does_not_say_that_it_is_not(self, straight: dict[str, bytes]) -> None:
        assert json.loads(straight[MARK]).keys() == {"made_by", "files"}
        assert set(json.loads(straight[MARK])["files"]) == straight.keys() - {MARK}


class TestTwoAtOnce:
    def test_the_second_waits(self, options: Options, straight: dict[str, bytes], tmp_path: Path) -> None:
        class Told(NoReport):
            said: list[str]

            def log(self, text: str) -> None:
                self.said.append(text)
                if "waiting" in text:
                    first.release()

        report, out = Told(), tmp_path / "out"
        report.said = []
        out.mkdir()
        first = FileLock(out / LOCK)
        first.acquire()
        build(out, [NAME], options, report)
        assert f"another process writes to {out}; waiting for it" in report.said
        assert files(out) == straight

    def test_both_end_with_the_whole_report(
        self, options: Options, straight: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inside = 0

        class Watched(SiteFolder):
            def __init__(self, path: Path) -> None:
                nonlocal inside
                inside += 1
                assert inside == 1, "both are in"
                super().__init__(path)

            def close(self) -> None:
                nonlocal inside
                super().close()
                inside -= 1

        monkeypatch.setattr("ial_bench.report.site.folder.SiteFolder", Watched)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: make(options, tmp_path / "out"), range(3)))
        assert files(tmp_path / "out") == straight


def test_no_lock_is_laid_into_a_folder_of_somebody(options: Options, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    before = tmp_path.stat().st_mtime_ns
    with pytest.raises(ConfigError, match="other things"):
        make(options, tmp_path)
    assert (tmp_path.stat().st_mtime_ns, files(tmp_path)) == (before, {"thesis.tex": b"mine"})
