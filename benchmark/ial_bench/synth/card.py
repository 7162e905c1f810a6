"""The dataset card of the default drawn city, and how it is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ial_bench.datasets.known import DatasetCard

if TYPE_CHECKING:
    from ial_bench.progress import Reporter


def _draw(folder: Path, report: Reporter) -> None:
    from ial_bench.synth.options import preset
    from ial_bench.synth.write import make_city

    name = SYNTH_CITY.name
    options = preset(name)
    with report.track(options.n_photos, f"make {name}", "photos") as advance:
        make_city(folder, options, os.cpu_count() or 1, advance, name, report.log)


SYNTH_CITY = DatasetCard(
    "synth-city",
    "Synth City",
    "3.4K train and 852 query pictures of a drawn city of 71 sub-streets (64x64), made on the spot in seconds: "
    "a control whose truth is known, not a claim about real cities.",
    "",
    (),
    "bench data synth",
    make=_draw,
)
