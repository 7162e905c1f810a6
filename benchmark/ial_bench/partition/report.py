"""The report of a build: HTML with a map of sub-streets and places, and Markdown. Every text in them is escaped."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ial_bench.escape import escape_html, escape_markdown
from ial_bench.files import write_text
from ial_bench.geo.lines import Floats
from ial_bench.geo.projections import to_local_m
from ial_bench.geo.regions import whereabouts
from ial_bench.partition.options import Build, BuildOptions
from ial_bench.partition.substreets import total_m

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

_WIDTH = 1000.0
_MARGIN_M = 150.0
_GOLDEN_ANGLE = 137.508  # neighbours in number are far apart in hue
MOST_PLACES = 20_000
"""More places are thinned evenly: a browser draws no more in good time."""

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
    """How many sub-streets have how many photos."""
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
        _svg_map(build),
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


def _svg_map(build: Build) -> str:
    """The part of the city where the photos are, north up."""
    origin = build.network.origin
    points = to_local_m(np.array([p.position for p in build.places]), origin)
    low, high = np.percentile(points, [1, 99], axis=0)  # a stray photo would make the rest a dot
    low, high = low - _MARGIN_M, high + _MARGIN_M
    scale = _WIDTH / max(float(high[0] - low[0]), float(high[1] - low[1]) / 2)
    width, height = (float(v) for v in (high - low) * scale)

    def draw(line: Floats) -> Floats:
        return np.stack([(line[:, 0] - low[0]) * scale, (high[1] - line[:, 1]) * scale], axis=1)

    stroke = max(1.0, min(6.0, 8.0 * scale))
    label = "role=img aria-label='Map of sub-streets and places'"
    parts = [f"<svg viewBox='0 0 {width:.0f} {height:.0f}' {label} fill=none stroke-linecap=round>"]
    plain, coloured = [], []
    for sub, row in zip(build.partition.subs, build.address_of.tolist(), strict=True):
        paths = [_path(draw(p.metres)) for p in sub.pieces if _meets(p.metres, low, high)]
        if not paths:
            continue
        if row < 0:
            plain += paths
        else:
            title = escape_html(build.addresses[row].text)
            look = f"stroke='{_colour(row)}' stroke-width='{stroke:.1f}'"
            coloured.append(f"<path d='{''.join(paths)}' {look}><title>{title}</title></path>")
    parts.append(f"<path d='{''.join(plain)}' stroke='#ccc' stroke-width='{stroke / 2:.1f}'/>")
    parts += coloured
    step = max(1, -(-len(points) // MOST_PLACES))
    for i in range(0, len(points), step):
        ((x, y),) = draw(points[i : i + 1])
        where = int(build.match.subs[i])
        row = int(build.address_of[where]) if where >= 0 else -1
        title = escape_html(f"{build.places[i].name}: {build.match.how[i]}")
        if row < 0:
            r = stroke * 0.8
            cross = f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}"
            parts.append(f"<path d='{cross}' stroke='#000'><title>{title}</title></path>")
        else:
            parts.append(
                f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{stroke * 0.6:.1f}' fill='{_colour(row)}' stroke='#333' "
                f"stroke-width='0.5'><title>{title}</title></circle>"
            )
    return "\n".join([*parts, "</svg>"])


def _path(points: Floats) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points.tolist())


def _meets(line: Floats, low: Floats, high: Floats) -> bool:
    return bool((line.max(axis=0) >= low).all() and (line.min(axis=0) <= high).all())


def _colour(row: int) -> str:
    return f"hsl({row * _GOLDEN_ANGLE % 360:.0f} 70% {38 + 14 * (row % 2)}%)"
