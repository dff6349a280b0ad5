"""Draws faces: the relief of `geometry`, colored and lit. No model files.

Light follows the slopes of the relief, casts shadows on it and dims its hollows; skin, hair, eyes and mouth
are layers of color over it, each with a soft edge. Colors are mixed in linear light, and become sRGB at last.

All of it is float64. Processors round sums differently, and in float32 that changed a pixel here and there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data_prep.align import LEFT_PUPIL, RIGHT_PUPIL
from data_prep.synthetic import geometry
from data_prep.synthetic.geometry import Geometry, bump, hill, image_to_face, smooth_step
from eifn.database import SIZE

SKIN = (
    (0.92, 0.75, 0.65),
    (0.87, 0.67, 0.55),
    (0.79, 0.58, 0.43),
    (0.64, 0.43, 0.30),
    (0.46, 0.29, 0.20),
    (0.31, 0.19, 0.14),
)
HAIR = ((0.06, 0.05, 0.05), (0.22, 0.14, 0.10), (0.42, 0.27, 0.16), (0.70, 0.55, 0.34))
IRIS = ((0.20, 0.11, 0.07), (0.34, 0.23, 0.13), (0.36, 0.42, 0.33), (0.42, 0.55, 0.66))
"""sRGB colors from dark to light or, for skin, from no melanin to much."""

PUPILS = RIGHT_PUPIL[0] - LEFT_PUPIL[0]
"""Pixels of a 64 x 64 frame between the pupils."""

CHUNK = 8
"""Faces of 64 x 64 at a time: about as many as fit the cache of a processor."""


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
        texture: a seed of each person's skin and hair, int (N,).
        size: of the images, in pixels.

    Returns:
        sRGB of 0 to 1, float64 (N, size, size, 3).
    """
    faces, chunk = [], max(1, CHUNK * SIZE**2 // size**2)
    with torch.inference_mode():
        for start in range(0, len(units), chunk):
            part = slice(start, start + chunk)
            tensors = {name: _tensor(value[part]) for name, value in anatomy.items()}
            of = [_tensor(values[part]) for values in (units, pose, light)]
            faces.append(_Picture(tensors, *of, texture[part], size).draw())
    return torch.cat(faces).numpy()


def landmarks(
    anatomy: Mapping[str, np.ndarray], units: np.ndarray, *, pose: np.ndarray, size: int = SIZE
) -> np.ndarray:
    """Where the landmarks of a batch of faces are in the pictures that `render` draws of them.

    Args:
        anatomy, units, pose, size: as for `render`.

    Returns:
        (x, y) in pixels, pixel centers at integers, float32 (N, len(geometry.LANDMARKS), 2).
    """
    tensors = {name: _tensor(value) for name, value in anatomy.items()}
    places = geometry.landmarks(tensors, _tensor(units), _tensor(pose)).numpy()
    middle = np.add(LEFT_PUPIL, RIGHT_PUPIL) / 2
    return ((places * PUPILS + middle + 0.5) * (size / SIZE) - 0.5).astype(np.float32)


class _Picture:
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
        self.samples = 2 if size < 2 * SIZE else 1  # along each side of a pixel, against jagged edges
        self.fine = size * self.samples
        self.step = SIZE / self.fine / PUPILS  # between samples, on the face
        self.edge = SIZE / size / PUPILS  # the width of a soft edge: a pixel
        x, y = image_to_face(*_grid(self.fine, len(units)), pose)
        self.g = Geometry(anatomy, units, x, y)
        self.a, self.light = anatomy, light
        self.sun = functional.normalize(light[:, :3], dim=1)[..., None, None]  # (N, 3, 1, 1); up is positive
        self.skin = _palette(SKIN, anatomy["melanin"])
        grey = _solid(0.55, 0.54, 0.53)
        self.hair = torch.lerp(_palette(HAIR, anatomy["hair_shade"]), grey, anatomy["grey_hair"][:, None])
        self.noise, self.fine_noise, self.strands = (
            _noise(texture, kind, self.fine, grids) * scale
            for kind, grids, scale in (
                (1, ((9, 9), (24, 24)), 0.7),
                (2, ((64, 64), (160, 160)), 0.7),
                (3, ((7, 130), (5, 48)), 0.7),
            )
        )

    def draw(self) -> Tensor:
        """Layer over layer: (N, size, size, 3)."""
        inside = self.g.outline() - self.g.ax  # > 0 within the outline of the head
        z = self.g.relief()
        lit, shine = self._shade(z)
        self.around = _blur(lit.mean(1), 0.12, self.step)  # the light on what lies in holes
        image = self._skin(lit, shine)
        image = self._eyes(image, lit)
        image = self._mouth(image)
        image = self._glasses(image, lit)
        image = self._surroundings(image, inside)
        image = functional.avg_pool2d(image * self.light[:, 4:, None, None], self.samples)
        image = 1 - torch.exp(-1.3 * image.clamp(0))  # as film does: bright places keep some detail
        return image.pow(1 / 2.2).permute(0, 2, 3, 1).contiguous()

    def _shade(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """How much light each point of a relief sends back: in three colors, and as a shine."""
        slope_x, slope_y = _difference(z, 2) / (2 * self.step), _difference(z, 1) / (2 * self.step)
        length = (slope_x.square() + slope_y.square() + 1).sqrt()
        across, up, front = self.sun.unbind(1)
        facing = (-slope_x * across + slope_y * up + front) / length
        direct = ((facing + 0.12) / 1.12).clamp(0) * self._shadow(z)
        hollow = 1 + 1.7 * (z - _blur(z, 0.20, self.step)).clamp(-0.25, 0.04)
        hollow = hollow + 2.0 * (z - _blur(z, 0.07, self.step)).clamp(-0.10, 0.03)
        sky = (0.45 + 0.30 * slope_y / length + 0.40 / length) * hollow.clamp(0.25, 1.1)
        ambient = self.light[:, 3, None, None]
        lit = 1.35 * (ambient * sky + (1 - ambient) * direct * 1.08 * (0.5 + 0.5 * hollow.clamp(0.3, 1.1)))
        # Light that entered the skin leaves it a little further on, red light furthest.
        soft = _blur(lit, 0.05, self.step)
        lit = torch.stack([torch.lerp(lit, soft, share) for share in (0.65, 0.35, 0.25)], 1)
        half_x, half_y, half_z = across, up, front + 1
        norm = (half_x.square() + half_y.square() + half_z.square()).sqrt()
        glance = ((-slope_x * half_x + slope_y * half_y + half_z) / length / norm).clamp(0)
        shine = (0.07 * glance.pow(10) + 0.06 * glance.pow(40)) * (1 - ambient) * direct.clamp(0, 1)
        return lit, shine * hollow.clamp(0, 1)

    def _shadow(self, z: Tensor) -> Tensor:
        """0 where the relief itself stands in the light, 1 where it does not."""
        across, up, front = self.sun.unbind(1)
        flat = torch.hypot(across, up).clamp(1e-3)
        shadow = torch.ones_like(z)
        base = _unit_grid(z.shape[1], len(z))  # (N, H, W, 2)
        towards = (torch.cat([across, -up], 2) / flat)[:, None]  # (N, 1, 1, 2)
        for distance in (0.05, 0.09, 0.15, 0.24, 0.36):
            grid = base + towards * (distance / (self.fine * self.step / 2))
            there = functional.grid_sample(z[:, None], grid, align_corners=False, padding_mode="border")[:, 0]
            above = there - z - distance * front / flat
            shadow = torch.minimum(shadow, 1 - smooth_step((above + 0.01) / (0.03 + 0.25 * distance)))
        return 0.25 + 0.75 * shadow

    def _skin(self, lit: Tensor, shine: Tensor) -> Tensor:
        """Skin with lips, nostrils, brows and beard."""
        a, g = self.a, self.g
        x, y, ax = g.x, g.y, g.ax
        flush = 0.9 * bump(ax - 0.64, y - 0.55, 0.30, 0.26) + 0.8 * bump(x, y - g.tip, 0.18, 0.14)
        blush = a["redness"] * flush + 0.35 * bump(ax - 0.5, y - 0.02, 0.32, 0.13) + 0.25 * self.noise
        blush = blush + 0.3 * bump(x, y - a["chin"] + 0.25, 0.3, 0.2)
        color = self.skin * torch.stack([1 + 0.02 * blush, 1 - 0.16 * blush, 1 - 0.15 * blush], 1)
        dark = 0.10 * bump(ax - 0.42, y - 0.16, 0.20, 0.10) * (0.5 + a["age"])  # under the eyes
        color = color * (1 + 0.05 * self.noise + 0.035 * self.fine_noise - dark)[:, None]
        freckles = a["freckles"].clamp(0, 1) * smooth_step((self.fine_noise - 0.5) / 0.6)
        freckles = freckles * bump(ax - 0.40, y - 0.45, 0.45, 0.32)
        color = _over(color, 0.62 * self.skin, 0.6 * freckles)

        beard = a["beard"].clamp(0, 1)
        area = smooth_step((g.lower - 0.62 - 0.42 * (1.05 - ax).clamp(0)) / 0.28)
        area = torch.maximum(area, smooth_step((g.lower - g.wing - 0.14) / 0.08) * bump(x, 0 * x, 0.42, 1))
        area = area * (1 - bump(x, g.lip_bottom + 0.03 - y, 0.10, 0.05))
        grain = (0.75 + 0.45 * self.fine_noise + 0.25 * self.strands).clamp(0, 1)
        beard = (area * beard * torch.lerp(grain, torch.ones_like(grain), 0.35 * beard)).clamp(0, 0.92)
        color = _over(color, self.hair * 0.85 + 0.06 * self.skin, beard)

        lips = _cover(y - g.lip_top, 1.5 * self.edge + 0.01) * _cover(
            g.lip_bottom - y, 1.5 * self.edge + 0.01
        )
        lips = lips * smooth_step((1.03 - g.m) / 0.10)
        red = self.skin * torch.lerp(
            _solid(0.84, 0.60, 0.58), _solid(0.80, 0.36, 0.38), a["lipstick"].clamp(0, 1)[:, None]
        )
        streaks = 1 + 0.05 * self.strands
        color = _over(color, red * streaks[:, None], 0.85 * lips)
        shine = shine * (1 + 1.2 * lips)
        nostrils = bump(ax - 0.52 * g.wing_x, y - g.wing - 0.075, 0.24 * a["nose_width"], 0.026)
        color = _over(color, 0.10 * self.skin, 0.95 * smooth_step(1.5 * nostrils))

        along = g.u.clamp(0, 1)
        thickness = a["brow_thickness"] * smooth_step((g.u + 0.12) / 0.25) * (1.2 - 0.8 * along.square())
        soft = 0.035 + 1.2 * self.edge
        brows = _cover(thickness - (y - g.brow).abs(), soft)
        brows = brows * smooth_step((g.u + 0.10) / 0.14) * smooth_step((1.06 - g.u) / 0.20)
        strokes = torch.cos(g.u * 70 + (y - g.brow) * 50 + 5 * self.noise + 2 * self.strands)
        hairs = (0.85 + 0.15 * strokes + 0.10 * self.fine_noise).clamp(0.4, 1)
        color = _over(color, 0.75 * self.hair + 0.03 * self.skin, 0.92 * brows * hairs)
        rough = (1 - 0.9 * beard) * (1 - 0.7 * brows) * (1 + 0.15 * self.fine_noise)
        return color * lit + (shine * rough)[:, None]

    def _eyes(self, image: Tensor, lit: Tensor) -> Tensor:
        g = self.g
        dx, dy = g.ax - 0.5, g.y + 0.005
        center = torch.hypot(dx, dy)
        angle = torch.atan2(dy, dx)
        threads = 0.12 * torch.cos(angle * 17 + 9 * self.noise) + 0.10 * torch.cos(angle * 31)
        iris = _palette(IRIS, self.a["iris_shade"])
        iris = (
            iris
            * (
                1
                + threads
                - 0.55 * smooth_step((center - 0.065) / 0.032)
                + 0.3 * bump(dx, dy - 0.05, 0.06, 0.05)
            )[:, None]
        )
        white = _solid(0.80, 0.77, 0.75) * (1 - 0.45 * smooth_step((g.v.abs() - 0.3) / 0.8))[:, None]
        ball = _over(white.expand_as(image), iris, _cover(0.097 - center, self.edge + 0.008))
        ball = _over(ball, _solid(0.01, 0.01, 0.01), _cover(0.040 - center, self.edge + 0.008))
        shadow = 1 - 0.55 * hill(((g.y - g.upper_lid) / 0.040).clamp(0))
        deep = 0.30 + 0.70 * self.around
        ball = ball * (shadow * deep)[:, None]
        across, up = self.sun[:, 0], self.sun[:, 1]
        glint = bump(
            g.x - g.x.sign() * 0.5 - 0.045 * across,
            dy + 0.02 + 0.04 * up,
            0.016 + self.edge / 3,
            0.016 + self.edge / 3,
        )
        ball = ball + 0.75 * glint[:, None]
        eye = smooth_step((1 - g.v.abs()) / 0.06)
        open_ = (
            _cover(g.y - g.upper_lid, self.edge + 0.008) * _cover(g.lower_lid - g.y, self.edge + 0.008) * eye
        )

        # The pink inner corner, the rims of the lids.
        corner = bump(g.v + 0.93, dy - 0.01, 0.13, 0.05)
        ball = _over(ball, 0.75 * self.skin * _solid(0.95, 0.60, 0.58) * deep[:, None], 0.8 * corner)
        image = _over(image, ball, open_)
        rim = hill((g.y - g.lower_lid - 0.006) / 0.010) * eye
        image = _over(image, self.skin * _solid(0.92, 0.74, 0.72) * lit, 0.45 * rim)
        lashes = hill((g.y - g.upper_lid + 0.004) / (0.013 + 0.3 * self.edge))
        lashes = lashes * smooth_step((1.12 - g.v.abs()) / 0.12) * (0.75 + 0.25 * smooth_step(g.v + 0.5))
        image = _over(image, 0.03 + 0.10 * self.hair.expand_as(image), 0.85 * lashes)
        below = hill((g.y - g.lower_lid - 0.012) / 0.010) * smooth_step((g.v + 0.4) / 0.8) * eye
        image = _over(image, image * 0.5, 0.40 * below)
        crease = hill((g.y - g.crease) / 0.015) * smooth_step((1.10 - g.v.abs()) / 0.3)
        return _over(image, image * 0.60, 0.60 * crease)

    def _mouth(self, image: Tensor) -> Tensor:
        """The inside of the mouth, and the seam of the lips."""
        a, mean, g = self.a, self.g.mean, self.g
        y, m = g.y, g.m
        inside = g.x / 0.40
        edge_up = a["mouth_height"] + 0.060 - 0.03 * inside.square() - 0.06 * mean[26] - 0.09 * mean[27]
        upper = _cover(edge_up - y, self.edge + 0.01) * smooth_step((1.05 - inside.abs()) / 0.35)
        edge_down = a["mouth_height"] + g.drop + 0.065 + 0.02 * inside.square() - 0.02 * mean[16]
        lower = _cover(y - edge_down, self.edge + 0.01) * smooth_step((0.85 - inside.abs()) / 0.35)
        gaps = 1 - 0.22 * (torch.cos(g.x * 42).clamp(0)).pow(10)
        tooth = _solid(0.92, 0.89, 0.82) * (gaps * (1 - 0.45 * inside.square().clamp(0, 1)))[:, None]
        tongue = bump(g.x, y - a["mouth_height"] - 0.85 * g.drop - 0.02, 0.24, 0.12)
        cavity = _over(
            _solid(0.05, 0.015, 0.015).expand_as(image),
            _solid(0.36, 0.11, 0.11).expand_as(image),
            0.8 * tongue * smooth_step(g.drop / 0.15),
        )
        cavity = _over(cavity, 0.80 * tooth, 0.85 * lower)
        cavity = _over(cavity, tooth, upper)
        # Little light enters a narrow gap, and less further in.
        opening = (g.lower_edge - g.upper_edge).clamp(0)
        deep = 0.25 + 0.75 * self.around
        light = (0.40 + 0.60 * (opening / 0.10).clamp(0, 1)) * deep
        light = light * (1 - 0.6 * hill(((y - g.upper_edge) / 0.03).clamp(0)))
        gap = _cover(y - g.upper_edge, self.edge + 0.004) * _cover(g.lower_edge - y, self.edge + 0.004)
        gap = gap * smooth_step((1 - m) / 0.04) * smooth_step(opening / 0.012)
        image = _over(image, cavity * light[:, None], gap)
        seam = hill((y - g.upper_edge) / (0.012 + 0.2 * self.edge)) * smooth_step((1.06 - m) / 0.10)
        return _over(image, image * 0.15, 0.85 * seam * (1 - gap * upper))

    def _glasses(self, image: Tensor, lit: Tensor) -> Tensor:
        worn = (self.a["glasses"].flatten() > 0).nonzero()[:, 0]
        x, y, ax = (values[worn] for values in (self.g.x, self.g.y, self.g.ax))
        shape = 2.2 + 2 * self.a["glasses"][worn].clamp(0, 1)  # round to square
        rim = ((ax - 0.5) / 0.37).abs().pow(shape) + ((y - 0.05) / 0.25).abs().pow(shape)
        rim = rim.clamp(1e-3).pow(1 / shape) - 1  # 0 on the rim, negative on the glass

        def frame(offset: float, thickness: float) -> Tensor:
            bridge = hill((y + 0.04 - offset / 3) / (thickness / 2.5)) * (ax < 0.16)
            temples = hill((y + 0.06 - offset / 3) / (thickness / 2.5)) * (ax > 0.86) * (ax < 1.15)
            return torch.maximum(hill((rim + offset) / thickness), torch.maximum(bridge, temples))

        face = image[worn]
        face = _over(face, face * 0.65, 0.6 * frame(-0.10, 0.09))  # its shadow
        glare = smooth_step((x * self.sun[worn, 0] - y + 0.1 - (ax - 0.5) * 0.3) / 0.5)
        face = face + 0.05 * (glare * smooth_step(-rim / 0.1))[:, None]
        image[worn] = _over(face, 0.05 + 0.05 * lit[worn], 0.92 * frame(0, 0.055))
        return image

    def _surroundings(self, image: Tensor, inside: Tensor) -> Tensor:
        """Wall, neck, ears and hair, behind the head and over its edge."""
        a, g, skin = self.a, self.g, self.skin
        x, y, ax = g.x, g.y, g.ax
        across = self.sun[:, 0]
        wall = (0.20 + 0.05 * across * x - 0.03 * y + 0.01 * self.noise)[:, None].expand_as(image)
        # The neck is a cylinder in the shadow of the jaw.
        half = 0.78 * a["head_width"] + 0.05 * ((y - 1.4) / 0.5).clamp(0).square()
        s = (x / half).clamp(-1, 1)
        round_ = 0.45 * (1 - s.square()).clamp(0).sqrt() + 0.35 * s * across + 0.25
        under = (g.lower - a["chin"] + 0.55 * ax.square() + 0.05).clamp(0)
        neck_light = round_.clamp(0.05) * (0.30 + 0.55 * smooth_step(under / 0.55))
        neck = _cover(half - ax, 1.5 * self.edge) * smooth_step((g.lower - 0.7) / 0.1)
        image_behind = _over(wall, skin * _solid(0.96, 0.90, 0.88) * neck_light[:, None], neck)
        # Ears.
        ex, ey = (ax - a["head_width"] - 0.015) / 0.13, (y - 0.20) / 0.33
        ear = 1 - ex.square() - (ey - 0.25 * ex).square()
        hollow = bump(ex - 0.15, ey + 0.05, 0.40, 0.45)
        ear_light = (0.42 + 0.25 * x.sign() * across) * (0.75 + 0.35 * ear.clamp(0, 1).sqrt() - 0.45 * hollow)
        image_behind = _over(
            image_behind,
            skin * _solid(1.0, 0.88, 0.86) * ear_light.clamp(0.05)[:, None],
            _cover(0.15 * ear, 1.5 * self.edge),
        )

        # Hair: a mass around the skull, with strands that run from the crown.
        radius = torch.hypot(x, (y + 1.55) * 0.8)
        gloss = 0.55 + 0.5 * hill((radius - 0.75) / 0.25)
        locks = self.hair * ((1 + 0.40 * self.strands) * gloss)[:, None].clamp(0.15) + 0.012
        volume = 0.10 + 0.20 * a["hair_volume"].clamp(0, 1.5)
        short = smooth_step((0.6 - a["hair_length"]) / 0.5) * smooth_step((y + 0.9) / 0.8)
        skull = torch.hypot(
            ax / (a["head_width"] + volume * (1 - short) - 0.02 * short),
            ((y - 0.1) / (1.45 + volume)).clamp(max=0),
        )
        ends = a["hair_length"].clamp(min=-0.30) + 0.05 * self.strands + 0.05 * self.noise
        mane = torch.minimum((1 - skull), 0.6 * (ends - y))
        mane = torch.minimum(mane, 0.06 + 0.35 * (y + 0.35).clamp(0) + (a["hair_line"] < 1.35).float())
        side_light = (0.45 + 0.35 * x.sign() * across)[:, None].clamp(0.15)
        image_behind = _over(
            image_behind,
            locks * side_light * (0.8 + 0.2 * self.noise)[:, None],
            _cover(mane, 3 * self.edge + 0.03),
        )
        image = _over(image_behind, image, _cover(inside, 1.5 * self.edge + 0.012))

        # Over the forehead and before the ears.
        s = ax / a["head_width"]
        side = smooth_step((s - 0.55) / 0.45)
        parted = a["hair_part"] * x * (0.3 + 0.2 * x.sign() * a["hair_part"].sign())
        line = (
            -a["hair_line"]
            + 0.50 * side.square() * (1 + 0.3 * a["hair_volume"].clamp(0, 1))
            + 0.25 * parted
            + 0.025 * self.strands
            + 0.03 * self.noise
        )
        temple = torch.minimum(
            0.07 - inside + 0.02 * self.noise,
            torch.minimum(0.30 * (ends + 0.15 - y), -0.02 - y + 0.20 * ends.clamp(0)),
        )
        fringe = torch.maximum(line - y, temple)
        over = _cover(fringe, 2 * self.edge + 0.07) * _cover(inside + 0.02, self.edge + 0.01)
        cast = _cover(fringe + 0.07, 0.14)
        image = _over(image, image * 0.72, 0.8 * cast * (1 - over))
        front_light = (0.30 + 0.75 * self.around)[:, None]
        return _over(image, locks * front_light, over * (0.9 + 0.1 * self.strands).clamp(0, 1))


def _tensor(values: np.ndarray) -> Tensor:
    """float64, with two dimensions more if it is a number for each face."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
    return tensor[:, None, None] if tensor.ndim == 1 else tensor


def _grid(fine: int, faces: int) -> tuple[Tensor, Tensor]:
    """Where in the picture each sample lies, in pupil distances: x, y of shape (N, fine, fine)."""
    place = (torch.arange(fine, dtype=torch.float64) + 0.5) * (SIZE / fine) - 0.5  # in pixels of 64 x 64
    x = (place - (LEFT_PUPIL[0] + RIGHT_PUPIL[0]) / 2) / PUPILS
    y = (place - LEFT_PUPIL[1]) / PUPILS
    return x[None, None, :].expand(faces, fine, fine), y[None, :, None].expand(faces, fine, fine)


def _unit_grid(fine: int, faces: int) -> Tensor:
    """The samples' places as `grid_sample` counts them, from -1 to 1: (N, fine, fine, 2)."""
    place = (torch.arange(fine, dtype=torch.float64) + 0.5) * (2 / fine) - 1
    return torch.stack(torch.meshgrid(place, place, indexing="xy"), 2).expand(faces, fine, fine, 2)


def _cover(inside: Tensor, width: float) -> Tensor:
    """How much of a sample lies inside, from its distance to the edge, positive inside."""
    return (inside / width + 0.5).clamp(0, 1)


def _over(under: Tensor, color: Tensor, cover: Tensor) -> Tensor:
    """A color over (N, 3, H, W), where it covers (N, H, W)."""
    return torch.lerp(under, color.expand_as(under), cover[:, None])


def _solid(red: float, green: float, blue: float) -> Tensor:
    """An sRGB color in linear light, (3, 1, 1)."""
    return torch.tensor([red, green, blue], dtype=torch.float64)[:, None, None].pow(2.2)


def _palette(colors: tuple[tuple[float, ...], ...], where: Tensor) -> Tensor:
    """Colors between those of a palette, at 0 to 1, in linear light: (N, 3, 1, 1)."""
    table = torch.tensor(colors, dtype=torch.float64)
    place = where.flatten() * (len(table) - 1)
    low = place.floor().long().clamp(0, len(table) - 2)
    return torch.lerp(table[low], table[low + 1], (place - low)[:, None])[..., None, None].pow(2.2)


def _difference(z: Tensor, dim: int) -> Tensor:
    """Between both neighbors of each sample."""
    before = torch.cat([z.narrow(dim, 0, 1), z.narrow(dim, 0, z.shape[dim] - 1)], dim)
    after = torch.cat([z.narrow(dim, 1, z.shape[dim] - 1), z.narrow(dim, z.shape[dim] - 1, 1)], dim)
    return after - before


def _blur(z: Tensor, radius: float, step: float) -> Tensor:
    """About the mean over a square around each sample, of so many pupil distances to each side."""
    reach = radius / step
    coarser = 2 ** max(0, int(np.log2(reach)) - 1)  # blurred where it is small
    small = functional.avg_pool2d(z[:, None], coarser)
    reach = max(1, round(reach / coarser))
    padded = functional.pad(small, (reach,) * 4, mode="replicate")
    size = 2 * reach + 1
    small = functional.avg_pool2d(functional.avg_pool2d(padded, (size, 1), 1), (1, size), 1)
    return functional.interpolate(small, z.shape[1:], mode="bilinear", align_corners=False)[:, 0]


def _noise(seeds: np.ndarray, kind: int, fine: int, grids: tuple[tuple[int, int], ...]) -> Tensor:
    """Random blotches, the same for the same seed: about -2 to 2, (N, fine, fine)."""
    maps, people = [], np.unique(seeds)
    for seed in people:
        generator = np.random.default_rng([kind, seed])
        layers = (_tensor(generator.standard_normal((1, 1, *grid), np.float32)) for grid in grids)
        maps.append(
            sum(
                functional.interpolate(layer, (fine, fine), mode="bicubic", align_corners=False)
                for layer in layers
            )
        )
    return torch.cat(maps)[np.searchsorted(people, seeds), 0]
