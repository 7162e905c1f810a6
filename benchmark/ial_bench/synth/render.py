"""From a capture to a photo: what each pixel sees, then its light, haze, sky and noise.

The camera's sensor is upright, so that all pixels of a column look along one line of the ground plan. For each
column the buildings on that line are found and sorted once; which of them a pixel sees follows from its slope
alone. Depths are along the camera's axis, in metres; with the ray of a column written as ``forward + a * right``
a depth is at once the ray's parameter and the divisor of the perspective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ial_bench.images import RGB
from ial_bench.seeds import generator
from ial_bench.synth.captures import Capture, Day
from ial_bench.synth.city import HILL_RING_M, N_HILLS, City
from ial_bench.synth.ground import YARD
from ial_bench.synth.scene import (
    CELLS,
    EAST,
    NORTH,
    PANE,
    PANE_2,
    SOUTH,
    TRIM,
    WALL,
    WEST,
    Boxes,
    Colours,
    Floats,
    Ints,
    Props,
    Walls,
    facade,
    in_frame,
    joined,
    rows_of,
    silhouette,
    sprites,
)

NOTHING = -1
_BOX_REACH_M = 380.0
_PROP_REACH_M = 170.0
_NEAR_M = 0.05  # nothing nearer is drawn
_NEAR_PROP_M = 1.5
_ALONG = 1e-9  # no ray is quite along a wall
_COLUMN_STEP = 1e6  # larger than any slope, so that columns do not mix in a running maximum
Pixels = npt.NDArray[np.int64]
_NORMALS = np.array([(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)])
_SIDE_AMBIENT = np.array([0.92, 1.0, 0.98, 0.86])
"""Sides differ a little under a grey sky too, so that edges of houses can be seen."""


@dataclass(frozen=True)
class Camera:
    """Where the rays of a photo go.

    Attributes:
        eye: [2], metres.
        height: metres above the ground.
        forward, right: [2], unit vectors.
        focal: in pixels.
        rays: [size, 2], direction of each column, one metre deep.
        slopes: [size], metres up per metre of depth, of each row from the top.
        horizon: the row, in pixels from the top, at which the horizon lies.
    """

    eye: Floats
    height: float
    forward: Floats
    right: Floats
    focal: float
    rays: Floats
    slopes: Floats
    horizon: float

    @classmethod
    def of(cls, capture: Capture, size: int) -> Camera:
        """The camera of `capture`, for a photo of `size` x `size` pixels."""
        turn = np.radians(capture.heading)
        forward, right = np.array([np.sin(turn), np.cos(turn)]), np.array([np.cos(turn), -np.sin(turn)])
        focal = size / 2 / float(np.tan(np.radians(capture.fov) / 2))
        centres: Floats = np.arange(size, dtype=np.float64) + 0.5
        rays = forward + ((centres - size / 2) / focal)[:, None] * right
        rays = np.where(np.abs(rays) < _ALONG, _ALONG, rays)
        horizon = size * (0.5 + capture.pitch)
        return cls(
            np.array([capture.x, capture.y]), capture.camera_m, forward, right, focal, rays,
            (horizon - centres) / focal, horizon,
        )  # fmt: skip

    def project(self, points: Floats) -> Floats:
        """[n, 3] metres to [n, 3]: column and row in pixels from the top left corner, and depth in metres."""
        away = points[:, :2] - self.eye
        depth = away @ self.forward
        column = len(self.slopes) / 2 + self.focal * (away @ self.right) / depth
        return np.stack([column, self.horizon - self.focal * (points[:, 2] - self.height) / depth, depth], axis=1)


@dataclass(frozen=True)
class Seen:
    """What each pixel sees, [size, size] each; NOTHING where it sees none of the kind.

    Attributes:
        camera: whose pixels they are.
        walls: the pieces of wall that `wall` points into.
        wall: row of `walls`.
        material: of the building there.
        ground: material of the ground; streets' codes.
        line: whose colours the ground has; for a yard, its block.
        depth: of walls and ground; infinite for the sky.
        prop: row of `props`.
        part: material of the billboard, 1 to 4.
        props: the city's near billboards, and cars and people.
    """

    camera: Camera
    walls: Walls
    wall: Pixels
    material: Pixels
    ground: Pixels
    line: Pixels
    depth: Floats
    prop: Pixels
    part: Pixels
    props: Props


def trace(city: City, capture: Capture, size: int) -> Seen:
    """What each of `size` x `size` pixels of a photo sees."""
    camera = Camera.of(capture, size)
    walls, layers = _walls(city, camera)
    n_layers, slopes = len(layers), camera.slopes
    tops = np.full((n_layers, size), np.inf)
    there = layers >= 0
    tops[there] = ((walls.top - camera.height) / walls.depth)[layers[there]]
    # The tops of a column's pieces rise from the nearest on: a pixel sees the first that reaches its slope.
    layer = np.zeros((size, size), dtype=np.int64)
    for k in range(n_layers):
        layer += tops[k] < slopes[:, None]
    foot = np.zeros(size)
    if n_layers:
        foot[there[0]] = -camera.height / walls.depth[layers[0, there[0]]]
    below = slopes[:, None] < foot
    padded = np.concatenate([layers, np.full((1, size), NOTHING)])
    wall = np.where(below, NOTHING, padded[layer, np.arange(size)])

    material = np.full((size, size), NOTHING)
    depth = np.full((size, size), np.inf)
    rows, columns = np.nonzero(wall >= 0)
    piece = wall[rows, columns]
    depth[rows, columns] = walls.depth[piece]
    height = camera.height + slopes[rows] * walls.depth[piece]
    material[rows, columns] = facade(city.boxes, walls, piece, height)

    ground, line = np.full((size, size), NOTHING), np.full((size, size), NOTHING)
    rows, columns = np.nonzero(below)
    reach = -camera.height / slopes[rows]
    depth[rows, columns] = reach
    points = camera.eye + reach[:, None] * camera.rays[columns]
    ground[rows, columns], line[rows, columns] = city.ground.at(points)

    props: Props = joined(
        [rows_of(city.props, city.near_props.near(capture.x, capture.y, _PROP_REACH_M)), capture.passers]
    )
    prop, part = _billboards(props, camera, np.where(below, np.inf, depth))
    return Seen(camera, walls, wall, material, ground, line, depth, prop, part, props)


def _walls(city: City, camera: Camera) -> tuple[Walls, Ints]:
    """The pieces of wall that show, and [layers, columns] rows of them from near to far, NOTHING beyond the last."""
    boxes, size = city.boxes, len(camera.slopes)
    around = city.near_boxes.near(float(camera.eye[0]), float(camera.eye[1]), _BOX_REACH_M)
    near = np.union1d(around, city.landmarks_around(camera.eye))
    bounds = boxes.bounds[near]
    away = boxes.centres[near] - camera.eye
    radius = np.hypot(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]) / 2
    ahead, beside = away @ camera.forward, np.abs(away @ camera.right)
    wide = size / 2 / camera.focal
    in_view = (ahead > -radius) & (beside < ahead * wide + radius * np.sqrt(1 + wide**2))
    near, bounds = near[in_view], bounds[in_view]

    eye, (ray_x, ray_y) = camera.eye, camera.rays.T
    if boxes.askew:  # each building has an eye and rays of its own
        turn_x, turn_y = boxes.turn[near].T[:, :, None]
        eye = in_frame(eye, boxes.turn[near])
        ray_x, ray_y = (np.where(np.abs(r) < _ALONG, _ALONG, r)
                        for r in (turn_x * ray_x + turn_y * ray_y, turn_x * ray_y - turn_y * ray_x))  # fmt: skip
    # [boxes, columns]: the depths at which a column's ray meets either of two opposite walls.
    per_x, per_y = 1 / ray_x, 1 / ray_y
    rel = bounds - np.tile(eye, 2)
    x_a, x_b = rel[:, 0, None] * per_x, rel[:, 2, None] * per_x
    y_a, y_b = rel[:, 1, None] * per_y, rel[:, 3, None] * per_y
    enter_x, enter_y = np.minimum(x_a, x_b), np.minimum(y_a, y_b)
    first = np.maximum(enter_x, enter_y)
    hit = (first < np.minimum(np.maximum(x_a, x_b), np.maximum(y_a, y_b))) & (first > _NEAR_M)
    which, column = np.nonzero(hit)
    depth = first[which, column]
    through_x = enter_x[which, column] > enter_y[which, column]
    ray = np.stack([ray_x[which, column], ray_y[which, column]], axis=1) if boxes.askew else camera.rays[column]
    side = np.where(through_x, np.where(ray[:, 0] > 0, WEST, EAST), np.where(ray[:, 1] > 0, SOUTH, NORTH))
    at = (eye[which] if boxes.askew else eye) + depth[:, None] * ray
    box = near[which]
    own = boxes.bounds[box]
    along = np.where(through_x, at[:, 1] - own[:, 1], at[:, 0] - own[:, 0])
    length = np.where(through_x, own[:, 3] - own[:, 1], own[:, 2] - own[:, 0])
    found = Walls(box, side, depth, along, length, silhouette(boxes, box, side, along / length))

    order = np.lexsort((depth, column))
    slope = ((found.top - camera.height) / depth)[order] + column[order] * _COLUMN_STEP
    before = np.concatenate([[-np.inf], np.maximum.accumulate(slope)[:-1]])
    new = np.diff(column[order], prepend=-1) > 0
    shown = order[new | (slope > before)]
    walls: Walls = rows_of(found, shown)
    columns = column[shown]
    starts = np.searchsorted(columns, np.arange(size))
    rank = np.arange(len(shown)) - starts[columns]
    layers = np.full((int(rank.max(initial=-1)) + 1, size), NOTHING)
    layers[rank, columns] = np.arange(len(shown))
    return walls, layers


def _billboards(props: Props, camera: Camera, depth: Floats) -> tuple[Pixels, Pixels]:
    """[size, size] each: row of `props` and its part, where a billboard is nearer than `depth`."""
    size = len(camera.slopes)
    seen, parts = np.full((size, size), NOTHING), np.full((size, size), NOTHING)
    away = props.place - camera.eye
    ahead, beside = away @ camera.forward, away @ camera.right
    scale = camera.focal / np.maximum(ahead, _NEAR_PROP_M)
    left = size / 2 + scale * (beside - props.width / 2)
    right = left + scale * props.width
    bottom = camera.horizon - scale * (props.base - camera.height)
    top = bottom - scale * props.height
    # Pixels whose centres lie inside.
    c0, c1 = (np.clip(np.ceil(edge - 0.5), 0, size).astype(np.int64) for edge in (left, right))
    r0, r1 = (np.clip(np.ceil(edge - 0.5), 0, size).astype(np.int64) for edge in (top, bottom))
    shown = np.flatnonzero((ahead > _NEAR_PROP_M) & (ahead < _PROP_REACH_M) & (c1 > c0) & (r1 > r0))
    shown = shown[np.argsort(-ahead[shown], kind="stable")]  # nearer ones are drawn later, over the others
    wide = (c1 - c0)[shown]
    count = wide * (r1 - r0)[shown]
    which = np.repeat(shown, count)
    place = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    wide = np.repeat(wide, count)
    row, column = r0[which] + place // wide, c0[which] + place % wide
    across = ((column + 0.5 - left[which]) / (right - left)[which] * CELLS).astype(np.int64)
    down = ((row + 0.5 - top[which]) / (bottom - top)[which] * CELLS).astype(np.int64)
    part = sprites()[props.shape[which], np.clip(down, 0, CELLS - 1), np.clip(across, 0, CELLS - 1)]
    drawn = (part > 0) & (ahead[which] < depth[row, column])
    row, column = row[drawn], column[drawn]
    seen[row, column] = which[drawn]
    parts[row, column] = part[drawn]
    return seen, parts


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


def _hazed(colours: Colours, depth: Floats, day: Day) -> Colours:
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
    return _hazed(colours, walls.depth[:, None], day)


def _ground_colours(city: City, day: Day, seen: Seen, where: npt.NDArray[np.bool_]) -> Colours:
    """[pixels, 3]."""
    code, line = seen.ground[where], seen.line[where]
    yard = code == YARD
    colours = city.ground.colours[np.where(yard, 0, line), code]
    colours[yard] = city.ground.yards[line[yard]]
    return _hazed(colours * flat_light(day).astype(np.float32), seen.depth[where], day)


def _prop_colours(day: Day, seen: Seen) -> Colours:
    """[props, 4, 3]."""
    away = (seen.props.place - seen.camera.eye) @ seen.camera.forward
    lit = seen.props.colours * flat_light(day).astype(np.float32)
    return _hazed(lit, np.maximum(away, 0)[:, None], day)


def _hill_slopes(city: City, camera: Camera) -> Floats:
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
    below = camera.slopes[rows] < _hill_slopes(city, camera)[columns]
    sky[below] = hills
    photo[rows, columns] = sky
    return photo
