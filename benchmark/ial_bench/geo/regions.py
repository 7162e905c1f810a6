"""Where on Earth positions are, in words: it shows a wrong zone or hemisphere.

The boxes of countries are rough and drawn by hand: enough to tell San Francisco from the southern Pacific.

They are degrees of south, west, north, east, and hold a little more than the country: where two countries' boxes meet,
both are named. What lies in none is at sea, or a place that the table does not have.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import numpy.typing as npt

from ial_bench.geo.points import Points, haversine_m, valid

Box = tuple[float, float, float, float]
"""South, west, north, east."""

_NAMED = 3  # of the countries that a point may be in
_SAMPLE, _REGIONS = 200, 3  # points that are looked up, and regions that are named
_COUNTRIES = """
western United States: 32.5 -124.9 49 -114.8; 31.3 -114.9 49 -104
central United States: 25.8 -104 49 -88; 41 -90.5 48 -88
eastern United States: 24.4 -88 42.4 -69.9; 42.4 -88 48 -82.4; 42.4 -79.8 45.1 -69.9; 43 -71.2 47.5 -66.9
Alaska: 51 -170 71.5 -141; 54.7 -141 60.5 -130; 51 -180 55 -170
Hawaii: 18.9 -160.3 22.3 -154.8
Canada: 48.3 -139.1 70 -115; 49 -115 70 -88; 48 -95.2 57 -79; 42 -83.2 57 -74.3; 45 -79.8 62.6 -57
Canada: 43.4 -67.1 52 -52.6
northern Canada: 60 -141 83.2 -61
Greenland: 59.7 -73.5 83.7 -11
Mexico: 22.8 -117.2 32.65 -112; 23 -115 31.8 -102; 18 -106 27.6 -97; 27.6 -106 29.9 -100.2; 14.5 -106 22.8 -92.2
Mexico: 17.8 -92.5 21.7 -86.7
Guatemala: 13.7 -92.3 17.9 -88.2
Belize: 15.9 -89.3 18.5 -87.7
Honduras: 13 -89.4 16.1 -83.1
El Salvador: 13.1 -90.2 14.5 -87.7
Nicaragua: 10.7 -87.7 15.1 -83.1
Costa Rica: 8 -86 11.3 -82.5
Panama: 7.2 -83.1 9.7 -77.1
Cuba: 19.8 -85 23.3 -74.1
Bahamas: 20.9 -79.3 27.3 -72.7
Jamaica: 17.7 -78.4 18.6 -76.1
Haiti: 18 -74.5 20.1 -71.6
Dominican Republic: 17.5 -72.1 20 -68.3
Puerto Rico: 17.9 -67.3 18.6 -65.2
Lesser Antilles: 12 -65 18.8 -59.4
Trinidad and Tobago: 10 -62 11.4 -60.4
Colombia: -4.3 -79.1 12.5 -66.8
Venezuela: 0.6 -73.4 12.3 -59.8
Guyana: 1.1 -61.5 8.6 -56.4
Suriname: 1.8 -58.1 6.1 -53.9
French Guiana: 2.1 -54.7 5.8 -51.6
Ecuador: -5 -81.1 1.5 -75.2; -1.5 -92 0.7 -89
Peru: -18.4 -81.4 0 -68.6
Bolivia: -22.9 -69.7 -9.6 -57.4
Brazil: -11 -74 5.3 -44; -18.4 -50 -1 -34.7; -26 -58 -11 -38.5; -33.8 -57.7 -25.2 -48
Paraguay: -27.6 -62.7 -19.2 -54.2
Uruguay: -35 -58.5 -30 -53
Argentina: -36 -70 -21.7 -57.5; -28.2 -56.5 -25.5 -53.6; -41 -71 -36 -56.6; -55.1 -73.6 -41 -62.7
Chile: -27 -70.8 -17.4 -66.9; -36 -73.7 -27 -69.9; -44 -74.8 -36 -71; -56 -75.8 -44 -71.5; -56 -74 -52 -66.4
Falkland Islands: -52.5 -61.4 -51 -57.6
Iceland: 63.3 -24.6 66.6 -13.4
Ireland: 51.4 -10.6 55.5 -6
United Kingdom: 49.9 -6.5 56 1.8; 54.6 -8 61 -0.7; 54 -8.2 55.4 -5.4
Portugal: 36.9 -9.6 42.2 -6.1; 36.8 -31.4 39.8 -24.9; 32.3 -17.4 33.2 -16.2
Spain: 41.8 -9.4 43.8 -6; 35.9 -7.1 43.8 -0.2; 38.5 -1.8 42.8 3.4; 38.6 1.1 40.2 4.4; 27.6 -18.3 29.5 -13.3
France: 47 -5.2 49.8 -1; 48.9 -1.9 51.1 2.9; 42.3 -1.8 49.6 6.2; 44.2 5.8 46.4 7.2; 43 5.8 44.2 7.75
France: 47.4 5.8 49.1 8.25; 41.3 8.5 43.1 9.6
Belgium: 49.5 2.5 51.5 6.4
Netherlands: 50.75 3.3 53.6 7.2
Luxembourg: 49.4 5.7 50.2 6.55
Germany: 47.5 7.5 55.1 13.9; 49.1 5.9 52 7.6; 51.8 6.7 53.8 7.6; 50.2 13.8 54.7 15.05
Switzerland: 45.8 5.95 47.85 10.5
Austria: 46.4 9.5 49.05 17.2
Italy: 44 6.6 46.7 13.9; 41.2 9.7 44.5 14.9; 37.9 13.7 42 18.6; 36.6 12.3 38.4 15.7; 38.8 8.1 41.3 9.9
Malta: 35.8 14.1 36.1 14.6
Denmark: 54.5 8 57.8 12.7; 54.9 14.6 55.4 15.2
Norway: 57.9 4.5 62.5 12.4; 62 5 66 14.6; 65.5 11.5 71.3 31.2; 74 10 81 34
Sweden: 55.3 12.4 58.5 16.9; 56.8 16.8 58 19.4; 58.2 11 62 19.4; 62 12 69.1 24.2
Finland: 59.7 19.4 70.1 31.6
Estonia: 57.5 21.7 59.8 28.2
Latvia: 55.6 20.9 58.1 28.3
Lithuania: 53.9 20.9 56.5 26.9
Poland: 49 14.1 54.9 24.2
Czechia: 48.5 12.1 51.1 18.9
Slovakia: 47.7 16.8 49.7 22.6
Hungary: 45.7 16.1 48.6 22.9
Slovenia: 45.4 13.4 46.9 16.6
Croatia: 44.3 13.4 46.6 19.4; 42.4 14.8 44.5 18.5
Bosnia and Herzegovina: 42.5 15.7 45.3 19.7
Serbia: 42.2 18.8 46.2 23
Montenegro: 41.8 18.4 43.6 20.4
Kosovo: 41.8 20 43.3 21.8
Albania: 39.6 19.2 42.7 21.1
North Macedonia: 40.8 20.4 42.4 23.1
Greece: 34.8 19.6 41.8 26.7; 35.3 26.6 37.6 28.3
Bulgaria: 41.2 22.3 44.3 28.7
Romania: 43.6 20.2 48.3 29.8
Moldova: 45.4 26.6 48.5 30.2
Ukraine: 47.7 22.1 51.9 27; 44.3 27 52.4 40.3
Belarus: 51.2 23.1 56.2 32.8
western Russia: 52.3 30 70 60; 55.5 27.8 60 30.5; 43.2 36.5 52.3 48; 48 46 52.3 61; 54.3 19.6 55.3 22.9
eastern Russia: 49.8 60 78 180; 42.3 130.5 50 146; 62 -180 72 -169; 43 145 51 157
Turkey: 35.8 25.9 42.2 44.9
Cyprus: 34.5 32.2 35.8 34.7
Georgia: 41 40 43.6 46.7
Armenia: 38.8 43.4 41.3 46.6
Azerbaijan: 38.4 44.8 41.9 50.4
Syria: 32.3 35.6 37.4 42.4
Lebanon: 33 35.1 34.7 36.7
Israel or the Palestinian territories: 29.4 34.2 33.4 35.7
Jordan: 29.2 34.9 33.4 39.3
Iraq: 29 38.8 37.4 48.6
Iran: 25 44 39.8 63.3
Kuwait: 28.5 46.5 30.1 48.5
Saudi Arabia: 16.3 39 32.2 50.5; 17 50 28 55.7; 25 34.5 31.5 39.5
Bahrain: 25.8 50.3 26.4 50.8
Qatar: 24.4 50.7 26.2 51.7
United Arab Emirates: 22.6 51.5 26.1 56.4
Oman: 16.6 52 26.4 59.9
Yemen: 12.1 42.5 19 54.6
Kazakhstan: 40.6 46.5 55.4 87.3
Uzbekistan: 37.2 56 45.6 73.2
Turkmenistan: 35.1 52.4 42.8 66.7
Kyrgyzstan: 39.2 69.2 43.3 80.3
Tajikistan: 36.7 67.3 41.1 75.2
Afghanistan: 29.4 60.5 38.5 71.5; 36.5 71 38.5 74.9
Pakistan: 23.7 60.9 37.1 75; 34 75 37.1 77.8
India: 20 68.1 24.7 75; 8 72.6 22 84.5; 24 69.5 32.5 81; 21 80 27.5 89.1; 21.9 88.9 29.5 97.4; 32.3 73.7 37.1 79
India: 6.7 92 13.7 94
Sri Lanka: 5.9 79.5 9.9 81.9
Maldives: -0.7 72.5 7.1 73.8
Nepal: 26.3 80 30.5 88.2
Bhutan: 26.7 88.7 28.3 92.2
Bangladesh: 20.6 88 26.6 92.7
Myanmar: 9.6 92.2 28.5 101.2
Thailand: 5.6 97.3 20.5 105.7
Laos: 13.9 100.1 22.5 107.7
Cambodia: 10.3 102.3 14.7 107.7
Vietnam: 19 102.1 23.4 108.1; 8.4 104.4 12.5 109.5; 11 107 20 109.5; 17 104.4 20 107
Malaysia: 1.2 99.6 6.8 104.5; 0.8 109.5 7.4 119.3
Singapore: 1.15 103.6 1.48 104.1
Brunei: 4 114 5.1 115.4
Indonesia: -6 95 6.1 106.2; -8.9 105 -5.8 115.8; -4.3 108.8 4.4 119.1; -6 118.7 1.9 125.3; -11 114.4 2.7 135
Indonesia: -9.2 130 0.5 141
Timor-Leste: -9.6 124 -8.1 127.4
Philippines: 4.6 116.9 21.2 126.7
China: 21.4 105 42 122.5; 18.1 108.6 20.2 111.1; 20.2 109 21.4 117; 40 117 53.6 134.8; 36 73.5 49.2 97
China: 28 79 36.5 97; 28.5 97 42.8 105.5; 21.1 97.5 29 106; 40.5 105 45 117
Hong Kong: 22.15 113.8 22.57 114.45
Taiwan: 21.8 119.3 25.4 122.1
Mongolia: 41.6 87.7 52.2 119.9
North Korea: 37.7 124.2 43 130.7
South Korea: 33 125.9 38.5 129.7; 37 130.7 37.6 132
Japan: 30 129 34.8 135; 33.4 130.8 37.6 141.1; 37 138 41.6 142.2; 41.3 139.3 45.6 146; 24 122.9 28.6 131.4
Morocco: 27.6 -13.2 35.95 -1
Western Sahara: 20.7 -17.2 27.7 -8.6
Algeria: 30 -2.3 37.1 8.7; 19 -8.7 31 12
Tunisia: 30.2 7.5 37.4 11.6
Libya: 19.5 9.3 33.2 25.2
Egypt: 22 24.7 31.7 36.9
Sudan: 8.7 21.8 22.2 38.6
South Sudan: 3.5 24.1 12.2 36
Eritrea: 12.3 36.4 18 43.2
Djibouti: 10.9 41.7 12.8 43.5
Ethiopia: 3.4 33 14.9 48
Somalia: -1.7 41 12 51.4
Kenya: -4.7 33.9 5.5 41.9
Uganda: -1.5 29.5 4.3 35
Rwanda: -2.9 28.8 -1 30.9
Burundi: -4.5 29 -2.3 30.9
Tanzania: -11.8 29.3 -1 40.5
Democratic Republic of the Congo: -13.5 12.2 5.4 31.3
Republic of the Congo: -5.1 11.1 3.8 18.7
Gabon: -4 8.7 2.4 14.6
Cameroon: 1.6 8.5 13.1 16.2
Central African Republic: 2.2 14.4 11.1 27.5
Chad: 7.4 13.4 23.5 24.1
Niger: 11.7 0.1 23.6 16
Nigeria: 4.2 2.6 13.9 14.7
Benin: 6.2 0.7 12.5 3.9
Togo: 6 -0.2 11.2 1.9
Ghana: 4.7 -3.3 11.2 1.2
Ivory Coast: 4.3 -8.7 10.8 -2.5
Burkina Faso: 9.4 -5.6 15.1 2.5
Mali: 10.1 -12.3 25 4.3
Mauritania: 14.7 -17.1 27.4 -4.8
Senegal or the Gambia: 12.3 -17.6 16.7 -11.3
Guinea-Bissau: 10.9 -16.8 12.7 -13.6
Guinea: 7.2 -15.1 12.7 -7.6
Sierra Leone: 6.9 -13.3 10 -10.2
Liberia: 4.3 -11.6 8.6 -7.3
Cape Verde: 14.7 -25.4 17.3 -22.6
Angola: -18.1 11.6 -4.3 24.1
Zambia: -18.1 21.9 -8.2 33.8
Malawi: -17.2 32.6 -9.3 36
Mozambique: -26.9 30.2 -10.4 40.9
Zimbabwe: -22.5 25.2 -15.6 33.1
Botswana: -27 19.9 -17.7 29.4
Namibia: -29 11.7 -16.9 21; -18.6 20.9 -17.4 25.3
South Africa: -34.9 16.4 -22.1 32.9
Lesotho: -30.7 27 -28.5 29.5
Eswatini: -27.4 30.7 -25.7 32.2
Madagascar: -25.7 43.2 -11.9 50.5
Mauritius: -20.6 57.2 -19.9 57.9
Réunion: -21.5 55.1 -20.8 55.9
western Australia: -35.2 112.9 -13.6 129
central Australia: -26 129 -10.9 138; -38.1 129 -26 141
eastern Australia: -39.2 138 -10.5 153.7; -43.7 144.5 -39.2 148.5
Papua New Guinea: -11.7 140.8 -1.3 156
New Zealand: -47.4 166.3 -34.3 178.6
Fiji: -19.2 176.8 -16 180; -19.2 -180 -16 -178
"""

_SEAS: tuple[tuple[str, Box], ...] = (
    ("the Arctic", (66.0, -180.0, 90.0, 180.0)),
    ("Antarctica or the Southern Ocean", (-90.0, -180.0, -60.0, 180.0)),
    ("the Mediterranean or the Black Sea", (30.0, -5.6, 47.0, 42.0)),
    ("the northern Atlantic", (0.0, -70.0, 66.0, 30.0)),
    ("the Gulf of Mexico or the Caribbean", (8.0, -98.0, 31.0, -59.0)),
    ("the southern Atlantic", (-60.0, -70.0, 0.0, 20.0)),
    ("the Indian Ocean", (-60.0, 20.0, 30.0, 115.0)),
    ("inner Asia", (30.0, 30.0, 66.0, 115.0)),
    ("the northern Pacific", (0.0, -180.0, 66.0, 180.0)),
    ("the southern Pacific", (-60.0, -180.0, 0.0, 180.0)),
)
"""For what is in no country's box; the first that holds a point."""


@cache
def _boxes() -> list[tuple[str, Box]]:
    """Names with their boxes, small boxes first."""
    boxes: list[tuple[str, Box]] = []
    for line in _COUNTRIES.strip().splitlines():
        name, _, texts = line.partition(": ")
        for text in texts.split("; "):
            south, west, north, east = map(float, text.split())
            boxes.append((name, (south, west, north, east)))
    return sorted(boxes, key=lambda named: (named[1][2] - named[1][0]) * (named[1][3] - named[1][1]))


def region_of(lat: float, lon: float) -> str:
    """The country, or the few that it may be, that a point in degrees lies in; ``at sea or unknown: ...`` for none."""
    names = list(dict.fromkeys(name for name, box in _boxes() if _holds(box, lat, lon)))
    if names:
        more = " or a neighbour" if len(names) > _NAMED else ""
        return " or ".join(names[:_NAMED]) + more
    return "at sea or unknown: " + next(name for name, box in _SEAS if _holds(box, lat, lon))


def _holds(box: Box, lat: float, lon: float) -> bool:
    south, west, north, east = box
    return south <= lat <= north and west <= lon <= east


def whereabouts(points: Points) -> str:
    """A line such as ``western United States, latitude 37.70000 to 37.80000, ... (8.8 x 11.1 km)``.

    Regions come from a rough table and may be several; the box is that of all points, across the antimeridian where
    that is shorter.

    Args:
        points: [n, 2] degrees; those that are not finite or out of range do not count.
    """
    points = points[valid(points)]
    if not len(points):
        return "nowhere: there are no positions"
    (south, north), (west, east) = (points[:, 0].min(), points[:, 0].max()), _shortest_arc(points[:, 1])
    middle = (south + north) / 2
    ends = np.array([[middle, west], [middle, (west + east) / 2], [middle, east], [south, west], [north, west]])
    width = haversine_m(ends[0], ends[1]) + haversine_m(ends[1], ends[2])  # in two parts: it may pass half the Earth
    height = haversine_m(ends[3], ends[4])
    counts = Counter(region_of(lat, lon) for lat, lon in points[:: -(-len(points) // _SAMPLE)].tolist())
    regions = "; ".join(name for name, _ in counts.most_common(_REGIONS)) + ("; ..." if len(counts) > _REGIONS else "")
    return (
        f"{regions}, latitude {south:.5f} to {north:.5f}, longitude {west:.5f} to {_wrapped(east):.5f} "
        f"({width / 1000:,.1f} x {height / 1000:,.1f} km)"
    )


def _shortest_arc(lon: npt.NDArray[np.float64]) -> tuple[float, float]:
    """West and east end of the shortest arc that holds all longitudes; the east end may pass 180."""
    ordered = np.unique(lon)
    gaps = np.diff(ordered, append=ordered[0] + 360)
    widest = int(gaps.argmax())
    if widest == len(ordered) - 1:
        return float(ordered[0]), float(ordered[-1])
    return float(ordered[widest + 1]), float(ordered[widest]) + 360


def _wrapped(lon: float) -> float:
    return lon - 360 if lon > 180 else lon
