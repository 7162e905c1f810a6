"""What streets and houses can look like and be called: colours, kinds of building, trees, lamps, roads, names.

A neighbourhood, a street or a row of houses picks from these; captions use the words.
"""

from __future__ import annotations

from dataclasses import dataclass

from ial_bench.errors import ConfigError
from ial_bench.seeds import generator

WALLS: dict[str, tuple[int, int, int]] = {
    "red": (178, 58, 48), "terracotta": (196, 104, 70), "orange": (224, 128, 44), "ochre": (196, 150, 60),
    "yellow": (232, 198, 84), "cream": (236, 222, 188), "sand": (204, 180, 140), "brown": (118, 78, 52),
    "white": (232, 232, 228), "grey": (150, 152, 156), "dark grey": (82, 86, 94), "pink": (230, 152, 164),
    "lilac": (172, 146, 206), "purple": (104, 68, 136), "navy": (48, 60, 120), "blue": (70, 112, 190),
    "pale blue": (150, 186, 220), "teal": (36, 126, 128), "turquoise": (86, 184, 180), "green": (72, 132, 72),
    "olive": (128, 126, 62), "mint": (164, 210, 172),
}  # fmt: skip
"""Colours of walls by name, 8-bit RGB in full light."""

TRIMS = ((240, 238, 230), (60, 56, 54), (110, 70, 50), (206, 196, 160), (40, 70, 60), (150, 44, 40), (180, 190, 200))
GLASS = ((52, 66, 84), (70, 96, 112), (36, 42, 56), (88, 110, 104), (64, 54, 74))
ROOFS: dict[str, tuple[int, int, int]] = {
    "red": (150, 62, 48), "slate": (78, 84, 96), "brown": (104, 76, 58), "green": (70, 112, 92), "black": (46, 46, 50),
}  # fmt: skip
AWNINGS = (
    ((196, 44, 44), (240, 236, 226)), ((40, 104, 72), (240, 236, 226)), ((44, 76, 160), (240, 236, 226)),
    ((232, 176, 40), (112, 60, 40)), ((236, 128, 156), (250, 240, 240)), ((70, 60, 110), (220, 200, 120)),
)  # fmt: skip

FLAT, PITCHED, GABLE = 0, 1, 2
"""Roofs: none to be seen; a band of tiles; a gable over the front."""


@dataclass(frozen=True)
class Kind:
    """A kind of building.

    Attributes:
        word: what a caption calls it, in the plural.
        storeys: fewest and most, away from downtown.
        storey_m: height of a storey.
        lot_m: usual width of a lot.
        gap_m: space between lots; 0 for rows.
        setback_m: depth of the front garden.
        roofs: which of `FLAT`, `PITCHED`, `GABLE`.
        windows: which of `WINDOWS`.
        shops: share of the rows that have shops on the ground floor.
        central: whether it is found downtown.
    """

    word: str
    storeys: tuple[int, int]
    storey_m: float
    lot_m: float
    gap_m: float
    setback_m: float
    roofs: tuple[int, ...]
    windows: tuple[int, ...]
    shops: float
    central: bool


KINDS = (
    Kind("houses", (1, 3), 2.9, 11.0, 3.5, 3.5, (GABLE, PITCHED), (0, 1, 4), 0.0, False),
    Kind("row houses", (2, 4), 3.0, 8.0, 0.0, 1.2, (GABLE, PITCHED, FLAT), (0, 1), 0.1, False),
    Kind("apartment buildings", (4, 6), 3.0, 19.0, 0.0, 1.5, (FLAT, PITCHED), (0, 1, 4), 0.35, True),
    Kind("shop buildings", (2, 4), 3.4, 10.0, 0.0, 0.0, (FLAT, PITCHED), (0, 1, 4), 0.95, True),
    Kind("office buildings", (5, 9), 3.5, 24.0, 0.0, 0.0, (FLAT,), (2, 3), 0.25, True),
    Kind("warehouses", (1, 2), 4.6, 27.0, 2.0, 0.5, (FLAT, PITCHED), (2, 4), 0.0, False),
)

WINDOWS: tuple[tuple[float, float, float, float, float], ...] = (
    (2.6, 0.30, 0.70, 0.30, 0.80),  # square
    (2.1, 0.30, 0.70, 0.15, 0.88),  # tall
    (4.0, -1.0, 2.00, 0.32, 0.80),  # a ribbon without end
    (3.0, 0.08, 0.92, 0.10, 0.92),  # nearly all glass
    (4.2, 0.15, 0.85, 0.35, 0.80),  # wide
)
"""Bay in metres; the glass as shares of bay and storey: left, right, bottom, top."""

ASPHALT: dict[str, tuple[int, int, int]] = {
    "asphalt": (66, 66, 72), "pale concrete": (146, 144, 138), "red brick": (140, 84, 70), "cobbled": (110, 106, 100),
}  # fmt: skip
KERBS = ((176, 176, 172), (214, 180, 60), (170, 52, 44), (226, 226, 222))
PAVEMENTS = ((168, 164, 156), (150, 150, 154), (186, 168, 140), (160, 126, 112))
VERGES = ((88, 132, 64), (112, 142, 66), (70, 112, 66))
MARKINGS: dict[str, str] = {
    "none": "", "dashed": "a dashed centre line", "double": "a double yellow line",
    "edges": "white edge lines", "bicycle": "green bicycle lanes",
}  # fmt: skip

ROUND, CONIFER, PALM, POPLAR, GLOBE, ARM, TWIN, BANNER, CAR_SIDE, CAR_END, PERSON = range(11)
"""Shapes of billboards."""


@dataclass(frozen=True)
class Tree:
    """A species: the caption's word, shape, height and width in metres, colours of crown, its shade and trunk."""

    word: str
    shape: int
    height: float
    width: float
    crown: tuple[int, int, int]
    shade: tuple[int, int, int]


TREES = (
    Tree("round green trees", ROUND, 7.0, 5.0, (70, 134, 58), (48, 100, 44)),
    Tree("orange maples", ROUND, 6.5, 4.6, (222, 124, 36), (182, 90, 30)),
    Tree("pink cherry trees", ROUND, 5.0, 4.2, (240, 176, 196), (214, 136, 164)),
    Tree("dark conifers", CONIFER, 8.0, 3.6, (32, 88, 60), (22, 66, 48)),
    Tree("palm trees", PALM, 8.5, 4.2, (84, 146, 70), (58, 112, 54)),
    Tree("tall poplars", POPLAR, 10.5, 2.6, (110, 150, 60), (80, 118, 48)),
    Tree("yellow birches", POPLAR, 8.0, 3.4, (226, 200, 70), (186, 160, 50)),
    Tree("dark red plum trees", ROUND, 5.5, 4.2, (120, 40, 60), (88, 28, 48)),
)
TRUNK = (92, 70, 52)
LAMPS = ((228, 228, 226), (40, 42, 46), (44, 86, 66), (64, 84, 140))
LAMP_GLOW = (250, 246, 222)
BANNERS = ((200, 48, 48), (40, 90, 170), (236, 184, 48), (60, 140, 84), (130, 70, 150))
CARS = (
    (228, 228, 228), (36, 38, 44), (150, 154, 160), (168, 36, 36), (44, 82, 160), (216, 180, 52), (60, 110, 76),
    (150, 120, 90), (120, 60, 120),
)  # fmt: skip
CLOTHES = ((190, 50, 50), (50, 80, 150), (230, 200, 90), (70, 130, 80), (60, 60, 66), (220, 220, 220), (150, 80, 140))
TROUSERS = ((40, 46, 70), (60, 56, 52), (90, 84, 76), (30, 30, 34))
SKIN = ((236, 200, 172), (200, 154, 116), (140, 96, 68), (90, 62, 46))


@dataclass(frozen=True)
class Landmark:
    """Something that stands above the roofs: caption's word, side and height in metres, spire, wall, roof."""

    word: str
    side: float
    height: float
    spire: float
    roof: int
    wall: tuple[int, int, int]
    top: tuple[int, int, int]
    windows: int


LANDMARKS = (
    Landmark("a brick clock tower", 8.0, 42.0, 14.0, GABLE, (150, 66, 50), (60, 120, 104), 1),
    Landmark("a white church spire", 7.0, 34.0, 26.0, GABLE, (236, 234, 226), (70, 80, 96), 1),
    Landmark("a tall glass tower", 22.0, 96.0, 0.0, FLAT, (96, 148, 176), (70, 80, 90), 3),
    Landmark("a red and white chimney", 5.0, 62.0, 0.0, FLAT, (200, 60, 52), (60, 60, 60), 2),
    Landmark("a yellow high-rise", 18.0, 70.0, 0.0, FLAT, (236, 190, 60), (80, 80, 80), 0),
    Landmark("a green-roofed hall", 26.0, 32.0, 14.0, PITCHED, (206, 192, 160), (66, 140, 104), 1),
    Landmark("a dark tower", 16.0, 84.0, 10.0, PITCHED, (56, 58, 70), (30, 30, 36), 2),
    Landmark("a pink tower", 14.0, 60.0, 8.0, GABLE, (228, 130, 150), (120, 60, 90), 4),
)

_HEADS = (
    "Amber", "Apple", "Ash", "Barley", "Beech", "Birch", "Black", "Bramble", "Bridge", "Bright", "Brook", "Cherry",
    "Clay", "Clover", "Copper", "Crane", "Dove", "Elder", "Elm", "Fern", "Flint", "Fox", "Glass", "Gold", "Green",
    "Hazel", "Heath", "Holly", "Iron", "Ivy", "Lark", "Lime", "Long", "Maple", "Mill", "Moss", "Oak", "Orchard",
    "Otter", "Pear", "Pine", "Plum", "Raven", "Reed", "Rose", "Rye", "Salt", "Silver", "Stone", "Swan", "Thorn",
    "Vine", "Wheat", "White", "Willow", "Winter",
)  # fmt: skip
_TAILS = (
    "bank", "bourne", "croft", "dale", "field", "ford", "gate", "grove", "ham", "hurst", "land", "mead", "mere",
    "moor", "ridge", "side", "stead", "ton", "well", "wood",
)  # fmt: skip
_PARTS = (
    "Bottoms", "Common", "Corner", "Cross", "Docks", "End", "Fields", "Flats", "Gardens", "Green", "Heights", "Hill",
    "Market", "Park", "Quarter", "Quay", "Rise", "Town", "Vale", "Village",
)  # fmt: skip

N_LINE_NAMES = len(_HEADS) * (1 + len(_TAILS))
"""Names for streets and avenues together: a head alone, or with a tail."""


def line_names(seed: int, n_avenues: int, n_streets: int) -> tuple[list[str], list[str]]:
    """Names of the avenues, from west to east, and of the streets, from south to north; none twice.

    An avenue and a street of one city never share their word, so "Ash Street" and "Ash Avenue" are not confused.

    Raises:
        ConfigError: more than there are names.
    """
    words = [head + tail for tail in ("", *_TAILS) for head in _HEADS]
    if n_avenues + n_streets > len(words):
        raise ConfigError(
            f"{n_avenues + n_streets:,} streets and avenues, and only {len(words):,} names", "ask for fewer blocks"
        )
    order = generator("synth-city", seed, "street names").permutation(len(words))
    drawn = [words[i] for i in order]
    return (
        [f"{word} Avenue" for word in drawn[:n_avenues]],
        [f"{word} Street" for word in drawn[n_avenues : n_avenues + n_streets]],
    )


def neighbourhood_names(seed: int, n: int) -> list[str]:
    """Names of `n` neighbourhoods; none twice.

    Raises:
        ConfigError: more than there are names.
    """
    words = [f"{head} {part}" for part in _PARTS for head in _HEADS]
    if n > len(words):
        raise ConfigError(f"{n:,} neighbourhoods, and only {len(words):,} names", "ask for fewer blocks")
    order = generator("synth-city", seed, "neighbourhood names").permutation(len(words)).tolist()
    return [words[i] for i in order[:n]]
