"""Draws faces: a relief with the person's anatomy, moved by action units, lit and colored. No model files.

The face is a height z over the plane (x, y) of the image: a rounded head with bumps and valleys. Action units
move the bumps, and the curves of brows, lids and lips. Shading comes from the slopes of the relief; skin,
hair, eyes and mouth are layers of color over it, each with a soft edge.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data_prep.align import LEFT_PUPIL, RIGHT_PUPIL
from data_prep.synthetic.action_units import UNITS
from eifn.database import SIZE

SKIN = ((0.93, 0.74, 0.63), (0.84, 0.63, 0.49), (0.70, 0.49, 0.36), (0.52, 0.34, 0.24), (0.33, 0.21, 0.15))
HAIR = ((0.05, 0.04, 0.04), (0.19, 0.12, 0.08), (0.38, 0.26, 0.15), (0.62, 0.49, 0.30))
IRIS = ((0.17, 0.09, 0.05), (0.28, 0.20, 0.10), (0.30, 0.36, 0.27), (0.33, 0.45, 0.55))
"""sRGB colors from dark to light or, for skin, from no melanin to much."""

SAMPLES = 2
"""Along each side of a pixel, against jagged edges."""

CHUNK = 8
"""Faces at a time: as many as fit the cache of a processor."""


def render(
    anatomy: Mapping[str, np.ndarray],
    units: np.ndarray,
    *,
    pose: np.ndarray,
    light: np.ndarray,
    texture: np.ndarray,
    size: int = SIZE,
) -> np.ndarray:
    """Draw a batch of faces.

    Args:
        anatomy: the traits of each face's person, (N,) each (see `data_prep.synthetic.anatomy.describe`).
        units: intensities of the action units on the left and the right of the image, 0 to 1,
            (N, 2, len(UNITS)).
        pose: turn to the side, nod and tilt of the head in radians, then shift right and down in units of
            the distance between the pupils, (N, 5). All zero puts the pupils where alignment does.
        light: its direction right, up and to the viewer, its share of ambient light, and its color red,
            green, blue, (N, 7).
        texture: a seed of each person's skin, int (N,).
        size: of the images, in pixels.

    Returns:
        sRGB of 0 to 1, float32 (N, size, size, 3).
    """
    faces = []
    for start in range(0, len(units), CHUNK):
        part = slice(start, start + CHUNK)
        tensors = {name: _tensor(value[part]) for name, value in anatomy.items()}
        faces.append(
            _render(
                tensors, _tensor(units[part]), _tensor(pose[part]), _tensor(light[part]), texture[part], size
            )
        )
    return torch.cat(faces).numpy()


def _render(
    a: dict[str, Tensor], units: Tensor, pose: Tensor, light: Tensor, texture: np.ndarray, size: int
) -> Tensor:
    fine = size * SAMPLES
    x, y = _grid(fine, pose)  # (N, H, W) each, as all maps below
    ax = x.abs()
    pixel = (
        SIZE / size / (RIGHT_PUPIL[0] - LEFT_PUPIL[0])
    )  # the width of a pixel of the image, in the face's units

    right = torch.sigmoid(x / 0.05)  # how far a point belongs to the right of the image
    au = {
        unit: units[:, 0, i, None, None] * (1 - right) + units[:, 1, i, None, None] * right
        for i, unit in enumerate(UNITS)
    }
    mean = {unit: units[:, :, i].mean(1)[:, None, None] for i, unit in enumerate(UNITS)}  # of both sides

    # The jaw takes everything below the mouth with it.
    drop = 0.17 * mean[26] + 0.36 * mean[27]
    lower = y - drop * _ramp(y, a["mouth_height"], a["chin"])

    # --- the curves that the units move -------------------------------------------------------------------
    u = (ax - 0.17) / 0.62  # along the brow, from its inner to its outer end
    inner, outer = (1 - u).clamp(0, 1), u.clamp(0, 1)
    brow = -a["brow_height"] - a["brow_arch"] * (1 - (1.6 * u - 1).square()) + 0.05 * outer * u
    brow = brow - inner.square() * 0.13 * au[1] - outer * 0.12 * au[2]
    brow = brow + 0.10 * au[4] * (0.5 + 0.5 * inner) + 0.04 * au[9] * inner

    v = (ax - 0.5) / a["eye_width"]  # along the eye, -1 at its inner corner, 1 at the outer one
    almond = (1 - v.square()).clamp(0)
    tilt = -a["eye_tilt"] * v
    upper_lid = tilt - almond.sqrt() * 0.5 * (1 + almond) * (
        a["eye_opening"] + 0.065 * au[5] - 0.022 * au[7] - 0.020 * au[6] - 0.02 * au[9]
    ).clamp(0.012)
    lower_lid = tilt + almond * (0.078 - 0.034 * au[7] - 0.030 * au[6] + 0.012 * au[5]).clamp(0.015)

    half = a["mouth_width"] + 0.10 * au[12] + 0.09 * au[20] + 0.02 * au[15]
    half = half - 0.10 * mean[27] - 0.05 * mean[26] - 0.05 * mean[23] - 0.03 * au[14]
    m = ax / half  # along the mouth, 1 at its corner
    bow = (1 - m.square()).clamp(0)
    corner = a["mouth_tilt"] - 0.15 * au[12] + 0.12 * au[15] - 0.03 * au[14] + 0.02 * au[20]
    corner = corner + 0.45 * drop  # an open mouth is an oval
    line = a["mouth_height"] + corner * m.square() - 0.05 * mean[17] * bow
    open_up = 0.020 * mean[25] + 0.055 * mean[10] + 0.03 * mean[12] * mean[25] + 0.02 * mean[27]
    open_down = 0.045 * mean[25] + 0.05 * mean[16] + 0.9 * drop + 0.05 * mean[12] * mean[25]
    upper_edge = line - (open_up + 0.05 * mean[10]) * bow
    lower_edge = line + open_down * bow.sqrt()
    thin = 1 - 0.45 * mean[23] - 0.65 * mean[24] - 0.2 * au[12]
    cupid = 1 - 0.28 * torch.exp(-(x / 0.05).square())
    lip_top = upper_edge - a["upper_lip"] * thin * cupid * bow.sqrt().clamp(0) * (0.6 + 0.4 * bow)
    lip_bottom = lower_edge + a["lower_lip"] * thin * bow.sqrt() * (0.5 + 0.5 * bow) * (1 + 0.15 * mean[17])

    # --- the relief ---------------------------------------------------------------------------------------
    outline = _outline(a, lower)
    edge = outline - ax  # > 0 inside the head
    round_ = (1 - (ax / outline.clamp(0.05)).square()).clamp(0)
    tall = (1 - ((lower - 0.25) / torch.where(lower > 0.25, a["chin"] - 0.15, 2.2)).square()).clamp(0)
    z = 0.95 * (round_ * (0.15 + 0.85 * tall) + 1e-3).sqrt()

    cheek = 0.55 - 0.10 * au[6] - 0.05 * au[12]
    z = z + (a["cheekbones"] + 0.05 * au[6] + 0.05 * au[12]) * _bump(ax - 0.66, y - cheek, 0.22, 0.20)
    z = z + a["brow_ridge"] * _bump(ax - 0.42, y - brow - 0.06, 0.36, 0.09)
    z = z - 0.10 * _bump(ax - 0.42, y + 0.03, 0.20, 0.15)  # the socket
    z = z + 0.05 * _bump(ax - 0.5, y, 0.16, 0.10)  # and the ball in it
    z = z + 0.05 * (au[6] + 0.5 * au[7]) * _bump(ax - 0.5, y - lower_lid - 0.07, 0.20, 0.035)  # pouch

    tip = a["nose_length"]
    along = ((y + 0.12) / (tip + 0.12)).clamp(0, 1)
    below = _step((tip + 0.15 - y) / 0.24)
    z = z + a["nose_height"] * (0.18 + 0.82 * along.pow(1.6)) * below * torch.exp(
        -(ax / (0.10 + 0.05 * along)).square()
    ) * _step((y + 0.25) / 0.3)
    wing = tip + 0.03 - 0.045 * au[9] - 0.03 * au[10]
    z = z + 0.11 * _bump(ax - a["nose_width"], y - wing, 0.065, 0.075)

    z = z + 0.07 * _bump(x, y - a["mouth_height"], 0.42, 0.26)  # over the teeth
    philtrum = _step((lip_top - y) / 0.04) * _step((y - tip - 0.08) / 0.05)
    z = z - 0.018 * torch.exp(-(x / 0.035).square()) * philtrum
    z = (
        z
        + 0.05 * thin * _between(y, lip_top, upper_edge)
        + 0.065 * thin * _between(y, lower_edge, lip_bottom)
    )
    z = z - 0.035 * torch.exp(-((y - lip_bottom - 0.06) / 0.05).square()) * torch.exp(-(x / 0.22).square())
    chin = a["chin"] - 0.27 - 0.07 * mean[17]
    z = z + (a["chin_bump"] + 0.03 * mean[17]) * _bump(x, lower - chin, 0.24, 0.17)
    ripple = torch.cos(x * 90) * torch.cos(lower * 80)
    z = z + 0.006 * mean[17] * ripple * _bump(x, lower - chin, 0.16, 0.12)

    # Folds: valleys that age deepens a little and action units much.
    age = a["age"]
    w = (y - tip + 0.02) / (a["mouth_height"] - tip + 0.10)  # along the nasolabial fold
    path = a["nose_width"] + 0.06 + (half + 0.10 - a["nose_width"] - 0.06) * w.clamp(0, 1.2) + 0.05 * au[12]
    depth = 0.018 * age + 0.042 * au[12] + 0.042 * au[10] + 0.036 * au[9] + 0.015 * au[6]
    window = _step((w + 0.1) / 0.3) * _step((1.15 - w) / 0.35)
    z = z - depth * window * torch.exp(-((ax - path) / 0.05).square())
    z = z + 0.6 * depth * window * torch.exp(-((ax - path - 0.13) / 0.10).square())
    z = z - 0.05 * au[14] * _bump(ax - half - 0.05, y - line, 0.045, 0.07)  # the dimple
    z = z - 0.03 * au[15] * _bump(ax - half - 0.02, y - line - 0.07, 0.04, 0.07)
    furrow = torch.exp(-((ax - 0.085) / 0.028).square()) * _bump(x * 0, y - brow - 0.02, 1, 0.13)
    z = z - (0.012 * age + 0.050 * au[4]) * furrow
    forehead = _step((brow - 0.07 - y) / 0.1) * _step((y + 0.98) / 0.2)
    waves = torch.cos((y - 0.25 * (brow + a["brow_height"])) * 42)
    raised = 0.5 * (au[1] * (0.3 + inner) + au[2])
    z = z + (0.0025 * age + 0.010 * raised.clamp(0, 1)) * waves * forehead
    wrinkle = torch.cos(y * 75 + 20 * ax) * _bump(ax - 0.09, y - 0.10, 0.10, 0.16)
    z = z + 0.012 * au[9] * wrinkle
    crow = torch.cos((y - 0.05) * 70 / (0.5 + ax)) * _bump(ax - 0.86, y - 0.04, 0.07, 0.16)
    z = z + (0.002 * age + 0.007 * au[6]) * crow

    # --- light --------------------------------------------------------------------------------------------
    step = 2 * pixel / SAMPLES
    slope_x = _difference(z, 2) / step
    slope_y = _difference(z, 1) / step
    length = (slope_x.square() + slope_y.square() + 1).sqrt()
    direction = functional.normalize(light[:, :3], dim=1)[..., None, None]  # (N, 3, 1, 1); y is up here
    facing = (-slope_x * direction[:, 0] + slope_y * direction[:, 1] + direction[:, 2]) / length
    blurred = _blur(z, fine // 12)
    open_ = (1 + 2.2 * (z - blurred).clamp(-0.2, 0.05)).clamp(0.4, 1.1)  # less light in the hollows
    ambient = light[:, 3, None, None]
    lit = ambient * (0.65 + 0.35 / length) * open_ + (1 - ambient) * ((facing + 0.15) / 1.15).clamp(0)
    shine = ((2 * facing / length - direction[:, 2]).clamp(0) * (facing > 0)).pow(14)

    # --- color --------------------------------------------------------------------------------------------
    noise = _skin_noise(texture, fine)
    skin = _palette(SKIN, a["melanin"])[..., None, None]  # (N, 3, 1, 1)
    blush = a["redness"] * (
        0.8 * _bump(ax - 0.62, y - 0.55, 0.28, 0.24) + 0.5 * _bump(x, y - tip, 0.16, 0.12)
    ) + 0.25 * _bump(ax - 0.5, y - 0.2, 0.25, 0.08)
    color = skin * torch.stack([1 + 0.02 * blush, 1 - 0.11 * blush, 1 - 0.11 * blush], 1)
    color = color * (1 + 0.03 * noise)[:, None]

    hair = _palette(HAIR, a["hair_shade"])[..., None, None]
    strands = 1 + 0.35 * _strands(texture, fine)
    beard = a["beard"].clamp(0, 0.75) * _step((lower - 0.75 - 0.25 * (1 - ax).clamp(0)) / 0.25)
    beard = beard * (1 - 0.6 * _bump(x, lip_bottom - y, 0.12, 0.06)) * (0.8 + 0.4 * noise).clamp(0, 1)
    color = _over(color, hair * 0.9 + 0.05 * skin, beard)

    lip = _cover(y - lip_top, pixel) * _cover(lip_bottom - y, pixel) * (m < 1)
    tint = skin * skin.new_tensor([0.86, 0.58, 0.56])[:, None, None]
    color = _over(color, tint, 0.75 * lip)

    nostril = _bump(ax - 0.085, y - tip - 0.085 + 0.03 * au[9], 0.045, 0.022)
    color = _over(color, 0.25 * skin, (0.9 * nostril).clamp(0, 1))

    thickness = a["brow_thickness"] * (1.15 - 0.75 * u.clamp(0, 1))
    shape = (
        _cover(thickness - (y - brow).abs(), 2 * pixel) * _step((u + 0.05) / 0.12) * _step((1.04 - u) / 0.25)
    )
    color = _over(color, hair * 0.8, shape * (0.75 + 0.2 * noise).clamp(0, 0.95))

    image = color * lit[:, None] + 0.10 * (shine * (1 - 0.8 * beard))[:, None]

    # Eyes and the inside of the mouth have a light of their own: they lie deeper than the relief says.
    dim = 0.55 + 0.45 * lit.clamp(0, 1)
    eye = _cover(y - upper_lid, pixel) * _cover(lower_lid - y, pixel) * (almond > 0)
    iris = _cover(0.098 - ((ax - 0.5).square() + (y + 0.005).square()).sqrt(), pixel)
    pupil = _cover(0.042 - ((ax - 0.5).square() + (y + 0.005).square()).sqrt(), pixel)
    ball = torch.ones_like(color) * color.new_tensor([0.84, 0.81, 0.78])[:, None, None]
    ball = _over(ball, _palette(IRIS, a["iris_shade"])[..., None, None], iris)
    ball = _over(ball, ball * 0 + 0.02, pupil)
    glint_x = x - torch.sign(x) * 0.5 - 0.03 * direction[:, 0].sign()
    ball = ball + 0.8 * _bump(glint_x, y + 0.04, 0.014, 0.014)[:, None]
    shadow = 1 - 0.45 * torch.exp(-((y - upper_lid) / 0.035).clamp(0).square())
    image = _over(image, ball * (shadow * dim)[:, None], eye)
    lash = torch.exp(-((y - upper_lid) / 0.016).square()) * (v.abs() < 1.08)
    image = _over(image, image * 0 + 0.04, 0.8 * lash)
    lash = torch.exp(-((y - lower_lid) / 0.010).square()) * (v.abs() < 1)
    image = _over(image, image * 0.45, 0.5 * lash)
    crease = torch.exp(-((y - upper_lid + 0.055 - 0.03 * au[5]) / 0.014).square()) * (v.abs() < 1.1)
    image = _over(image, image * 0.6, 0.6 * crease)

    inside = _cover(y - upper_edge, pixel) * _cover(lower_edge - y, pixel) * (m < 1)
    teeth = _cover(a["mouth_height"] + 0.055 - 0.06 * mean[27] - 0.03 * m.square() - y, pixel)
    teeth = teeth * _step((1.05 - m) / 0.25)
    low_teeth = _cover(y - a["mouth_height"] - 0.9 * drop - 0.06 + 0.02 * m.square(), pixel)
    low_teeth = low_teeth * (mean[16] + mean[25] * 0.3 + mean[20] * 0.4).clamp(0, 1) * _step((0.9 - m) / 0.3)
    cavity = torch.ones_like(color) * color.new_tensor([0.13, 0.04, 0.04])[:, None, None]
    cavity = _over(cavity, cavity * 0 + cavity.new_tensor([0.80, 0.77, 0.70])[:, None, None], teeth)
    cavity = _over(cavity, cavity * 0 + cavity.new_tensor([0.66, 0.63, 0.57])[:, None, None], low_teeth)
    depth = 0.35 + 0.65 * ((lower_edge - upper_edge) / 0.12).clamp(0, 1)  # little light enters a narrow gap
    image = _over(image, cavity * (depth * dim)[:, None], inside)
    seam = torch.exp(-((y - upper_edge) / 0.014).square()) * (m < 1.04)
    image = _over(image, image * 0.3, 0.75 * seam * (1 - inside * teeth))

    rim = ((ax - 0.5) / 0.36).abs().pow(2.6) + ((y - 0.05) / 0.27).abs().pow(2.6)
    frame = torch.exp(-((rim.clamp(1e-3).pow(1 / 2.6) - 1) / 0.05).square())
    frame = torch.maximum(frame, torch.exp(-((y + 0.03) / 0.025).square()) * (ax < 0.15))
    frame = torch.maximum(frame, torch.exp(-((y + 0.05) / 0.03).square()) * (ax > 0.86))
    image = _over(image, image * 0 + 0.06, 0.9 * frame * (a["glasses"] > 0))

    # --- what is behind and around the head -----------------------------------------------------------------
    wall = (0.42 + 0.10 * direction[:, 0] * x - 0.05 * y)[:, None] * torch.ones_like(color)
    ear = 1 - ((ax - a["head_width"] - 0.02) / 0.11).square() - ((y - 0.22) / 0.32).square()
    neck = torch.minimum(0.80 * a["head_width"] - ax, lower - 1.0)
    shade = (0.35 + 0.5 * lit.mean((1, 2), keepdim=True)) * (1 - 0.6 * (ax / 0.9).clamp(0, 1).square())
    behind = _over(wall, skin * shade[:, None] * 0.62, _cover(neck, pixel))
    behind = _over(
        behind, skin * shade[:, None] * (0.75 + 0.25 * ear.clamp(0, 1))[:, None], _cover(ear * 0.1, pixel)
    )
    locks = hair * (strands * (0.45 + 0.55 * (1 - (ax / 1.4).square()).clamp(0)))[:, None]
    ends = a["hair_length"].clamp(min=-0.25) + 0.10 * strands - 0.5 * (ax - 1).clamp(0)
    around = torch.minimum(1.55 - torch.hypot(ax * 1.2, (y + 0.1).clamp(max=0)), 0.35 * (ends - y))
    behind = _over(behind, locks, _cover(around, 4 * pixel))
    image = _over(behind, image, _cover(edge, 1.5 * pixel))
    line_of_hair = -a["hair_line"] + 0.45 * (ax / a["head_width"]).pow(4) + 0.03 * noise
    fringe = torch.maximum(line_of_hair - y, torch.minimum(ax - outline + 0.05, -0.12 - y))
    image = _over(
        image, locks * (0.35 + 0.65 * lit)[:, None], _cover(fringe, 5 * pixel) * _cover(edge, pixel)
    )

    image = image * light[:, 4:, None, None]
    image = functional.avg_pool2d(image, SAMPLES)  # (N, 3, size, size)
    return image.clamp(0, 1).pow(1 / 1.15).permute(0, 2, 3, 1).contiguous()


def _tensor(values: np.ndarray) -> Tensor:
    """float32, with two dimensions more if it is a number for each face."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return tensor[:, None, None] if tensor.ndim == 1 else tensor


def _grid(fine: int, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Where on the face each sample lies: x, y of shape (N, fine, fine)."""
    pupils = RIGHT_PUPIL[0] - LEFT_PUPIL[0]
    place = (torch.arange(fine, dtype=torch.float32) + 0.5) * (
        SIZE / fine
    ) - 0.5  # in pixels of a 64 x 64 frame
    x = (place - (LEFT_PUPIL[0] + RIGHT_PUPIL[0]) / 2) / pupils
    y = (place - LEFT_PUPIL[1]) / pupils
    turn, nod, tilt, right, down = pose.T[..., None, None]
    x, y = x[None, None, :] - right, y[None, :, None] - down
    x, y = x * tilt.cos() + y * tilt.sin(), y * tilt.cos() - x * tilt.sin()
    # What is nearer to the viewer than the pupils moves further when the head turns.
    near = 0.75 * (1 - (x / 1.1).square() - ((y - 0.4) / 1.9).square()).clamp(0).sqrt() - 0.62
    return x - turn.sin() * near, y - nod.sin() * near


def _outline(a: dict[str, Tensor], y: Tensor) -> Tensor:
    """Half the width of the head at a height."""
    below = ((y - 0.15) / (a["chin"] - 0.15)).clamp(0, 1)
    above = ((0.15 - y) / 1.75).clamp(0, 1)
    taper = (1 - below.pow(a["jaw"])).clamp(0).sqrt()
    return a["head_width"] * torch.where(y > 0.15, taper, (1 - above.pow(2.4)).sqrt())


def _step(t: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def _ramp(y: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """0 above the start, 1 below the end."""
    return _step((y - start) / (end - start))


def _bump(dx: Tensor, dy: Tensor, width: float, height: float) -> Tensor:
    return torch.exp(-((dx / width).square() + (dy / height).square()))


def _between(y: Tensor, top: Tensor, bottom: Tensor) -> Tensor:
    """A half round profile between two curves, 0 outside."""
    middle, radius = (top + bottom) / 2, ((bottom - top) / 2).clamp(0.004)
    return (1 - ((y - middle) / radius).square()).clamp(0).sqrt() * (bottom - top > 0.005)


def _cover(inside: Tensor, width: float) -> Tensor:
    """How much of a sample lies inside, from its distance to the edge, positive inside."""
    return (inside / width + 0.5).clamp(0, 1)


def _over(under: Tensor, color: Tensor, cover: Tensor) -> Tensor:
    """A color over (N, 3, H, W), where it covers (N, H, W)."""
    return torch.lerp(under, color.expand_as(under), cover[:, None])


def _palette(colors: tuple[tuple[float, ...], ...], where: Tensor) -> Tensor:
    """Colors between those of a palette, at 0 to 1: (N, 3)."""
    table = torch.tensor(colors)
    place = where.flatten() * (len(table) - 1)
    low = place.floor().long().clamp(0, len(table) - 2)
    return torch.lerp(table[low], table[low + 1], (place - low)[:, None])


def _difference(z: Tensor, dim: int) -> Tensor:
    """Between both neighbors of each sample."""
    before = torch.cat([z.narrow(dim, 0, 1), z.narrow(dim, 0, z.shape[dim] - 1)], dim)
    after = torch.cat([z.narrow(dim, 1, z.shape[dim] - 1), z.narrow(dim, z.shape[dim] - 1, 1)], dim)
    return after - before


def _blur(z: Tensor, radius: int) -> Tensor:
    size = 2 * radius + 1
    padded = functional.pad(z[:, None], (radius,) * 4, mode="replicate")
    return functional.avg_pool2d(functional.avg_pool2d(padded, (size, 1), 1), (1, size), 1)[:, 0]


def _skin_noise(seeds: np.ndarray, fine: int) -> Tensor:
    """Blotches of the skin, the same for the same seed: about -2 to 2, (N, fine, fine)."""
    maps = []
    for seed in seeds:
        generator = np.random.default_rng([1, seed])
        layers = [torch.from_numpy(generator.standard_normal((1, 1, n, n), np.float32)) for n in (9, 24, 64)]
        maps.append(
            sum(
                functional.interpolate(layer, (fine, fine), mode="bicubic", align_corners=False)
                for layer in layers
            )
        )
    return torch.cat(maps)[:, 0] * 0.6


def _strands(seeds: np.ndarray, fine: int) -> Tensor:
    """Hair: upright streaks, (N, fine, fine)."""
    maps = []
    for seed in seeds:
        generator = np.random.default_rng([2, seed])
        layer = torch.from_numpy(generator.standard_normal((1, 1, 5, 48), np.float32))
        maps.append(functional.interpolate(layer, (fine, fine), mode="bicubic", align_corners=False))
    return torch.cat(maps)[:, 0]
