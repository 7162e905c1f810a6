"""The name under which plugins import `ial_bench.geocoding.settings`: the one import of geometry that leads upwards."""

from ial_bench.geocoding.settings import GeocoderSettings as Stage2Settings
from ial_bench.geocoding.settings import facts_of, new_geocoder, restored_streets, streets_for
from ial_bench.geocoding.settings import new_reverse_geocoder as new_namer

__all__ = ["Stage2Settings", "facts_of", "new_geocoder", "new_namer", "restored_streets", "streets_for"]
