"""Tables for papers by `bench leaderboard`: options, layout files, bibliographies, and files held against records."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from ial_bench.engine.records import RECORD_VERSION, record_path
from support.bench_command import Bench
from support.made_records import PAPER_COUNTS, make_record, store


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Made records on two datasets that have published numbers, one method with two settings."""
    folder = tmp_path / "results"
    for dataset, shift in (("pitts-ial", 0.0), ("sf-ial-base", 0.1)):
        for name, value, config in [
            ("a", 0.5, {}), ("b", 0.3, {"losses": ["x"]}), ("b", 0.4, {"losses": ["x", "y"]}),
        ]:  # fmt: skip
            accuracy = dict.fromkeys(("SSA-1", "SSA-5", "SA-1", "SA-5", "MRR"), (value + shift, (value, value + 0.2)))
            record = make_record(
                name, accuracy, title=f"{name} & co", config=config, dataset=dataset, latency_ms=value,
                counts=PAPER_COUNTS[dataset],
            )  # fmt: skip
            store(folder, record)
    return folder


def csv_rows(text: str) -> list[list[str]]:
    header, *rows = csv.reader(io.StringIO(text))
    return [[row[header.index("method")], row[header.index("kind")]] for row in rows]


def test_columns_rows_and_order_by_options(bench: Bench, results: Path) -> None:
    said = bench(
        "leaderboard", "--results", results, "-d", "pitts-ial", "--no-published", "-f", "md", "--no-intervals",
        "--methods", "b,a", "--columns", "MRR,latency,set:losses", "--digits", "2",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert said.out.splitlines()[2:7] == [
        "| method | losses | MRR % | p50 (ms) |",
        "|---|---|---:|---:|",
        r"| b \& co (losses=x\+y) | x\+y | <ins>40.00</ins> | <ins>0.40</ins> |".replace(r"\+", "+"),
        r"| b \& co (losses=x) | x | 30.00 | **0.30** |",
        r"| a \& co |  | **50.00** | 0.50 |",
    ]
    sorted_ = bench(
        "leaderboard", "--results", results, "-d", "pitts-ial", "--no-published", "-f", "csv", "--methods", "b,a",
        "--sort", "latency", "--settings-as-columns",
    )  # fmt: skip
    assert [m for m, _ in csv_rows(sorted_.out)] == ["b & co", "b & co", "a & co"]
    assert "losses" in sorted_.out.splitlines()[0]


def test_datasets_side_by_side_by_options(bench: Bench, results: Path) -> None:
    said = bench("leaderboard", "--results", results, "-d", "sf-ial-base,pitts-ial", "--side-by-side", "-f", "latex")
    assert said.code == 0, said.err
    assert said.out.count(r"\begin{tabular}") == 1
    assert r"\multicolumn{8}{c}{sf-ial-base} & \multicolumn{8}{c}{pitts-ial}" in said.out
    assert r"AddressCLIP~\cite{xu2024addressclip} &  & 86.3 &  &" in said.out
    each = bench("leaderboard", "--results", results, "-d", "sf-ial-base,pitts-ial", "-f", "latex")
    assert each.out.count(r"\begin{tabular}") == 2


def test_a_layout_file_with_options_before_it(bench: Bench, results: Path, tmp_path: Path) -> None:
    file = tmp_path / "paper" / "main.toml"
    file.parent.mkdir()
    file.write_text(
        'datasets = ["pitts-ial", "sf-ial-base"]\nmetrics = ["SSA-1", "SA-1"]\nintervals = false\n'
        '[headings]\npitts-ial = "Pitts"\n'
        '[[rows]]\npublished = "AddressCLIP"\ntitle = "AddressCLIP, as published"\n'
        '[[rows]]\nmethod = "b"\nsettings = {losses = "x+y"}\ntitle = "Ours"\ngroup = "Trained"\n',
        encoding="utf-8",
    )
    said = bench("leaderboard", "--results", results, "--layout", file, "-f", "json")
    assert said.code == 0, said.err
    (table,) = json.loads(said.out)
    assert [(r["method"], r["group"]) for r in table["rows"]] == [
        ("Ours", "Trained"),
        ("AddressCLIP, as published", ""),
    ]
    assert [c["key"] for c in table["columns"]][1:] == [
        f"{d} {m}" for d in ("Pitts", "sf-ial-base") for m in ("SSA-1", "SA-1")
    ]
    assert table["rows"][1]["cells"]["Pitts SSA-1"]["value"] == pytest.approx(0.8039)
    fewer = bench(
        "leaderboard", "--results", results, "--layout", file, "-f", "json", "--metrics", "MRR", "-d", "pitts-ial"
    )
    (table,) = json.loads(fewer.out)
    assert [c["name"] for c in table["columns"] if c["fraction"]] == ["MRR"]
    file.write_text('[[rows]]\nmethod = "b"\nsettings = {losses = "z"}\n', encoding="utf-8")
    said = bench("leaderboard", "--results", results, "--layout", file)
    assert said.code == 2
    assert "nothing is there for the row b, losses=z" in said.err


def test_the_bibliography_is_written_beside_a_latex_table_or_where_it_is_wanted(
    bench: Bench, results: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.tex"
    assert bench("leaderboard", "--results", results, "--out", table).code == 0
    assert table.read_text(encoding="utf-8").splitlines()[1] == r"% \usepackage{booktabs}"
    assert "@inproceedings{xu2024addressclip," in (tmp_path / "table.bib").read_text(encoding="utf-8")
    assert bench("leaderboard", "--results", results, "--no-published", "--out", tmp_path / "own.tex").code == 0
    assert not (tmp_path / "own.bib").exists()
    assert bench("leaderboard", "--results", results, "--bib", tmp_path / "refs.bib").code == 0
    assert (tmp_path / "refs.bib").read_bytes() == (tmp_path / "table.bib").read_bytes()


@pytest.mark.parametrize("name", ["t.md", "t.tex", "t.html"])
def test_a_table_is_checked_by_the_options_that_it_keeps(
    bench: Bench, results: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my layout.toml").write_text('metrics = ["SSA-1"]\nsort = "latency"\n', encoding="utf-8")
    file = tmp_path / "below" / name
    options = ["--layout", tmp_path / "my layout.toml", "--methods", "a,b", "-d", "pitts-ial", "--no-intervals"]
    assert bench("leaderboard", "--results", results, *options, "--out", file).code == 0
    text = file.read_text(encoding="utf-8")
    assert "--layout '../my layout.toml'" in text.splitlines()[0]
    assert str(tmp_path) not in text
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    said = bench("leaderboard", "--results", results, "--check", file)
    assert (said.code, said.out) == (0, ""), said.err
    assert "follows from the records" in said.err

    counts = PAPER_COUNTS["pitts-ial"]
    record = make_record("a", {"SSA-1": 0.123}, title="<b>a", dataset="pitts-ial", latency_ms=0.5, counts=counts)
    (path,) = (results / "pitts-ial" / "a").glob("*.json")
    assert store(results, record) == path
    said = bench("leaderboard", "--results", results, "--check", file)
    assert said.code == 1
    assert "does not follow from the records" in said.err
    assert f"--check {file} --update" in said.err
    assert any(x.startswith("-") and "50.0" in x for x in said.out.splitlines())
    assert any(x.startswith("+") and "12.3" in x for x in said.out.splitlines())
    assert file.read_text(encoding="utf-8") == text
    assert bench("leaderboard", "--results", results, "--check", file, "--update").code == 0
    assert file.read_text(encoding="utf-8") != text
    assert bench("leaderboard", "--results", results, "--check", file).code == 0


def test_tables_between_an_authors_own_words(bench: Bench, results: Path, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    tables = [
        f"<!-- bench leaderboard -d {d} -m a --no-published -->\n(none yet)\n" for d in ("pitts-ial", "sf-ial-base")
    ]
    page.write_text("# Mine\n" + "".join(f"{t}<!-- end of bench leaderboard -->\nwords\n" for t in tables), "utf-8")
    assert bench("leaderboard", "--results", results, "--check", page).code == 1
    assert bench("leaderboard", "--results", results, "--check", page, "--update").code == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Mine\n<!-- bench leaderboard -d pitts-ial -m a --no-published -->\n**pitts-ial**")
    assert text.count("words\n") == 2
    assert "none yet" not in text
    assert bench("leaderboard", "--results", results, "--check", page).code == 0


@pytest.mark.parametrize("name", ["t.csv", "t.json"])
def test_a_file_without_comments_is_checked_by_the_same_options(
    bench: Bench, results: Path, tmp_path: Path, name: str
) -> None:
    options = ["--results", results, "-d", "pitts-ial", "--metrics", "MRR"]
    assert bench("leaderboard", *options, "--out", tmp_path / name).code == 0
    assert bench("leaderboard", *options, "--check", tmp_path / name).code == 0
    assert bench("leaderboard", *options[:-1], "SSA-1", "--check", tmp_path / name).code == 1


def test_a_damaged_record_fails_a_check_that_else_agrees(bench: Bench, results: Path, tmp_path: Path) -> None:
    file = tmp_path / "t.md"
    assert bench("leaderboard", "--results", results, "--out", file).code == 0
    record_path(results, "pitts-ial", "a", "cut").write_text("{", encoding="utf-8")
    said = bench("leaderboard", "--results", results, "--check", file)
    assert said.code == 1
    assert "not read:" in said.err
    assert "follows from" in said.err


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("no table here\n", 1, "does not say how its table was made"),
        ("<!-- bench leaderboard --colour red -->\n<!-- end of bench leaderboard -->\n", 2, "No such option"),
        (
            "<!-- bench leaderboard --help -->\n| Mine | 99.9 |\n<!-- end of bench leaderboard -->\n",
            2,
            "prints no table",
        ),
        ("% bench leaderboard --out x.tex\n% end of bench leaderboard\n", 2, "--out has no place in a file"),
        (
            "% bench leaderboard --results elsewhere\n% end of bench leaderboard\n",
            2,
            "--results has no place in a file",
        ),
        ("<!-- bench leaderboard -d nowhere -->\n<!-- end of bench leaderboard -->\n", 2, "'nowhere'"),
        ("<!-- bench leaderboard -f docx -->\n<!-- end of bench leaderboard -->\n", 2, "unknown format 'docx'"),
        ("<!-- bench leaderboard -->\n", 1, "the table has no end"),
        (None, 1, "no such file"),
    ],
)
def test_what_cannot_be_checked_is_said(
    bench: Bench, results: Path, tmp_path: Path, text: str | None, code: int, says: str
) -> None:
    if text is not None:
        (tmp_path / "t.md").write_text(text, encoding="utf-8")
    said = bench("leaderboard", "--results", results, "--check", tmp_path / "t.md")
    assert said.code == code, said.err
    assert says in said.err
    assert bench("leaderboard", "--results", results, "--update").code == 2


def test_a_newer_record_is_refused_by_name_and_the_rest_is_shown(bench: Bench, results: Path) -> None:
    (path,) = (results / "pitts-ial" / "a").glob("*.json")
    newer = {**json.loads(path.read_text(encoding="utf-8")), "schema_version": RECORD_VERSION + 1}
    path.write_text(json.dumps(newer), encoding="utf-8")
    said = bench("leaderboard", "--results", results, "-d", "pitts-ial", "-f", "html")
    assert said.code == 1
    assert f"not read: {path} has schema_version {RECORD_VERSION + 1}" in said.err
    assert "b &amp; co" in said.out
    assert "a &amp; co" not in said.out


def test_methods_of_one_dataset_alone_do_not_stop_the_other(bench: Bench, results: Path) -> None:
    shutil.rmtree(results / "pitts-ial" / "a")
    said = bench("leaderboard", "--results", results, "--methods", "a", "-f", "csv", "--no-published")
    assert said.code == 0, said.err
    assert csv_rows(said.out) == [["a & co", "measured"]]
