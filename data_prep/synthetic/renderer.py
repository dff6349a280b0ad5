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

SKIN = ((0.93, 0.74, 0.63), (0.84, 0.63, 0.49), (0.70, 0.49, 0.36), (0.55, 0.37, 0.27), (0.42, 0.28, 0.21))
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
        of = [_tensor(values[part]) for values in (units, pose, light)]
        faces.append(_Faces(tensors, *of, texture[part], size).draw())
    return torch.cat(faces).numpy()


class _Faces:
    """A batch of faces and the grid of samples that they are drawn on.

    Every map is (N, H, W) or broadcasts to it; colors are (N, 3, H, W). Right is right in the image.
    """

    def __init__(
        self,
        anatomy: dict[str, Tensor],
        units: Tensor,
        pose: Tensor,
        light: Tensor,
        texture: np.ndarray,
        size: int,
    ) -> None:
        self.a, self.light, self.texture, self.fine = anatomy, light, texture, size * SAMPLES
        self.pixel = SIZE / size / (RIGHT_PUPIL[0] - LEFT_PUPIL[0])  # its width on the face
        self.x, self.y = _grid(self.fine, pose)
        self.ax = self.x.abs()
        self.direction = functional.normalize(light[:, :3], dim=1)[
            ..., None, None
        ]  # (N, 3, 1, 1); up is positive
        right = torch.sigmoid(self.x / 0.05)  # how far a point belongs to the right
        self.au = {
            unit: units[:, 0, i, None, None] * (1 - right) + units[:, 1, i, None, None] * right
            for i, unit in enumerate(UNITS)
        }
        self.mean = {
            unit: units[:, :, i].mean(1)[:, None, None] for i, unit in enumerate(UNITS)
        }  # of both sides
        self._move_brows_and_lids()
        self._move_mouth()

    def _move_brows_and_lids(self) -> None:
        a, au, ax = self.a, self.au, self.ax
        self.u = u = (ax - 0.17) / 0.62  # along the brow, from its inner to its outer end
        self.inner, outer = (1 - u).clamp(0, 1), u.clamp(0, 1)
        brow = -a["brow_height"] - a["brow_arch"] * (1 - (1.6 * u - 1).square()) + 0.05 * outer * u
        brow = brow - self.inner.square() * 0.13 * au[1] - outer * 0.12 * au[2]
        self.brow = brow + 0.10 * au[4] * (0.5 + 0.5 * self.inner) + 0.04 * au[9] * self.inner

        self.v = (ax - 0.5) / a["eye_width"]  # along the eye, -1 at its inner corner, 1 at the outer one
        self.almond = (1 - self.v.square()).clamp(0)
        tilt = -a["eye_tilt"] * self.v
        above = a["eye_opening"] + 0.065 * au[5] - 0.022 * au[7] - 0.020 * au[6] - 0.02 * au[9]
        below = 0.078 - 0.034 * au[7] - 0.030 * au[6] + 0.012 * au[5]
        self.upper_lid = tilt - self.almond.sqrt() * 0.5 * (1 + self.almond) * above.clamp(0.012)
        self.lower_lid = tilt + self.almond * below.clamp(0.015)

    def _move_mouth(self) -> None:
        a, au, mean, x, y = self.a, self.au, self.mean, self.x, self.y
        # The jaw takes everything below the mouth with it.
        self.drop = 0.17 * mean[26] + 0.36 * mean[27]
        self.lower = y - self.drop * _step((y - a["mouth_height"]) / (a["chin"] - a["mouth_height"]))

        half = a["mouth_width"] + 0.10 * au[12] + 0.09 * au[20] + 0.02 * au[15]
        self.half = half - 0.10 * mean[27] - 0.05 * mean[26] - 0.05 * mean[23] - 0.03 * au[14]
        self.m = self.ax / self.half  # along the mouth, 1 at its corner
        bow = (1 - self.m.square()).clamp(0)
        corner = a["mouth_tilt"] - 0.15 * au[12] + 0.12 * au[15] - 0.03 * au[14] + 0.02 * au[20]
        corner = corner + 0.45 * self.drop  # an open mouth is an oval
        self.line = a["mouth_height"] + corner * self.m.square() - 0.05 * mean[17] * bow
        up = 0.020 * mean[25] + 0.105 * mean[10] + 0.03 * mean[12] * mean[25] + 0.02 * mean[27]
        down = 0.045 * mean[25] + 0.05 * mean[16] + 0.9 * self.drop + 0.05 * mean[12] * mean[25]
        self.upper_edge = self.line - up * bow
        self.lower_edge = self.line + down * bow.sqrt()
        self.thin = 1 - 0.45 * mean[23] - 0.65 * mean[24] - 0.2 * au[12]
        upper_lip = a["upper_lip"] * (1 - 0.28 * torch.exp(-(x / 0.05).square()))  # with Cupid's bow
        lower_lip = a["lower_lip"] * (1 + 0.15 * mean[17])
        self.lip_top = self.upper_edge - upper_lip * self.thin * bow.sqrt() * (0.6 + 0.4 * bow)
        self.lip_bottom = self.lower_edge + lower_lip * self.thin * bow.sqrt() * (0.5 + 0.5 * bow)

    def draw(self) -> Tensor:
        """Layer over layer: (N, size, size, 3)."""
        inside = self._outline() - self.ax  # > 0 within the outline of the head
        lit, shine = self._shade(self._relief())
        image = self._skin(lit, shine)
        image = self._eyes(image, lit)
        image = self._mouth(image, lit)
        image = self._glasses(image)
        image = self._surroundings(image, lit, inside)
        image = functional.avg_pool2d(image * self.light[:, 4:, None, None], SAMPLES)
        return image.clamp(0, 1).pow(0.8).permute(0, 2, 3, 1).contiguous()

    def _outline(self) -> Tensor:
        """Half the width of the head at each height."""
        a, y = self.a, self.lower
        below = ((y - 0.15) / (a["chin"] - 0.15)).clamp(0, 1)
        above = ((0.15 - y) / 1.75).clamp(0, 1)
        taper = (1 - below.pow(a["jaw"])).clamp(0).sqrt()
        return a["head_width"] * torch.where(y > 0.15, taper, (1 - above.pow(2.4)).sqrt())

    def _relief(self) -> Tensor:
        """The height z towards the viewer."""
        a, au, mean, x, y, ax = self.a, self.au, self.mean, self.x, self.y, self.ax
        round_ = (1 - (ax / self._outline().clamp(0.05)).square()).clamp(0)
        reach = torch.where(self.lower > 0.25, a["chin"] - 0.15, 2.2)
        tall = (1 - ((self.lower - 0.25) / reach).square()).clamp(0)
        z = 0.95 * (round_ * (0.15 + 0.85 * tall) + 1e-3).sqrt()

        # Cheekbones and brow ridge; the socket, the ball in it, the pouch below.
        cheek = 0.55 - 0.10 * au[6] - 0.05 * au[12]
        z = z + (a["cheekbones"] + 0.05 * au[6] + 0.05 * au[12]) * _bump(ax - 0.66, y - cheek, 0.22, 0.20)
        z = z + a["brow_ridge"] * _bump(ax - 0.42, y - self.brow - 0.06, 0.36, 0.09)
        z = z - 0.10 * _bump(ax - 0.42, y + 0.03, 0.20, 0.15) + 0.05 * _bump(ax - 0.5, y, 0.16, 0.10)
        z = z + 0.05 * (au[6] + 0.5 * au[7]) * _bump(ax - 0.5, y - self.lower_lid - 0.07, 0.20, 0.035)

        # The nose: its back rises towards the tip and ends below it; the wings beside.
        tip = a["nose_length"]
        along = ((y + 0.12) / (tip + 0.12)).clamp(0, 1)
        profile = (0.18 + 0.82 * along.pow(1.6)) * _step((tip + 0.15 - y) / 0.24) * _step((y + 0.25) / 0.3)
        z = z + a["nose_height"] * profile * torch.exp(-(ax / (0.10 + 0.05 * along)).square())
        wing = tip + 0.03 - 0.045 * au[9] - 0.03 * au[10]
        z = z + 0.11 * _bump(ax - a["nose_width"], y - wing, 0.065, 0.075)

        # The mouth: the arch of the teeth, the philtrum, the lips, the groove below them; the chin.
        z = z + 0.07 * _bump(x, y - a["mouth_height"], 0.42, 0.26)
        philtrum = _step((self.lip_top - y) / 0.04) * _step((y - tip - 0.08) / 0.05)
        z = z - 0.018 * torch.exp(-(x / 0.035).square()) * philtrum
        z = z + 0.050 * self.thin * _between(y, self.lip_top, self.upper_edge)
        z = z + 0.065 * self.thin * _between(y, self.lower_edge, self.lip_bottom)
        z = z - 0.035 * _bump(x, y - self.lip_bottom - 0.06, 0.22, 0.05)
        below_lip = self.lower - a["chin"] + 0.27 + 0.07 * mean[17]
        z = z + (a["chin_bump"] + 0.03 * mean[17]) * _bump(x, below_lip, 0.24, 0.17)
        ripple = torch.cos(x * 90) * torch.cos(self.lower * 80)
        z = z + 0.006 * mean[17] * ripple * _bump(x, below_lip, 0.16, 0.12)
        return z + self._folds()

    def _folds(self) -> Tensor:
        """Valleys in the skin, which age deepens a little and action units much."""
        a, au, y, ax, age = self.a, self.au, self.y, self.ax, self.a["age"]
        # From the wings of the nose around the corners of the mouth.
        start, tip = a["nose_width"] + 0.06, a["nose_length"]
        w = (y - tip + 0.02) / (a["mouth_height"] - tip + 0.10)  # along the fold
        path = start + (self.half + 0.10 - start) * w.clamp(0, 1.2) + 0.05 * au[12]
        depth = 0.018 * age + 0.042 * au[12] + 0.042 * au[10] + 0.036 * au[9] + 0.015 * au[6]
        depth = depth * _step((w + 0.1) / 0.3) * _step((1.15 - w) / 0.35)
        z = depth * (
            0.6 * torch.exp(-((ax - path - 0.13) / 0.10).square()) - torch.exp(-((ax - path) / 0.05).square())
        )
        # Beside and below the corners of the mouth.
        z = z - 0.05 * au[14] * _bump(ax - self.half - 0.05, y - self.line, 0.045, 0.07)
        z = z - 0.03 * au[15] * _bump(ax - self.half - 0.02, y - self.line - 0.07, 0.04, 0.07)
        # Between the brows, across the forehead, over the root of the nose, beside the eyes.
        z = z - (0.012 * age + 0.050 * au[4]) * _bump(ax - 0.085, y - self.brow - 0.02, 0.028, 0.13)
        forehead = _step((self.brow - 0.07 - y) / 0.1) * _step((y + 0.98) / 0.2)
        waves = torch.cos((y - 0.25 * (self.brow + a["brow_height"])) * 42)
        raised = 0.5 * (au[1] * (0.3 + self.inner) + au[2])
        z = z + (0.0025 * age + 0.010 * raised.clamp(0, 1)) * waves * forehead
        z = z + 0.012 * au[9] * torch.cos(y * 75 + 20 * ax) * _bump(ax - 0.09, y - 0.10, 0.10, 0.16)
        crow = torch.cos((y - 0.05) * 70 / (0.5 + ax)) * _bump(ax - 0.86, y - 0.04, 0.07, 0.16)
        return z + (0.002 * age + 0.007 * au[6]) * crow

    def _shade(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """How much light each point sends back diffusely, and as a shine."""
        step = 2 * self.pixel / SAMPLES
        slope_x, slope_y = _difference(z, 2) / step, _difference(z, 1) / step
        length = (slope_x.square() + slope_y.square() + 1).sqrt()
        across, up, front = self.direction.unbind(1)
        facing = (-slope_x * across + slope_y * up + front) / length
        hollow = (1 + 2.2 * (z - _blur(z, self.fine // 12)).clamp(-0.2, 0.05)).clamp(
            0.4, 1.1
        )  # gets less light
        ambient = self.light[:, 3, None, None]
        lit = ambient * (0.65 + 0.35 / length) * hollow + (1 - ambient) * ((facing + 0.15) / 1.15).clamp(0)
        shine = ((2 * facing / length - front).clamp(0) * (facing > 0)).pow(14)
        return lit, shine

    def _skin(self, lit: Tensor, shine: Tensor) -> Tensor:
        """Skin with lips, nostrils, brows and beard."""
        a, x, y, ax = self.a, self.x, self.y, self.ax
        self.noise = _skin_noise(self.texture, self.fine)
        self.skin = _palette(SKIN, a["melanin"])
        self.hair = _palette(HAIR, a["hair_shade"])
        tip = a["nose_length"]
        flush = 0.8 * _bump(ax - 0.62, y - 0.55, 0.28, 0.24) + 0.5 * _bump(x, y - tip, 0.16, 0.12)
        blush = a["redness"] * flush + 0.25 * _bump(ax - 0.5, y - 0.2, 0.25, 0.08)
        color = self.skin * torch.stack([1 + 0.02 * blush, 1 - 0.11 * blush, 1 - 0.11 * blush], 1)
        color = color * (1 + 0.03 * self.noise)[:, None]

        beard = a["beard"].clamp(0, 0.75) * _step((self.lower - 0.75 - 0.25 * (1 - ax).clamp(0)) / 0.25)
        beard = beard * (1 - 0.6 * _bump(x, self.lip_bottom - y, 0.12, 0.06))
        beard = beard * (0.8 + 0.4 * self.noise).clamp(0, 1)
        color = _over(color, self.hair * 0.9 + 0.05 * self.skin, beard)

        lips = _cover(y - self.lip_top, self.pixel) * _cover(self.lip_bottom - y, self.pixel) * (self.m < 1)
        color = _over(color, self.skin * _solid(0.86, 0.58, 0.56), 0.75 * lips)
        nostrils = _bump(ax - 0.085, y - tip - 0.085 + 0.03 * self.au[9], 0.045, 0.022)
        color = _over(color, 0.25 * self.skin, 0.9 * nostrils)

        thickness = a["brow_thickness"] * (1.15 - 0.75 * self.u.clamp(0, 1))
        brows = _cover(thickness - (y - self.brow).abs(), 2 * self.pixel)
        brows = brows * _step((self.u + 0.05) / 0.12) * _step((1.04 - self.u) / 0.25)
        color = _over(color, self.hair * 0.8, brows * (0.75 + 0.2 * self.noise).clamp(0, 0.95))
        return color * lit[:, None] + 0.10 * (shine * (1 - 0.8 * beard))[:, None]

    def _eyes(self, image: Tensor, lit: Tensor) -> Tensor:
        x, y, v = self.x, self.y, self.v
        center = torch.hypot(self.ax - 0.5, y + 0.005)
        ball = _over(
            _solid(0.78, 0.75, 0.73).expand_as(image),
            _palette(IRIS, self.a["iris_shade"]),
            _cover(0.098 - center, self.pixel),
        )
        ball = _over(ball, _solid(0.02, 0.02, 0.02), _cover(0.042 - center, self.pixel))
        glint = x - torch.sign(x) * 0.5 - 0.03 * self.direction[:, 0].sign()
        ball = ball + 0.8 * _bump(glint, y + 0.04, 0.014, 0.014)[:, None]
        shadow = 1 - 0.45 * torch.exp(-((y - self.upper_lid) / 0.035).clamp(0).square())
        open_ = (
            _cover(y - self.upper_lid, self.pixel)
            * _cover(self.lower_lid - y, self.pixel)
            * (self.almond > 0)
        )
        image = _over(image, ball * (shadow * _deep(lit))[:, None], open_)

        lashes = torch.exp(-((y - self.upper_lid) / 0.016).square()) * (v.abs() < 1.08)
        image = _over(image, _solid(0.04, 0.04, 0.04), 0.8 * lashes)
        lashes = torch.exp(-((y - self.lower_lid) / 0.010).square()) * (v.abs() < 1)
        image = _over(image, image * 0.45, 0.5 * lashes)
        crease = torch.exp(-((y - self.upper_lid + 0.055 - 0.03 * self.au[5]) / 0.014).square())
        return _over(image, image * 0.6, 0.6 * crease * (v.abs() < 1.1))

    def _mouth(self, image: Tensor, lit: Tensor) -> Tensor:
        """The inside of the mouth, and the seam of the lips."""
        a, mean, y, m = self.a, self.mean, self.y, self.m
        upper = _cover(a["mouth_height"] + 0.055 - 0.06 * mean[27] - 0.03 * m.square() - y, self.pixel)
        upper = upper * _step((1.05 - m) / 0.25)
        lower = _cover(y - a["mouth_height"] - 0.9 * self.drop - 0.06 + 0.02 * m.square(), self.pixel)
        lower = lower * (mean[16] + mean[25] * 0.3 + mean[20] * 0.4).clamp(0, 1) * _step((0.9 - m) / 0.3)
        cavity = _over(_solid(0.13, 0.04, 0.04).expand_as(image), _solid(0.74, 0.71, 0.65), upper)
        cavity = _over(cavity, _solid(0.60, 0.57, 0.52), lower)
        # Little light enters a narrow gap.
        light = (0.35 + 0.65 * ((self.lower_edge - self.upper_edge) / 0.12).clamp(0, 1)) * _deep(lit)
        gap = _cover(y - self.upper_edge, self.pixel) * _cover(self.lower_edge - y, self.pixel) * (m < 1)
        image = _over(image, cavity * light[:, None], gap)
        seam = torch.exp(-((y - self.upper_edge) / 0.014).square()) * (m < 1.04)
        return _over(image, image * 0.3, 0.75 * seam * (1 - gap * upper))

    def _glasses(self, image: Tensor) -> Tensor:
        y, ax = self.y, self.ax
        rim = ((ax - 0.5) / 0.36).abs().pow(2.6) + ((y - 0.05) / 0.27).abs().pow(2.6)
        frame = torch.exp(-((rim.clamp(1e-3).pow(1 / 2.6) - 1) / 0.05).square())
        frame = torch.maximum(frame, torch.exp(-((y + 0.03) / 0.025).square()) * (ax < 0.15))
        frame = torch.maximum(frame, torch.exp(-((y + 0.05) / 0.03).square()) * (ax > 0.86))
        return _over(image, _solid(0.06, 0.06, 0.06), 0.9 * frame * (self.a["glasses"] > 0))

    def _surroundings(self, image: Tensor, lit: Tensor, inside: Tensor) -> Tensor:
        """Wall, neck, ears and hair, behind the head and over its edge."""
        a, y, ax, skin = self.a, self.y, self.ax, self.skin
        strands = 1 + 0.35 * _strands(self.texture, self.fine)
        behind = (0.42 + 0.10 * self.direction[:, 0] * self.x - 0.05 * y)[:, None].expand_as(image)
        neck = torch.minimum(0.80 * a["head_width"] - ax, self.lower - 1.0)
        shade = (0.35 + 0.5 * lit.mean((1, 2), keepdim=True)) * (1 - 0.6 * (ax / 0.9).clamp(0, 1).square())
        behind = _over(behind, 0.62 * skin * shade[:, None], _cover(neck, self.pixel))
        ear = 1 - ((ax - a["head_width"] - 0.02) / 0.11).square() - ((y - 0.22) / 0.32).square()
        behind = _over(
            behind, skin * (shade * (0.75 + 0.25 * ear.clamp(0, 1)))[:, None], _cover(ear * 0.1, self.pixel)
        )
        locks = self.hair * (strands * (0.45 + 0.55 * (1 - (ax / 1.4).square()).clamp(0)))[:, None]
        ends = a["hair_length"].clamp(min=-0.25) + 0.10 * strands - 0.5 * (ax - 1).clamp(0)
        mane = torch.minimum(1.55 - torch.hypot(ax * 1.2, (y + 0.1).clamp(max=0)), 0.35 * (ends - y))
        behind = _over(behind, locks, _cover(mane, 4 * self.pixel))
        image = _over(behind, image, _cover(inside, 1.5 * self.pixel))
        top = 0.45 * (ax / a["head_width"]).pow(4) - a["hair_line"] + 0.03 * self.noise
        fringe = torch.maximum(top - y, torch.minimum(0.05 - inside, -0.12 - y))
        fringe = _cover(fringe, 5 * self.pixel) * _cover(inside, self.pixel)
        return _over(image, locks * (0.35 + 0.65 * lit)[:, None], fringe)


def _tensor(values: np.ndarray) -> Tensor:
    """float32, with two dimensions more if it is a number for each face."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return tensor[:, None, None] if tensor.ndim == 1 else tensor


def _grid(fine: int, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Where on the face each sample lies: x, y of shape (N, fine, fine)."""
    pupils = RIGHT_PUPIL[0] - LEFT_PUPIL[0]
    samples = torch.arange(fine, dtype=torch.float32)
    place = (samples + 0.5) * (SIZE / fine) - 0.5  # in pixels of a 64 x 64 frame
    x = (place - (LEFT_PUPIL[0] + RIGHT_PUPIL[0]) / 2) / pupils
    y = (place - LEFT_PUPIL[1]) / pupils
    turn, nod, tilt, right, down = pose.T[..., None, None]
    x, y = x[None, None, :] - right, y[None, :, None] - down
    x, y = x * tilt.cos() + y * tilt.sin(), y * tilt.cos() - x * tilt.sin()
    # What is nearer to the viewer than the pupils moves further when the head turns.
    near = 0.75 * (1 - (x / 1.1).square() - ((y - 0.4) / 1.9).square()).clamp(0).sqrt() - 0.62
    return x - turn.sin() * near, y - nod.sin() * near


def _step(t: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


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


def _solid(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue])[:, None, None]  # (3, 1, 1)


def _deep(lit: Tensor) -> Tensor:
    """The light on eyes and teeth, which lie deeper than the relief says."""
    return 0.55 + 0.45 * lit.clamp(0, 1)


def _palette(colors: tuple[tuple[float, ...], ...], where: Tensor) -> Tensor:
    """Colors between those of a palette, at 0 to 1: (N, 3, 1, 1)."""
    table = torch.tensor(colors)
    place = where.flatten() * (len(table) - 1)
    low = place.floor().long().clamp(0, len(table) - 2)
    return torch.lerp(table[low], table[low + 1], (place - low)[:, None])[..., None, None]


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
