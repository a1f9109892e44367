"""Draws sitters: one fixed order of layers, from the ground to the glasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fclf.data.frequencies import ATTRIBUTES
from fclf.data.portraits.people import CIRCUMSTANCES, FACTORS, Sitters
from fclf.data.portraits.shapes import Canvas, Plane, arc, box, ellipse, segment, smooth_union
from fclf.errors import InputError

__all__ = ["SIZE", "draw"]

SIZE = 64
BATCH = 16
"""Pictures at a time: the planes of a batch fit into the cache of a core at the usual size, or nearly."""
ZOOM = 1.22
"""Of a head in a picture of it, on average."""
SKIN = ((0.30, 0.19, 0.14), (0.55, 0.36, 0.25), (0.80, 0.60, 0.47), (0.96, 0.83, 0.74))
HAIR = ((0.09, 0.07, 0.07), (0.33, 0.20, 0.12), (0.58, 0.38, 0.18), (0.90, 0.76, 0.48))
RED = (0.60, 0.24, 0.10)
GREY = (0.80, 0.80, 0.80)
IRIS = ((0.20, 0.12, 0.07), (0.36, 0.24, 0.11), (0.30, 0.42, 0.26), (0.32, 0.50, 0.68))
LIPS = (0.70, 0.27, 0.27)
INK = (0.10, 0.08, 0.08)
WHITE = (0.97, 0.97, 0.96)


@dataclass(frozen=True)
class _Look:
    """What a layer needs to know of a batch: all factors as (n, 1, 1), colours as (n, 3, 1, 1), two planes."""

    has: Mapping[str, Tensor]
    f: Mapping[str, Tensor]
    c: Mapping[str, Tensor]
    page: Plane
    head: Plane
    """Origin between the eyes' line and the mouth, at the middle of the face; turned and scaled with the head."""
    scale: Tensor
    """Of the head in its picture."""
    skin: Tensor
    hair: Tensor

    def feature(self, depth: float) -> Plane:
        """The plane of what stands out of the face by `depth`: a turned head moves it sideways."""
        return self.head.at(self.c["yaw"] * depth * 0.16, 0.0)


def draw(sitters: Sitters, *, size: int = SIZE) -> UInt8[np.ndarray, "n s s 3"]:
    """Draw every sitter, RGB.

    The same sitters give the same bytes on the same machine; whichever others are drawn beside one, its picture is
    the same to one level of 255.

    Raises:
        InputError: if `size` is under 16 or over 512 pixels.
    """
    if not 16 <= size <= 512:
        raise InputError(f"`size` is {size}; portraits are drawn at 16 to 512 pixels.")
    out = np.empty((len(sitters), size, size, 3), dtype=np.uint8)
    with torch.inference_mode():
        for first in range(0, len(sitters), BATCH):
            part = sitters.take(slice(first, first + BATCH))
            picture = _paint(part, size).mul_(255).add_(0.5).clamp_(0, 255)
            out[first : first + BATCH] = picture.permute(0, 2, 3, 1).to(torch.uint8).numpy()
    return out


def _paint(sitters: Sitters, size: int) -> Float[Tensor, "n 3 h w"]:
    look = _look(sitters, size)
    canvas = _ground(look, size)
    for layer in (_hair_behind, _body, _head, _age, _eyes, _brows, _nose, _mouth, _mustache, _hair_before, _glasses):
        layer(canvas, look)
    light = 1 + 0.10 * look.c["brightness"] + 0.22 * (look.page.x * look.c["light_x"] + look.page.y * look.c["light_y"])
    return (canvas.picture * light[:, None]).clamp_(0, 1)


def _look(sitters: Sitters, size: int) -> _Look:
    def columns(values: np.ndarray, names: tuple[str, ...]) -> dict[str, Tensor]:
        tensor = torch.from_numpy(np.ascontiguousarray(values.T.astype(np.float32)))
        return {name: column[:, None, None] for name, column in zip(names, tensor, strict=True)}

    has = columns(sitters.attributes, ATTRIBUTES)
    f, c = columns(sitters.factors, FACTORS), columns(sitters.circumstances, CIRCUMSTANCES)
    line = (torch.arange(size, dtype=torch.float32) + 0.5) * 2 / size - 1
    n = len(sitters)
    page = Plane(line[None, None, :].expand(n, size, size), line[None, :, None].expand(n, size, size))
    scale = ZOOM * (1 + 0.09 * c["scale"])
    placed = page.at(0.11 * c["right"], 0.05 + 0.07 * c["down"]).turned(0.14 * c["roll"])
    head = Plane(placed.x / scale, placed.y / scale)
    skin = _ramp(SKIN, f["skin"])
    skin = skin + 0.03 * f["skin_hue"][:, None] * skin.new_tensor([1.0, 0.2, -1.0])[None, :, None, None]
    hair = _ramp(HAIR, f["hair_dark"])
    hair = torch.lerp(hair, _colour(RED), (0.45 * f["hair_red"].clamp_min(0))[:, None])
    # Nobody greys like the next one.
    grey = (1 - has["Young"]) * (0.70 + 0.22 * f["hair_red"])
    hair = torch.lerp(hair, _colour(GREY), grey[:, None])
    return _Look(has, f, c, page, head, scale, skin, hair)


def _colour(rgb: tuple[float, float, float]) -> Float[Tensor, "1 3 1 1"]:
    return torch.tensor(rgb)[None, :, None, None]


def _ramp(stops: tuple[tuple[float, float, float], ...], at: Tensor) -> Float[Tensor, "n 3 1 1"]:
    """Colour between evenly spaced stops for values in [-1, 1]."""
    table = torch.tensor(stops)
    place = (at.reshape(-1) + 1) / 2 * (len(stops) - 1)
    low = place.floor().clamp(0, len(stops) - 2)
    return torch.lerp(table[low.long()], table[low.long() + 1], (place - low)[:, None])[:, :, None, None]


def _wheel(hue: Tensor, light: Tensor, strength: float) -> Float[Tensor, "n 3 1 1"]:
    """A muted colour of a hue in [-1, 1], once around the wheel, and a lightness in [-1, 1]."""
    phase = torch.tensor([0.0, 2.0944, 4.1888])[None, :, None, None]
    return 0.52 + 0.24 * light[:, None] + strength * (torch.pi * hue[:, None] + phase).cos()


def _ground(look: _Look, size: int) -> Canvas:
    colour = _wheel(look.c["ground_hue"], look.c["ground_light"], 0.13)
    shade = 1 - 0.12 * look.page.y - 0.10 * (look.page.x**2 + look.page.y**2)
    return Canvas(colour * shade[:, None], 2 / size / look.scale)


def _apart(look: _Look) -> Tensor:
    """From the middle of the face to an eye."""
    return 0.195 + 0.018 * look.f["eye_distance"]


def _width(look: _Look) -> Tensor:
    return 0.46 + 0.035 * look.f["face_width"] + 0.015 * look.has["Male"]


def _height(look: _Look) -> Tensor:
    return 0.60 + 0.035 * look.f["face_length"]


def _long(look: _Look) -> Tensor:
    """How long the hair is, 0 to 1: a factor of the person, and mostly short on men."""
    return (0.72 + 0.28 * look.f["hair_length"]) * (1 - look.has["Male"]) + (
        0.10 + 0.10 * look.f["hair_length"]
    ) * look.has["Male"]


def _hair_behind(canvas: Canvas, look: _Look) -> None:
    width, height, long = _width(look), _height(look), _long(look)
    crown = ellipse(look.head.at(0.0, -0.16), width + 0.09 + 0.03 * long, height - 0.02)
    fall = box(look.head.at(0.0, 0.05 + 0.42 * long), width + 0.07 * long, 0.12 + 0.46 * long, 0.12)
    canvas.fill(smooth_union(crown, fall, 0.2), look.hair * 0.78)


def _body(canvas: Canvas, look: _Look) -> None:
    shirt = _wheel(look.c["shirt_hue"], look.c["shirt_light"], 0.20)
    male = look.has["Male"]
    neck = box(look.head.at(0.0, 0.66), 0.17 + 0.045 * male, 0.34, 0.05)
    canvas.fill(neck, look.skin * 0.80)
    shoulders = ellipse(look.head.at(0.0, 1.42), 0.86 + 0.10 * male, 0.56)
    neckline = ellipse(look.head.at(0.0, 0.86), 0.24, 0.17 + 0.05 * (1 - male))
    canvas.fill(torch.maximum(shoulders, -neckline), shirt)


def _contour(look: _Look) -> Float[Tensor, "n h w"]:
    """Signed distance of the face: a cranium and a jaw, broader and lower where it is a man's."""
    width, height, male = _width(look), _height(look), look.has["Male"]
    cranium = ellipse(look.head.at(0.0, -0.08), width, height - 0.06)
    jaw_width = width * (0.70 + 0.08 * look.f["jaw"] + 0.14 * male)
    jaw = ellipse(look.head.at(0.03 * look.c["yaw"], 0.24 + 0.01 * male), jaw_width, height - 0.22 + 0.02 * male)
    return smooth_union(cranium, jaw, 0.16)


def _head(canvas: Canvas, look: _Look) -> None:
    width = _width(look)
    ears = ellipse(look.head.mirrored().at(width - 0.005, 0.04), 0.065, 0.13)
    canvas.fill(ears, look.skin * 0.86)
    contour = _contour(look)
    # A round head: darker where the surface turns away, lighter towards the lamp.
    turn = (1 + contour / 0.42).clamp(0, 1)
    lamp = (look.c["light_x"] * look.head.x + 0.5 * look.c["light_y"] * look.head.y) * 0.35
    skin = look.skin * (1.05 - 0.26 * turn**3 + lamp)[:, None]
    canvas.fill(contour, skin)
    blush = ellipse(look.feature(0.6).mirrored().at(0.24, 0.20), 0.10, 0.08)
    flushed = look.skin * torch.tensor([1.02, 0.74, 0.72])[None, :, None, None]
    canvas.fill(blush, flushed, 0.30 - 0.16 * look.has["Male"], soft=0.10)
    # A shadow of beard that men have more or less of.
    chin = ellipse(look.head.at(0.0, 0.42), width * 0.68, 0.24)
    beard = look.has["Male"] * (0.10 + 0.10 * (look.f["jaw"] + 1) / 2)
    canvas.fill(torch.maximum(chin, contour + 0.03), look.hair * 0.55, beard, soft=0.12)


def _age(canvas: Canvas, look: _Look) -> None:
    old = 1 - look.has["Young"]
    line = look.skin * 0.55
    face = look.feature(0.8)
    for height, reach in ((-0.36, 0.20), (-0.29, 0.24)):
        canvas.fill(arc(face.at(0.0, height), reach, -0.03) - 0.006, line, 0.60 * old)
    both = face.mirrored()
    depth = 0.02 * look.has["Smiling"]
    canvas.fill(segment(both, 0.115, 0.17, 0.205 + depth, 0.34) - 0.010, line, 0.62 * old)
    for end in (-0.13, -0.05):
        canvas.fill(segment(both, 0.315, -0.085, 0.385, end) - 0.006, line, 0.60 * old)
    canvas.fill(arc(both.at(0.195, 0.015), 0.085, 0.035) - 0.008, line, 0.50 * old)


def _eye_places(look: _Look) -> tuple[Plane, Tensor, Tensor]:
    """Both eyes about the origin, and their half width and half height."""
    width = 0.096 + 0.013 * look.f["eye_size"]
    height = (0.058 + 0.010 * look.f["eye_size"]) * (1 - 0.28 * look.has["Smiling"]) * (1 - 0.08 * look.has["Male"])
    return look.feature(0.7).mirrored().at(_apart(look), -0.08), width, height


def _eyes(canvas: Canvas, look: _Look) -> None:
    eye, width, height = _eye_places(look)
    white = ellipse(eye, width, height)
    canvas.fill(white, _colour(WHITE))
    # The gaze goes the same way in both eyes, so the mirrored plane is folded back.
    side = torch.where(look.feature(0.7).x < 0, -1.0, 1.0)
    gaze = side * (0.020 * look.c["gaze"] + 0.02 * look.c["yaw"])
    iris = ellipse(eye.at(gaze, 0.0), 0.046, 0.046)
    canvas.fill(torch.maximum(iris, white), _ramp(IRIS, look.f["eye_colour"]))
    canvas.fill(torch.maximum(ellipse(eye.at(gaze, 0.0), 0.022, 0.022), white), _colour(INK))
    canvas.fill(ellipse(eye.at(gaze + 0.014 * side, -0.016), 0.011, 0.011), _colour(WHITE), 0.9)
    lid = arc(eye.at(0.0, 0.004), width, -(height + 0.006))
    canvas.fill(lid - (0.013 - 0.003 * look.has["Male"]), _colour(INK), 0.85 - 0.15 * look.has["Male"])


def _brows(canvas: Canvas, look: _Look) -> None:
    male = look.has["Male"]
    brow = look.feature(0.75).mirrored().at(_apart(look), -0.205 + 0.016 * male - 0.01 * look.has["Smiling"])
    thickness = 0.014 + 0.007 * look.f["brow"] + 0.013 * male
    canvas.fill(arc(brow, 0.105, -0.036 + 0.014 * male) - thickness, look.hair * 0.55, 0.92)


def _nose(canvas: Canvas, look: _Look) -> None:
    nose = look.feature(1.3)
    tip = 0.125 + 0.030 * look.f["nose_length"]
    width = 0.062 + 0.014 * look.f["nose_width"] + 0.008 * look.has["Male"]
    lit = -torch.sign(look.c["light_x"] + 1e-3)
    canvas.fill(segment(nose, lit * 0.030, -0.10, lit * width * 0.8, tip) - 0.012, look.skin * 0.78, 0.65, soft=0.03)
    canvas.fill(ellipse(nose.at(0.0, tip - 0.01), width * 0.62, 0.035), (look.skin * 1.12).clamp(0, 1), 0.5, soft=0.03)
    canvas.fill(arc(nose.at(0.0, tip + 0.010), width, 0.028) - 0.010, look.skin * 0.60, 0.8)
    canvas.fill(ellipse(nose.mirrored().at(width * 0.5, tip + 0.022), 0.014, 0.010), look.skin * 0.35, 0.8)


def _mouth(canvas: Canvas, look: _Look) -> None:
    smiling, male = look.has["Smiling"], look.has["Male"]
    much = 0.75 + 0.25 * look.c["smile"]
    mouth = look.feature(0.9).at(0.0, 0.335)
    width = 0.150 + 0.018 * look.f["mouth_width"] + 0.052 * smiling * much
    full = 0.020 + 0.007 * look.f["lips"] - 0.004 * male
    lips = torch.lerp(
        look.skin * torch.tensor([0.86, 0.60, 0.58])[None, :, None, None],
        _colour(LIPS),
        0.45 * (1 - 0.7 * male)[:, None],
    )
    # Closed and straight, or open between an upper and a lower curve that meet in corners that go up.
    lift = -0.030 * smiling * much
    corner = mouth.at(0.0, lift)
    upper, lower = 0.006 + 0.030 * smiling * much, 0.012 + 0.105 * smiling * much
    inside = torch.maximum(_below(corner, width, upper), -_below(corner, width, lower))
    canvas.fill(arc(corner, width, upper) - full * 0.8, lips)
    canvas.fill(arc(corner, width, lower) - full, lips)
    canvas.fill(inside, _colour(WHITE), 0.95 * smiling)
    canvas.fill(arc(corner, width, lower * 0.5 + upper * 0.5) - 0.007, lips * 0.45, 1 - smiling)
    dimple = look.feature(0.9).mirrored().at(width + 0.035, 0.335 + lift)
    canvas.fill(arc(dimple.turned(1.4), 0.045, 0.012) - 0.007, look.skin * 0.62, 0.7 * smiling)


def _below(p: Plane, width: Tensor, bend: Tensor) -> Float[Tensor, "n h w"]:
    """Signed distance of what lies under a parabola from (-width, 0) to (width, 0), negative below."""
    slope = 2 * bend * p.x / width**2
    return (bend * (1 - (p.x / width) ** 2) - p.y) / (1 + slope**2).sqrt()


def _mustache(canvas: Canvas, look: _Look) -> None:
    has = look.has["Mustache"]
    lift = -0.012 * look.has["Smiling"]
    both = look.feature(1.05).mirrored().at(0.0, 0.252 + lift)
    reach = 0.150 + 0.030 * look.f["mouth_width"]
    thick = 0.034 + 0.008 * look.f["brow"]
    hanging = 0.035 + 0.02 * look.f["jaw"]
    along = (both.x / reach).clamp(0, 1)
    spine = segment(both, 0.012, 0.0, reach, hanging)
    canvas.fill(spine - thick * (1 - 0.55 * along), torch.lerp(look.hair, _colour(INK), 0.80), 0.96 * has)


def _hair_before(canvas: Canvas, look: _Look) -> None:
    width, height, long = _width(look), _height(look), _long(look)
    cap = ellipse(look.head.at(0.0, -0.10), width + 0.045 + 0.02 * long, height - 0.01)
    # The hairline: an ellipse that is left open, lower and to the side with more of a fringe.
    fringe = (look.f["fringe"] + 1) / 2
    # Young men's and old men's hairlines differ a little.
    open_ = 0.05 * (1 - look.has["Young"]) * look.has["Male"]
    opening = ellipse(
        look.head.at(0.10 * look.f["fringe"] * (1 - fringe * 0.5), 0.20 - 0.02 * long),
        width - 0.035 - 0.03 * long + 0.5 * open_,
        height - 0.03 - 0.10 * fringe + open_,
    )
    lock = torch.maximum(cap, -opening)
    # Sides end at the ears where hair is short.
    side = look.head.y - (-0.02 + 0.95 * long)
    shade = 1.0 + 0.16 * (look.head.x * 9 + 3 * look.head.y).sin() * (look.head.y * 6).cos()
    canvas.fill(torch.maximum(lock, side), (look.hair * shade[:, None]).clamp(0, 1))


def _glasses(canvas: Canvas, look: _Look) -> None:
    has = look.has["Eyeglasses"]
    eye, width, _ = _eye_places(look)
    style = (look.f["frames"] + 1) / 2
    wide, high = width + 0.052, 0.080 + 0.030 * style
    lens = box(eye.at(0.0, 0.014), wide, high, 0.02 + (high - 0.025) * style)
    dark = 0.12 + 0.30 * (1 - style)
    frame = torch.lerp(_colour(INK), _colour((0.45, 0.20, 0.10)), dark[:, None])
    canvas.fill(lens, _colour((0.75, 0.85, 0.92)), 0.16 * has)
    canvas.fill(torch.maximum(segment(eye, -0.05, 0.05, 0.03, -0.06) - 0.012, lens), _colour(WHITE), 0.35 * has)
    canvas.fill(lens.abs() - (0.011 + 0.008 * (1 - style)), frame, 0.97 * has)
    canvas.fill(
        arc(look.feature(0.85).at(0.0, -0.075), (_apart(look) - wide).clamp_min(0.02), -0.02) - 0.012, frame, 0.97 * has
    )
    temple = segment(look.feature(0.35).mirrored(), _apart(look) + wide, -0.085, _width(look) + 0.03, -0.06)
    canvas.fill(temple - 0.012, frame, 0.97 * has)
