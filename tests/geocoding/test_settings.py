"""What plugins import to look addresses up, by the name that they have known it by."""

from __future__ import annotations

import importlib

from ial_bench.geocoding import settings


def test_plugins_find_the_settings_of_geocoders_under_their_older_name() -> None:
    older = importlib.import_module("ial_bench.geo.stage2")
    assert older.Stage2Settings is settings.GeocoderSettings
    assert older.new_namer is settings.new_reverse_geocoder
    for name in ("facts_of", "new_geocoder", "restored_streets", "streets_for"):
        assert getattr(older, name) is getattr(settings, name)
