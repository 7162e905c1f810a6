"""Every verb that writes, killed at each step of its writing, and then called once more: the same end.

    python tests/kill_everywhere.py [VERB ...] [--most N]      N kills a verb, spread over its steps; default: all

A step is a rename, a removal, a folder made or removed, or a flush to the disk. The process is forked, so that a kill
takes a fraction of a second, and ends by SIGKILL in the middle of the step: nothing of it is cleaned up.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}
PATIENCE_S = 120
_VOLATILE = ("phases", "provenance", "size")  # of a record: times, and memory


@dataclass(frozen=True)
class Verb:
    """A command that writes.

    Attributes:
        words: of the command, in a folder of its own with ``city``, ``results``, ``cache`` and what `prepare` adds.
        prepare: what it needs besides.
        again: whether what it writes is there already, from an earlier call.
    """

    words: tuple[str, ...]
    prepare: Callable[[Path], None] = lambda _: None
    again: bool = False


def _release(folder: Path) -> None:
    """A release to import: the photos of the city, annotated as the field's are."""
    from ial_bench.datasets.dataset import Dataset

    data = Dataset(folder / "city")
    (folder / "release").mkdir()
    rows: list[str] = ["path,lat,lon"]
    for split, name in (("train", "train"), ("query", "queries")):
        photos = data.split(split)
        told = {
            photos.relative_path(i): ["", "", data.addresses[photos.address_rows[i]].text] for i in range(len(photos))
        }
        (folder / "release" / f"x_{name}.json").write_text(json.dumps(told))
        rows += [f"{photos.relative_path(i)},{lat},{lon}" for i, (lat, lon) in enumerate(photos.positions.tolist())]
    (folder / "coords.csv").write_text("\n".join(rows) + "\n")


def _street_photos(folder: Path) -> None:
    """Photos along two streets of `mapped_city`, and its map."""
    from PIL import Image

    from support.drawn_streets import degrees
    from support.mapped_city import write_map

    (folder / "photos").mkdir()
    rows = ["path,lat,lon,place_id"]
    points = [(x, y) for y in (3.0, -147.0) for x in (20.0, 30.0, 40.0, 50.0, 60.0, 70.0)]
    for i, (lat, lon) in enumerate(degrees(*points).tolist()):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / "photos" / f"{i:02d}.png")
        rows.append(f"{i:02d}.png,{lat:.7f},{lon:.7f},p{i:02d}")
    (folder / "photos" / "photos.csv").write_text("\n".join(rows) + "\n")
    write_map(folder / "map.geojson")


def _captions(folder: Path) -> None:
    from ial_bench.datasets.dataset import Dataset

    ids = Dataset(folder / "city").split("train").ids
    (folder / "captions.jsonl").write_text(
        "".join(json.dumps({"photo_id": i, "caption": "a street"}) + "\n" for i in ids)
    )


def _pack(folder: Path) -> None:
    from ial_bench.packs.pack import make_pack

    make_pack(folder / "results", "tiny-city", [], folder / "theirs.ialpack")
    shutil.rmtree(folder / "results")


_METHODS = "majority,random,gps-oracle"
_RUN = ("run", "-d", "city", "--no-timing", "--workers", "0")
VERBS = {
    "run": Verb((*_RUN, "-m", _METHODS, "--seeds", "0", "1"), lambda f: shutil.rmtree(f / "results")),
    "run --rerun": Verb((*_RUN, "-m", "majority,random", "--rerun"), again=True),
    "score": Verb(("score", "-d", "city"), again=True),
    "leaderboard --out": Verb(("leaderboard", "--out", "table.md"), again=True),
    "report": Verb(("report", "--out", "report", "--thumbnails", "3", "--data-home", ".")),
    "report again": Verb(("report", "--out", "report", "--thumbnails", "3", "--data-home", "."), again=True),
    "export": Verb(("data", "export", "city", "--webdataset", "--shard-size", "20KB", "--out", "shards")),
    "synth": Verb(
        (
            "data", "synth", "--name", "s", "--seed", "11", "--blocks", "2x2", "--size", "32", "--places", "2",
            "--headings", "2", "--query-places", "1", "--query-headings", "1", "--workers", "1", "--out", "drawn",
        )
    ),
    "import": Verb(
        (
            "data", "import", "released", "--name", "mine", "--annotations", "release", "--images", "city/images",
            "--coords", "coords.csv", "--out", "imported",
        ),
        _release,
    ),
    "build": Verb(
        (
            "data", "build", "--name", "small", "--photos", "photos/photos.csv", "--streets", "map.geojson",
            "--min-places", "1", "--out", "built",
        ),
        _street_photos,
    ),
    "subset": Verb(("data", "subset", "city", "--coverage", "0.5", "--out", "part")),
    "caption": Verb(("data", "caption", "city", "--captioner", "captions.jsonl", "--overwrite"), _captions),
    "contents": Verb(("data", "contents", "city"), lambda f: (f / "city" / "contents.parquet").unlink()),
    "pack": Verb(("results", "pack", "-d", "tiny-city", "--out", "mine.ialpack"), again=True),
    "merge": Verb(("results", "merge", "theirs.ialpack", "-d", "city"), _pack),
    "site-template": Verb(("results", "site-template", "board")),
    "new-method": Verb(("new-method", "my-idea", "--out", "my_idea.py")),
}  # fmt: skip


def bench(folder: Path, words: Sequence[str], kill_at: int | None = None) -> tuple[int, int, str]:
    """Call a command in a forked process.

    Args:
        folder: to call it in.
        words: of it.
        kill_at: the step at which it is killed, from 1; None: none.

    Returns:
        Exit code (negative: of a signal), steps that it came to, and what it said.
    """
    said, steps = folder / "said.txt", folder / "steps.txt"
    child = os.fork()
    if child == 0:
        _call(folder, words, kill_at, said, steps)
    deadline = time.monotonic() + PATIENCE_S
    while (waited := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 124, 0, f"stuck: {said.read_text(errors='replace')}"
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(waited[1])
    counted = int(steps.read_text() or 0) if steps.is_file() else 0
    told = said.read_text(errors="replace")
    for file in (said, steps):
        file.unlink(missing_ok=True)
    return code, counted, told


def _call(folder: Path, words: Sequence[str], kill_at: int | None, said: Path, steps: Path) -> None:
    """In the forked process."""
    os.chdir(folder)
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    for name in ("results", "cache", "data"):
        os.environ[f"IAL_BENCH_{name.upper()}"] = str(folder / name)
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event: str, _: Any) -> None:
        if event in STEPS:
            step()

    flush = os.fsync

    def flushed(handle: Any) -> None:
        step()
        flush(handle)

    os.fsync = flushed  # type: ignore[assignment]
    sys.addaudithook(heard)
    sys.argv = ["bench", *words]
    from ial_bench.cli.start import main

    code = 0
    try:
        main()
    except SystemExit as left:
        code = int(left.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.open(steps, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(number, str(count).encode())
    os._exit(code)


def outcome(folder: Path) -> dict[str, str]:
    """What is there in the end, by path: digests of files, times and caches aside."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name.startswith("cache/") or path.name.endswith("lock"):
            continue
        data = path.read_bytes()
        if name.startswith("results/") and path.suffix == ".json":
            record = {k: v for k, v in json.loads(data).items() if k not in _VOLATILE}
            record["received"] = None
            data = json.dumps(record, sort_keys=True).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def leftovers(folder: Path) -> list[str]:
    """What no finished command leaves behind."""
    runs = [p for p in (folder / "cache" / "runs").glob("*") if p.is_dir()]
    return [str(p.relative_to(folder)) for p in [*folder.rglob("*.tmp"), *folder.rglob("*.new"), *runs]]


def made(folder: Path) -> Path:
    """A folder to copy for each kill: a city, and finished runs."""
    from ial_bench.testing import make_tiny_city

    base = folder / "base"
    base.mkdir()
    make_tiny_city(base / "city")
    code, _, said = bench(base, (*_RUN, "-m", _METHODS, "--seeds", "0", "1"))
    assert code == 0, said
    return base


def try_verb(base: Path, name: str, most: int | None) -> tuple[int, list[str]]:
    """Kill a verb at its steps; how many kills there were, and what did not hold."""
    verb, folder = VERBS[name], base.parent / name.replace(" ", "_")
    start = folder / "start"
    shutil.copytree(base, start)
    verb.prepare(start)
    if verb.again:
        code, _, said = bench(start, verb.words)
        assert code == 0, f"{name}: {said}"
    here = folder / "here"  # in one place all of them, for some of what is written tells where it lies
    shutil.copytree(start, here)
    code, steps, said = bench(here, verb.words)
    assert code == 0, f"{name}: {said}"
    expected = outcome(here)
    wrong = [f"{name}: {left} is left behind by a call that nothing stopped" for left in leftovers(here)]
    shutil.rmtree(here)
    chosen = list(range(1, steps + 1))
    if most == 1:
        chosen = [1 + zlib.crc32(name.encode()) % steps]  # another part of the work for each verb
    elif most is not None and steps > most:
        chosen = [1 + round(i * (steps - 1) / max(1, most - 1)) for i in range(most)]
    for at in chosen:
        shutil.copytree(start, here)
        code, _, said = bench(here, verb.words, at)
        if code != -signal.SIGKILL:
            wrong.append(f"{name}, step {at}: it was to be killed and ended with {code}: {said[-300:]}")
        code, _, said = bench(here, verb.words)
        if code != 0:
            wrong.append(f"{name}, step {at} of {steps}: the same command then ends with {code}: {said[-400:]}")
        elif (found := outcome(here)) != expected:
            other = sorted(k for k in {*found, *expected} if found.get(k) != expected.get(k))
            wrong.append(f"{name}, step {at} of {steps}: another end: {', '.join(other)[:300]}")
        wrong += [f"{name}, step {at} of {steps}: {left} is left behind" for left in leftovers(here)]
        shutil.rmtree(here)
    return len(chosen), wrong


def main() -> None:
    """Try verbs; what did not hold on standard output, exit code 1 where anything did not."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verbs", nargs="*", metavar="VERB", help=", ".join(VERBS))
    parser.add_argument("--most", type=int, default=None, help="kills a verb")
    asked = parser.parse_args()
    kills, wrong = 0, list[str]()
    with tempfile.TemporaryDirectory(prefix="ial-bench-kills-") as folder:
        base = made(Path(folder))
        for name in asked.verbs or VERBS:
            started = time.monotonic()
            n, found = try_verb(base, name, asked.most)
            kills, wrong = kills + n, wrong + found
            print(f"{name}: {n} kills, {len(found)} wrong, {time.monotonic() - started:.1f} s", flush=True)
            for line in found:
                print(f"  {line}", flush=True)
    print(f"{kills} kills, {len(wrong)} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
