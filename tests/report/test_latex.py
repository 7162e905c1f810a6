"""LaTeX: nothing in a text may become a command, decimals stand below each other, and the whole compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ial_bench.report.formats import text_of
from ial_bench.report.published import bibliography
from ial_bench.report.table import Style, Table
from support.made_tables import COLUMNS, HOSTILE, line, make_table, ranked_table, side_by_side

SIUNITX = Style(siunitx=True)


def latex(table: Table, style: Style | None = None) -> str:
    return text_of([table], "latex", style)


READ_BACK = [
    (r"\textbackslash{}", "\\"),
    (r"\textasciitilde{}", "~"),
    (r"\textasciicircum{}", "^"),
    (r"\textless{}", "<"),
    (r"\textgreater{}", ">"),
    (r"\textbar{}", "|"),
    *((f"\\{c}", c) for c in "&%$#_{}"),
    *((f"{{{c}}}", c) for c in "[]*`"),
    ("{}", ""),
]


def decoded(text: str) -> str:
    """A reader of the little LaTeX that escaped text may consist of; anything else is an error."""
    out = []
    while text:
        for command, char in READ_BACK:
            if text.startswith(command):
                out.append(char)
                text = text[len(command) :]
                break
        else:
            assert text[0] not in "\\{}&%$#_~^[]*`<>|", f"bare {text[0]!r} before {text[:20]!r}"
            assert not text.startswith("--"), "LaTeX would make one dash of them"
            out.append(text[0])
            text = text[1:]
    return "".join(out)


def tabular(text: str) -> list[str]:
    """Lines of the body, between the first and the last rule."""
    lines = text.splitlines()
    return [x for x in lines[lines.index(r"\toprule") + 1 : lines.index(r"\bottomrule")] if x != r"\midrule"]


def cells_of(row: str) -> list[str]:
    assert row.endswith(r" \\")
    return re.split(r"(?<!\\)&", row.removesuffix(r" \\"))


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_escapes_any_text(text: str) -> None:
    written = latex(make_table([text, "next"], (text,), name=text))
    header, first, second = (cells_of(row) for row in tabular(written))
    assert [len(header), len(first), len(second)] == [1 + len(COLUMNS)] * 3
    assert [decoded(c.strip()) for c in first[:2]] == [line(text)] * 2
    comments = [x for x in written.splitlines() if x.startswith("%")]
    assert comments == [r"% \usepackage{booktabs}", *[f"% {line(text)}"] * 2]
    bare = re.sub(r"\\[{}]", "", "\n".join(x for x in written.splitlines() if not x.startswith("%")))
    assert bare.count("{") == bare.count("}")


def test_latex_of_a_ranked_table() -> None:
    headings = " & ".join(rf"\multicolumn{{1}}{{c}}{{{x}}}" for x in ("SSA-1 seed sd", "p50 (ms)", "parameters (M)"))
    assert latex(ranked_table()).splitlines() == [
        r"% \usepackage{booktabs}",
        "% made-city",
        "% a note",
        r"\begin{tabular}{llr@{\,}lrrr}",
        r"\toprule",
        rf"Method & Backbone & \multicolumn{{2}}{{c}}{{SSA-1 (\%)}} & {headings} \\",
        r"\midrule",
        r"a & ViT & \textbf{98.8} & {\scriptsize [90.0, 99.9]} & 1.2 & 2.00 & 1.5 \\",
        r"b &  & \underline{50.0} & $^{\dagger}$ {\scriptsize [25.0, 75.0]} &  & \textbf{1.00} & 1.5 \\",
        r"c &  & 0.0 &  &  &  & 1.5 \\",
        r"\midrule",
        r"\multicolumn{7}{l}{\emph{Oracles (not ranked)}} \\",
        r"o &  & 100.0 &  &  &  & 1.5 \\",
        r"\midrule",
        r"\multicolumn{7}{l}{\emph{Published (not ranked)}} \\",
        r"p~\cite{xu2024addressclip} &  & 85.9 &  &  & 3.46 & 1.5 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_without_intervals_and_daggers_a_number_has_one_column() -> None:
    table = ranked_table()
    table = Table(table.title, table.columns, (table.rows[0], *table.rows[2:]))
    assert r"\begin{tabular}{llrrrr}" in latex(table, Style(intervals=False))


def test_siunitx_has_the_digits_of_each_column() -> None:
    lines = latex(ranked_table(), SIUNITX).splitlines()
    assert lines[0] == r"% \usepackage{booktabs,siunitx}"
    numbers = [f"S[table-format={shape}]" for shape in ("3.1", "1.1", "1.2", "1.1")]
    assert rf"\begin{{tabular}}{{ll{numbers[0]}@{{\,}}l{''.join(numbers[1:])}}}" in lines
    assert any(r"\bfseries" in x and r"\tablenum[detect-all,table-format=3.1]{98.8}" in x for x in lines)
    assert any(r"{\underline{\tablenum[table-format=3.1]{50.0}}}" in x for x in lines)


def test_datasets_side_by_side_have_a_heading_with_a_rule() -> None:
    headings = r"\multicolumn{1}{c}{SSA-1 (\%)} & \multicolumn{1}{c}{SA-1 (\%)}"
    assert latex(side_by_side()).splitlines()[2:] == [
        r"\begin{tabular}{llrrrr}",
        r"\toprule",
        r" &  & \multicolumn{2}{c}{one\textbar{}city} & \multicolumn{2}{c}{two\&city} \\",
        r"\cmidrule(lr){3-4} \cmidrule(lr){5-6}",
        rf"Method & Losses & {headings} & {headings} \\",
        r"\midrule",
        r"\multicolumn{6}{l}{\emph{Ours \& others}} \\",
        r"a & x\_y & \textbf{25.0} & \textbf{25.0} & \textbf{25.0} & \textbf{25.0} \\",
        r"b &  & 12.5 &  &  &  \\",
        r"\midrule",
        r"\multicolumn{6}{l}{\emph{From papers}} \\",
        r"p (key\textbackslash{}2024\}) &  &  & 50.0 &  &  \\",  # no citation key
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_latex_of_published_rows_alone_has_no_rule_twice() -> None:
    table = Table("made-city", COLUMNS, ranked_table().rows[-1:])
    assert "\\midrule\n\\midrule" not in latex(table)


ENGINE = next((e for e in ("pdflatex", "tectonic") if shutil.which(e)), "")


def typeset(folder: Path, body: str, packages: str) -> None:
    """Makes t.pdf with a bibliography; skips where there is no TeX, or it lacks a package."""
    if not ENGINE:
        pytest.skip("no pdflatex or tectonic on PATH")
    if ENGINE == "pdflatex" and shutil.which("kpsewhich"):
        for package in packages.split(","):
            if not subprocess.run(["kpsewhich", f"{package}.sty"], capture_output=True).stdout:
                pytest.skip(f"this TeX has no {package}")
    ends = "\\bibliographystyle{plain}\\bibliography{refs}\\end{document}\n"
    begins = f"\\documentclass{{article}}\n\\usepackage{{{packages}}}\n\\begin{{document}}\n"
    (folder / "t.tex").write_text(f"{begins}{body}{ends}", encoding="utf-8")
    (folder / "refs.bib").write_text(bibliography({"xu2024addressclip"}), encoding="utf-8")
    options = ["-interaction=nonstopmode", "-halt-on-error"] if ENGINE == "pdflatex" else []
    steps = [[ENGINE, *options, "t.tex"]]
    if ENGINE == "pdflatex" and shutil.which("bibtex"):
        steps.append(["bibtex", "t"])
    for step in steps:
        done = subprocess.run(step, cwd=folder, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "t.pdf").stat().st_size > 1000


@pytest.mark.parametrize(("style", "packages"), [(None, "booktabs"), (SIUNITX, "booktabs,siunitx")])
def test_latex_compiles(tmp_path: Path, style: Style | None, packages: str) -> None:
    ascii_only = [t for t in HOSTILE if t.isascii()]  # other scripts need a font, which is not the table's business
    ascii_only.append("a & b" * 50_000)  # longer than a line of TeX may be
    tables = [make_table(ascii_only, tuple(ascii_only[:-1])), *(make_table([t]) for t in ascii_only), ranked_table()]
    tables.append(side_by_side())
    typeset(tmp_path, "\n\n".join(latex(t, style) for t in tables), packages)


def test_the_bibliography_has_the_papers_that_are_cited() -> None:
    assert bibliography({"nobody2024"}) == ""
    lines = bibliography({"xu2024addressclip", "nobody2024"}).splitlines()
    assert lines[0] == "@inproceedings{xu2024addressclip,"
    fields = {name: value for x in lines[1:-1] for name, value in re.findall(r"^  (\w+) = \{(.*)\},$", x)}
    assert len(fields) == len(lines) - 2
    assert fields["author"].split(" and ")[0] == "Shixiong Xu"
    assert len(fields["author"].split(" and ")) == 6
    assert fields["title"].startswith("{AddressCLIP: Empowering Vision-Language Models")  # braces keep its capitals
    assert (fields["year"], fields["eprint"], fields["archiveprefix"]) == ("2024", "2407.08156", "arXiv")
