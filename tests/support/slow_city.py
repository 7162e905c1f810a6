"""The renderer's geometry once more, pixel by pixel in plain Python: rays against walls, ground and billboards."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ial_bench.synth import scene as t
from ial_bench.synth import styles
from ial_bench.synth.captures import Capture
from ial_bench.synth.city import City
from ial_bench.synth.ground import DASH, FIELD, MARK, PAVEMENT, ROAD, YARD, ZEBRA
from ial_bench.synth.scene import CELLS, sprites


@dataclass(frozen=True)
class Pixel:
    """What one pixel sees; -1 for nothing of the kind."""

    box: int = -1
    side: int = -1
    material: int = -1
    ground: int = -1
    line: int = -1
    prop: int = -1
    part: int = -1
    depth: float = math.inf


def look(city: City, capture: Capture, props: t.Props, size: int, row: int, column: int) -> Pixel:
    turn = math.radians(capture.heading)
    focal = size / 2 / math.tan(math.radians(capture.fov) / 2)
    a = (column + 0.5 - size / 2) / focal
    rise = (size * (0.5 + capture.pitch) - row - 0.5) / focal
    dx, dy = math.sin(turn) + a * math.cos(turn), math.cos(turn) - a * math.sin(turn)
    best = Pixel()
    for box in range(len(city.boxes)):
        for side in range(4):
            found = _wall(city.boxes, box, side, capture, dx, dy, rise)
            if found is not None and found.depth < best.depth:
                best = found
    if rise < 0 and -capture.camera_m / rise < best.depth:
        depth = -capture.camera_m / rise
        code, line = _ground(city, capture.x + depth * dx, capture.y + depth * dy)
        best = Pixel(ground=code, line=line, depth=depth)
    limit = math.inf if best.ground >= 0 else best.depth  # flat ground hides nothing
    prop, part, nearest = -1, -1, limit
    for i in range(len(props)):
        ex, ey = props.place[i] - (capture.x, capture.y)
        ahead = ex * math.sin(turn) + ey * math.cos(turn)
        beside = ex * math.cos(turn) - ey * math.sin(turn)
        if not 1.5 < ahead < 170 or ahead >= nearest:
            continue
        across = (a * ahead - beside) / props.width[i] + 0.5
        up = (capture.camera_m + rise * ahead - props.base[i]) / props.height[i]
        if 0 <= across < 1 and 0 < up <= 1:
            cell = int(sprites()[props.shape[i], min(int((1 - up) * CELLS), CELLS - 1), int(across * CELLS)])
            if cell:
                prop, part, nearest = i, cell, ahead
    return Pixel(best.box, best.side, best.material, best.ground, best.line, prop, part, best.depth)


def _wall(boxes: t.Boxes, box: int, side: int, capture: Capture, dx: float, dy: float, rise: float) -> Pixel | None:
    x0, y0, x1, y1 = boxes.bounds[box]
    if side in {t.WEST, t.EAST}:
        if (dx > 0) != (side == t.WEST):
            return None  # its back
        depth = ((x0 if side == t.WEST else x1) - capture.x) / dx
        along, length = capture.y + depth * dy - y0, y1 - y0
    else:
        if (dy > 0) != (side == t.SOUTH):
            return None
        depth = ((y0 if side == t.SOUTH else y1) - capture.y) / dy
        along, length = capture.x + depth * dx - x0, x1 - x0
    if depth <= 0.05 or not 0 < along < length:
        return None
    z = capture.camera_m + rise * depth
    gable = boxes.roof[box] == styles.GABLE and boxes.dressed[box, side]
    top = boxes.eaves[box] + boxes.ridge[box] * (1 - abs(2 * along / length - 1) if gable else 1)
    if not 0 <= z <= top:
        return None
    return Pixel(box, side, _material(boxes, box, side, along, length, z), depth=depth)


def _material(boxes: t.Boxes, box: int, side: int, along: float, length: float, z: float) -> int:
    dressed = bool(boxes.dressed[box, side])
    eaves, ground, storey_m = boxes.eaves[box], boxes.ground_m[box], boxes.storey_m[box]
    if z > eaves:
        return t.WALL if dressed and boxes.roof[box] == styles.GABLE else t.ROOF
    if boxes.roof[box] == styles.FLAT and z > eaves - 0.5:
        return t.TRIM
    if not dressed:
        return t.WALL
    wide, left, right, low, high = boxes.window[box]
    bays = max(round(length / wide), 1)
    bay, share = divmod(along / length * bays, 1)
    frame = boxes.frame[box]
    if z >= ground:
        storey, level = divmod((z - ground) / storey_m, 1)
        if left < share < right and low < level < high:
            return t.PANE_2 if (int(bay) * 5 + box * 3 + int(storey) * 7) % 6 == 0 else t.PANE
        if left - frame < share < right + frame and low - 0.05 < level < high + 0.05:
            return t.TRIM
        return t.TRIM if level < boxes.band[box] else t.WALL
    if boxes.awning[box] and ground - 1.3 < z < ground - 0.3:
        return t.AWNING if int(along / 0.6) % 2 == 0 else t.AWNING_2
    if z < 2.2 and int(bay) == bays // 2 and 0.32 < share < 0.68:
        return t.DOOR
    level = z / ground
    if boxes.shop[box]:
        return t.PANE if 0.5 < z < ground - 0.9 and 0.06 < share < 0.94 else t.SECOND
    if left < share < right and low < level < high:
        return t.PANE
    framed = left - frame < share < right + frame and low - 0.05 < level < high + 0.05
    return t.TRIM if framed else t.SECOND


def _ground(city: City, x: float, y: float) -> tuple[int, int]:
    ground = city.ground
    n = len(ground.xs)
    a = min(range(n), key=lambda i: abs(x - ground.xs[i]))
    s = min(range(len(ground.ys)), key=lambda i: abs(y - ground.ys[i]))
    off_a, off_s = abs(x - ground.xs[a]), abs(y - ground.ys[s])
    on_a, on_s = off_a < ground.half[a], off_s < ground.half[n + s]
    road_a, road_s = off_a < ground.road_half[a], off_s < ground.road_half[n + s]
    if on_a and on_s:
        line = a if road_a else n + s
        if road_a and road_s:
            return ROAD, line
        if road_a:
            return (ZEBRA if off_s < ground.road_half[n + s] + 2.6 and off_a % 1 < 0.5 else ROAD), line
        if road_s:
            return (ZEBRA if off_a < ground.road_half[a] + 2.6 and off_s % 1 < 0.5 else ROAD), line
        return PAVEMENT, line
    if on_a or on_s:
        line, off, along = (a, off_a, y) if on_a else (n + s, off_s, x)
        code = int(ground.profile[line, int(off / 0.1)])
        if code == DASH:
            code = MARK if along % 8 < 3.6 else ROAD
        return code, line
    if not (ground.xs[0] <= x <= ground.xs[-1] and ground.ys[0] <= y <= ground.ys[-1]):
        return FIELD, n + s
    column = next(i for i in range(n - 1) if x <= ground.xs[i + 1])
    row = next(i for i in range(len(ground.ys) - 1) if y <= ground.ys[i + 1])
    return YARD, row * (n - 1) + column
