"""Commands that make datasets: one at a time in a folder, and again after a kill."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from ial_bench.datasets import dataset as dataset_module
from ial_bench.datasets.dataset import Dataset
from ial_bench.datasets.derive import join, take_places
from ial_bench.datasets.importing.released import import_released
from ial_bench.datasets.table import DESCRIPTION, PHOTOS, new_dataset
from ial_bench.datasets.verify import verify
from ial_bench.errors import ConfigError, DataError
from ial_bench.folders import LOCK, UNFINISHED
from support.made_release import sound_release

Make = Callable[[Path, bool], object]


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(params=["import", "subset"])
def make(request: pytest.FixtureRequest, tiny_city: Dataset, tmp_path: Path) -> Make:
    """Makes a dataset in a folder, with --force or without."""
    release = sound_release(tmp_path / "release")

    def imported(out: Path, force: bool) -> object:
        return import_released(release.options(out=out, force=force))

    def subset(out: Path, force: bool) -> object:
        return take_places(tiny_city, 0.5, 0, "part", out, force)

    return imported if request.param == "import" else subset


class TestTwoAtOnce:
    def test_the_second_is_refused_and_touches_nothing(self, make: Make, tmp_path: Path) -> None:
        out = tmp_path / "out"
        make(out, False)
        before = tree(out)
        with FileLock(out / LOCK):
            for force in (False, True):
                with pytest.raises(ConfigError, match="another process writes to"):
                    make(out, force)
        assert tree(out) == before | {LOCK: b""}

    def test_many_end_with_one_whole_dataset(self, make: Make, tmp_path: Path) -> None:
        straight, out = tmp_path / "straight", tmp_path / "out"
        make(straight, False)

        def one(_: int) -> str:
            try:
                make(out, False)
            except ConfigError as error:
                return error.problem
            return ""

        with ThreadPoolExecutor(6) as pool:
            said = list(pool.map(one, range(6)))
        assert said.count("") == 1
        refused = {f"{out} is already a dataset", f"another process writes to {out}"}
        assert {s for s in said if s} <= refused
        assert tree(out) == tree(straight)
        assert verify(Dataset(out), quick=True).problems == []

    def test_the_second_of_a_union(self, tiny_city: Dataset, tmp_path: Path) -> None:
        part = take_places(tiny_city, 0.5, 0, "part", tmp_path / "part")
        with FileLock(tmp_path / LOCK), pytest.raises(ConfigError, match="another process"):
            join([tiny_city, part], "both", tmp_path)


class TestAfterAKill:
    def test_a_dataset_that_was_whole_already(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed when all was done but to remove lock and mark."""
        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            patch.setattr("ial_bench.datasets.table._drop_mark", lambda _: None)
            make(out, False)
        assert (out / UNFINISHED).is_file()
        (out / LOCK).touch()
        make(out, False)
        assert not (out / LOCK).exists()
        assert not (out / UNFINISHED).exists()
        with pytest.raises(ConfigError, match="is already a dataset"):
            make(out, False)

    def test_a_lock_is_swept_from_a_dataset(self, make: Make, tmp_path: Path) -> None:
        out = tmp_path / "out"
        make(out, False)
        before = tree(out)
        (out / LOCK).touch()
        with pytest.raises(ConfigError, match="is already a dataset"):
            make(out, False)
        assert tree(out) == before

    def test_another_command_is_refused(self, tmp_path: Path) -> None:
        def begun(*of: object) -> None:
            with new_dataset(tmp_path, False, "a command", *of):
                (tmp_path / DESCRIPTION).touch()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            begun("seed", 1)
        (tmp_path / UNFINISHED).write_text('{"made_by": "another"}')
        with pytest.raises(ConfigError, match="is already a dataset"):
            begun("seed", 1)


def test_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    release = sound_release(tmp_path / "release")
    release.coords.clear()
    with pytest.raises(DataError):
        import_released(release.options(max_bad=0.0))
    assert [p.name for p in (release.root / "out").iterdir()] == ["import-report.csv"]
    with pytest.raises(DataError):
        import_released(release.options(out=tmp_path / "new", annotations=tmp_path))
    assert not (tmp_path / "new").exists()


class TestTablesOfSomebodyElse:
    """A few kilobytes that stand for millions of rows."""

    def test_rows_without_end(self, tiny_city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        city = take_places(tiny_city, 1, 0, "part", tmp_path / "part").folder
        one = pq.read_table(city / PHOTOS).slice(0, 1)
        rows = pa.array(np.zeros(1_000_000, np.int64))
        texts = [f.name for f in one.schema if pa.types.is_string(f.type)]
        table = pa.table({n: pa.DictionaryArray.from_arrays(rows.cast(pa.int32()), one[n].combine_chunks())
                          if n in texts else one[n].take(rows) for n in one.column_names})  # fmt: skip
        pq.write_table(table, city / PHOTOS)
        assert (city / PHOTOS).stat().st_size < 100_000
        assert len(Dataset(city)) == 1_000_000
        monkeypatch.setattr(dataset_module, "_MOST_BYTES", 10_000_000)
        with pytest.raises(DataError, match=r"photos\.parquet is damaged: too large"):
            Dataset(city)

    def test_texts_without_end(self, tiny_city: Dataset, tmp_path: Path) -> None:
        city = take_places(tiny_city, 1, 0, "part", tmp_path / "part").folder
        table = pq.read_table(city / PHOTOS)
        n = len(table)
        long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), ["x" * 200_000])
        table = table.set_column(table.column_names.index("caption"), "caption", long)
        pq.write_table(table, city / PHOTOS, dictionary_pagesize_limit=1 << 20)
        with pytest.raises(DataError, match=r"too large: texts of .* MB in caption"):
            _ = Dataset(city).has_captions
