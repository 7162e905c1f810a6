"""From what each pixel sees to a photo: light, haze, sky, hills, sensor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ial_bench.images import RGB
from ial_bench.seeds import generator
from ial_bench.synth.captures import Capture, Day
from ial_bench.synth.ground import YARD
from ial_bench.synth.layout import HILL_RING_M, N_HILLS, City
from ial_bench.synth.scene import PANE, PANE_2, TRIM, WALL, Boxes, Colours, Floats, Walls, in_frame
from ial_bench.synth.trace import NOTHING, Camera, Seen, trace

_NORMALS = np.array([(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)])
_SIDE_AMBIENT = np.array([0.92, 1.0, 0.98, 0.86])
"""Sides differ a little under a grey sky too, so that edges of houses can be seen."""


def render(city: City, capture: Capture, size: int) -> RGB:
    """The photo of a capture: uint8 [size, size, 3]."""
    return photo_of(city, capture, trace(city, capture, size))


def photo_of(city: City, capture: Capture, seen: Seen) -> RGB:
    """The photo of what was `seen`: uint8 [size, size, 3]."""
    day = capture.day
    size = len(seen.camera.slopes)
    photo = _sky(city, capture, seen)
    walls = seen.wall != NOTHING
    if walls.any():
        photo[walls] = _wall_colours(city, day, seen)[seen.wall[walls], seen.material[walls]]
    on_ground = seen.ground != NOTHING
    photo[on_ground] = _ground_colours(city, day, seen, on_ground)
    on_prop = seen.prop != NOTHING
    photo[on_prop] = _prop_colours(day, seen)[seen.prop[on_prop], seen.part[on_prop] - 1]
    noise = generator("synth-city noise", capture.seed).standard_normal((size, size, 1), dtype=np.float32)
    exposed = photo * np.float32(capture.exposure) + np.float32(capture.noise) * noise
    return np.asarray(np.clip(np.rint(exposed * 255), 0, 255).astype(np.uint8))


def hazed(colours: Colours, depth: Floats, day: Day) -> Colours:
    """`colours` [..., 3] as they look at a depth [...]."""
    left = np.exp(-depth / day.haze_m).astype(np.float32)[..., None]
    return np.asarray(colours * left + day.horizon.astype(np.float32) * (1 - left))


def wall_light(day: Day) -> Floats:
    """[4, 3]: light on each side of a house."""
    direct = day.direct * np.maximum(_NORMALS @ day.sun[:2], 0)
    return np.asarray((day.ambient * _SIDE_AMBIENT + direct)[:, None] * day.tint)


def _light_on(boxes: Boxes, walls: Walls, day: Day) -> Floats:
    """[walls, 3]: light on pieces of wall."""
    if not boxes.askew:
        return wall_light(day)[walls.side]
    turn, normals = boxes.turn[walls.box], _NORMALS[walls.side]
    direct = day.direct * np.maximum((normals * in_frame(day.sun[:2], turn)).sum(axis=1), 0)
    return np.asarray((day.ambient * _SIDE_AMBIENT[walls.side] + direct)[:, None] * day.tint)


def flat_light(day: Day) -> Floats:
    """[3]: light on the ground, and on billboards, which have no side."""
    return np.asarray((day.ambient + 0.6 * day.direct * day.sun[2]) * day.tint)


def _wall_colours(city: City, day: Day, seen: Seen) -> Colours:
    """[walls, materials, 3]."""
    walls, boxes = seen.walls, city.boxes
    colours = boxes.colours[walls.box]
    # Windows too small for the pixels become a mean of wall and glass, not a pattern of chance.
    pixel_m = walls.depth / seen.camera.focal
    blur = np.clip(pixel_m / boxes.window[walls.box, 0] * 2.5 - 0.6, 0, 1).astype(np.float32)[:, None]
    mean = 0.65 * colours[:, WALL] + 0.35 * colours[:, PANE]
    for material in (WALL, TRIM, PANE, PANE_2):
        colours[:, material] += blur * (mean - colours[:, material])
    colours = colours * _light_on(boxes, walls, day).astype(np.float32)[:, None]
    return hazed(colours, walls.depth[:, None], day)


def _ground_colours(city: City, day: Day, seen: Seen, where: npt.NDArray[np.bool_]) -> Colours:
    """[pixels, 3]."""
    code, line = seen.ground[where], seen.line[where]
    yard = code == YARD
    colours = city.ground.colours[np.where(yard, 0, line), code]
    colours[yard] = city.ground.yards[line[yard]]
    return hazed(colours * flat_light(day).astype(np.float32), seen.depth[where], day)


def _prop_colours(day: Day, seen: Seen) -> Colours:
    """[props, 4, 3]."""
    away = (seen.props.place - seen.camera.eye) @ seen.camera.forward
    lit = seen.props.colours * flat_light(day).astype(np.float32)
    return hazed(lit, np.maximum(away, 0)[:, None], day)


def hill_slopes(city: City, camera: Camera) -> Floats:
    """[columns]: slope of the skyline of hills, which stand on a circle around the city."""
    middle = city.middle
    radius = HILL_RING_M + float(middle.max())
    start = camera.eye - middle
    rays = camera.rays
    # |start + depth * ray| = radius
    a, b = (rays**2).sum(axis=1), rays @ start
    depth = (-b + np.sqrt(np.maximum(b**2 - a * (start @ start - radius**2), 0))) / a
    points = start + depth[:, None] * rays
    around = (np.arctan2(points[:, 0], points[:, 1]) / (2 * np.pi) % 1) * N_HILLS
    low = np.floor(around).astype(np.int64)
    share = around - low
    heights = city.hills[low % N_HILLS] * (1 - share) + city.hills[(low + 1) % N_HILLS] * share
    return np.asarray((heights - camera.height) / depth)


def _sky(city: City, capture: Capture, seen: Seen) -> Colours:
    """[size, size, 3]: sky, clouds and hills where neither wall nor ground is; 0 elsewhere."""
    camera, day, size = seen.camera, capture.day, len(seen.camera.slopes)
    photo = np.zeros((size, size, 3), np.float32)
    rows, columns = np.nonzero(np.isinf(seen.depth))
    rise = np.maximum(camera.slopes, 0).astype(np.float32)
    share = (1 - np.exp(-1.8 * rise))[:, None]
    clear = ((1 - share) * day.horizon + share * day.zenith).astype(np.float32)
    rng = generator("synth-city clouds", capture.seed)
    across = np.arctan2(camera.rays[:, 0], camera.rays[:, 1]).astype(np.float32)[columns]
    up = rise[rows]
    field = np.full(len(rows), 2.6 * day.cloud - 1.6, np.float32)
    for k in (1, 2, 3, 5):
        way, strength, phase = rng.choice([-1, 1]), rng.uniform(0.5, 1) / k, rng.uniform(0, 2 * np.pi)
        field += np.float32(strength) * np.sin(
            np.float32(4 * k * way) * across + np.float32(9 * k) * up + np.float32(phase)
        )
    cover = np.clip(field * 1.6, 0, 1) * np.minimum(up * 6, 1) * np.float32(0.75)
    cloud = ((0.93 - 0.22 * day.cloud) * day.tint).astype(np.float32)
    sky = clear[rows]
    sky += cover[:, None] * (cloud - sky)
    hills = city.hill_colour * flat_light(day) * 0.45 + day.horizon * 0.55
    below = camera.slopes[rows] < hill_slopes(city, camera)[columns]
    sky[below] = hills
    photo[rows, columns] = sky
    return photo
