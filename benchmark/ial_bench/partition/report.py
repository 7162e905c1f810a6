"""The report of a build: HTML with a map, and Markdown. Every text in them is escaped."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ial_bench.files import write_text
from ial_bench.geo.regions import whereabouts
from ial_bench.partition.report_map import svg_map
from ial_bench.partition.substreets import total_m
from ial_bench.report.escape import escape_html, escape_markdown

if TYPE_CHECKING:
    from ial_bench.partition.dataset import Build
    from ial_bench.partition.options import BuildOptions

HTML, MARKDOWN = "build-report.html", "build-report.md"
_BINS = (1, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)
_SHOWN = 20

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff }
table { border-collapse: collapse } td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums } td.bar div { background: #5b7db1; height: .8rem }
svg { width: 100%; height: auto; border: 1px solid #ccc; background: #fafafa }
"""
_LEGEND = (
    "Each sub-street with photos has a colour of its own, and its places have the same; streets without photos are "
    "grey, places without a street are black crosses."
)

Row = tuple[str, str]


def write_build_report(build: Build, options: BuildOptions) -> None:
    """Write both forms into the dataset folder.

    Raises:
        StorageError: it cannot be written to.
    """
    write_text(build.folder / HTML, html(build, options))
    write_text(build.folder / MARKDOWN, markdown(build, options))


def facts(build: Build, options: BuildOptions) -> list[Row]:
    """What the build comes to, in numbers."""
    network, partition = build.network, build.partition
    every = [p for sub in partition.subs for p in sub.pieces]
    counts = ", ".join(f"{n:,} {split}" for split, n in build.counts.items() if n)
    with_places = len(set(build.match.subs[build.match.subs >= 0].tolist()))
    return [
        ("photos", counts),
        ("photos set aside", f"{len(build.photos.set_aside):,}"),
        ("places", f"{len(build.places):,}"),
        ("where on Earth", whereabouts(build.photos.positions)),
        ("addresses", f"{len(build.addresses):,}"),
        ("street names on the map", f"{len(network.names):,}"),
        ("streets (lines of one name that hang together)", f"{partition.n_streets:,}"),
        ("named lines", f"{total_m(every) / 1000:,.1f} km"),
        ("ways without a name, not used", f"{network.unnamed_m / 1000:,.1f} km"),
        ("crossings found by", "the map's node ids" if network.noded == "ids" else "geometry"),
        (
            "sub-streets on the map",
            f"{build.n_before:,}, none shorter than {options.min_length_m:g} m but whole streets",
        ),
        (
            "crossings within a sub-street: too near others, or few places between",
            f"{partition.dropped_crossings:,}",
        ),
        ("sub-streets joined for too few places", f"{build.n_before - len(partition.subs):,}"),
        ("sub-streets with photos", f"{with_places:,}"),
    ]


def set_aside(build: Build) -> list[tuple[str, int]]:
    """Reasons for which photos are set aside, most first; features of the map that were skipped."""
    tally = Counter(reason.split(":")[0] for _, reason in build.photos.set_aside)
    return sorted(tally.items(), key=lambda t: (-t[1], t[0]))


def histogram(build: Build) -> list[tuple[str, int]]:
    """How many sub-streets have so many photos."""
    photos = np.zeros(len(build.addresses), dtype=np.int64)
    for place, sub in zip(build.places, build.match.subs.tolist(), strict=True):
        if sub >= 0 and build.address_of[sub] >= 0:
            photos[build.address_of[sub]] += len(place.photos)
    rows = []
    for low, high in zip(_BINS, (*_BINS[1:], np.inf), strict=True):
        n = int(((photos >= low) & (photos < high)).sum())
        rows.append((f"{low}+" if high == np.inf else f"{low} to {int(high) - 1}", n))
    while rows and not rows[-1][1]:
        rows.pop()
    return rows


def _tables(build: Build) -> list[tuple[str, str, list[tuple[str, int]]]]:
    """Title, unit and rows of each table of counts."""
    return [
        ("Photos a sub-street", "sub-streets", histogram(build)),
        ("How places were matched", "places", build.match.counts().most_common()),
        ("Photos set aside", "photos", set_aside(build)),
        ("Features of the map not used", "features", build.source.skipped.most_common()),
    ]


def markdown(build: Build, options: BuildOptions) -> str:
    """The report without the map."""
    out = [f"# How {escape_markdown(options.name)} was built", ""]
    out += [
        "| | |",
        "|---|---|",
        *(f"| {escape_markdown(a)} | {escape_markdown(b)} |" for a, b in facts(build, options)),
        "",
    ]
    out += [f"- {escape_markdown(note)}" for note in build.notes] + ([""] if build.notes else [])
    for title, unit, rows in _tables(build):
        out += [f"## {title}", ""]
        out += (
            [f"| | {unit} |", "|---|---:|", *(f"| {escape_markdown(a)} | {n:,} |" for a, n in rows), ""]
            if rows
            else ["None.", ""]
        )
    return "\n".join(out)


def html(build: Build, options: BuildOptions) -> str:
    """The whole report in one file that loads nothing."""
    name = escape_html(options.title or options.name)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>{_STYLE}</style>",
        f"<h1>How {name} was built</h1><table>",
        *(f"<tr><td>{escape_html(a)}<td>{escape_html(b)}" for a, b in facts(build, options)),
        "</table><ul>",
        *(f"<li>{escape_html(note)}" for note in build.notes),
        f"</ul><h2>Sub-streets and places</h2><p>{_LEGEND}</p>",
        svg_map(build),
    ]
    for title, unit, rows in _tables(build):
        most = max((n for _, n in rows), default=1)
        parts.append(f"<h2>{escape_html(title)}</h2><table><tr><th><th>{unit}<th>")
        for label, n in rows:
            bar = f"<div style='width:{300 * n // max(most, 1)}px'></div>"
            parts.append(f"<tr><td>{escape_html(label)}<td class=n>{n:,}<td class=bar>{bar}")
        parts.append("</table>")
    shown = sorted(build.photos.set_aside)[:_SHOWN]
    if shown:
        parts.append(f"<h2>The first {len(shown)} photos set aside</h2><table>")
        parts += [f"<tr><td>{escape_html(photo)}<td>{escape_html(reason)}" for photo, reason in shown]
        parts.append("</table>")
    return "\n".join(parts) + "\n</html>\n"
