"""The reverse_geocoder package: the nearest of the world's larger towns, without a network."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ial_bench.errors import SkipMethod
from ial_bench.geo.points import Points
from ial_bench.geocoding.names import PlaceName


class NearestTown:
    """City and district of a position, from GeoNames' towns of more than 1,000 people.

    It knows no streets: as the second stage of a pipeline it answers nothing, and its row in a table shows that.

    Raises:
        SkipMethod: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            import reverse_geocoder
        except ImportError as error:
            raise SkipMethod("reverse_geocoder is not installed: pip install 'ial-bench[geo]'") from error
        # Given its own table as a stream, it neither prints, nor starts processes, nor leaves a file open.
        table = Path(reverse_geocoder.__file__).with_name(reverse_geocoder.RG_FILE)
        stream = io.StringIO(table.read_text(encoding="utf-8"))
        self._geocoder = reverse_geocoder.RGeocoder(mode=1, verbose=False, stream=stream)
        self._towns = set[str]()

    def names(self, positions: Points) -> list[PlaceName | None]:
        """Town, district and region."""
        found = self._geocoder.query([tuple(p) for p in positions.tolist()]) if len(positions) else []
        self._towns.update(one["name"] for one in found)
        return [PlaceName(areas=tuple(one[k] for k in ("name", "admin2", "admin1") if one[k])) for one in found]

    def facts(self) -> Mapping[str, Any]:
        """The towns it named, ten at most."""
        return {"towns": sorted(self._towns)[:10]}
