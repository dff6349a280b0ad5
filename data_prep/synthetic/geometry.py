"""The shape of a face: curves of brows, lids and lips, and a relief around them, moved by action units.

Lengths are in units of the distance between the pupils, measured on the face from the point between them:
x to the right of the image, y down, z towards the viewer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from data_prep.synthetic.action_units import UNITS

LANDMARKS = (
    *(f"{side} brow {place}" for side in ("left", "right") for place in ("inner", "middle", "outer")),
    *(f"{side} {lid} lid" for side in ("left", "right") for lid in ("upper", "lower")),
    *(f"{side} {part}" for side in ("left", "right") for part in ("nostril", "cheek", "mouth corner")),
    "upper lip top",
    "upper lip bottom",
    "lower lip top",
    "lower lip bottom",
    "chin",
)
"""What `landmarks` reports, in this order; left and right are those of the image."""


OUTER_END = 0.82
"""Of a brow."""


class Geometry:
    """The curves of a batch of faces, at some places.

    Every attribute and result is (N, H, W) or broadcasts to it. A curve is a height y for each place's x.

    Args:
        anatomy: the traits of each face's person, (N, 1, 1) each (see `data_prep.synthetic.anatomy`).
        units: intensities on the left and the right of the image, (N, 2, len(UNITS)).
        x, y: the places on the face, (N, H, W).
    """

    def __init__(self, anatomy: Mapping[str, Tensor], units: Tensor, x: Tensor, y: Tensor) -> None:
        self.a, self.x, self.y, self.ax = anatomy, x, y, x.abs()
        right = torch.sigmoid(x / 0.05)  # how far a place belongs to the right
        left, both = units[:, 0, :, None, None], units.mean(1)[..., None, None]
        change = units[:, 1, :, None, None] - left
        self.au = {unit: left[:, i] + change[:, i] * right for i, unit in enumerate(UNITS)}
        self.mean = {unit: both[:, i] for i, unit in enumerate(UNITS)}  # of both sides
        self._brows()
        self._lids()
        self._mouth()
        self._nose()

    def _brows(self) -> None:
        a, au = self.a, self.au
        self.inner_end = 0.17 - 0.05 * au[4] - 0.02 * au[9]  # frowning draws the brows together
        self.u = u = (self.ax - self.inner_end) / (OUTER_END - self.inner_end)  # along the brow
        self.inner, self.outer = inner, outer = (1 - u).clamp(0, 1), u.clamp(0, 1)
        arch = (1 - ((u - 0.62) / 0.62).square()).clamp(-1)
        rest = -a["brow_height"] - a["brow_arch"] * arch - a["brow_tilt"] * (u.clamp(-0.2, 1.1) - 0.5)
        raised = 0.17 * inner.square() * au[1] + 0.15 * outer * (1.6 - 0.6 * outer) * au[2] + 0.02 * au[5]
        lowered = 0.13 * au[4] * (0.35 + 0.65 * inner) + 0.09 * au[9] * inner
        self.brow = rest - raised + lowered

    def _lids(self) -> None:
        a, au = self.a, self.au
        self.v = v = (self.ax - 0.5) / a["eye_width"]  # along the eye, -1 at its inner corner
        self.almond = almond = (1 - v.square()).clamp(0)
        tilt = -a["eye_tilt"] * v
        above = (
            a["eye_opening"] + 0.060 * au[5] - 0.024 * au[7] - 0.020 * au[6] - 0.025 * au[9] - 0.012 * au[4]
        )
        below = 0.068 - 0.038 * au[7] - 0.030 * au[6] - 0.015 * au[9] + 0.012 * au[5]
        # The upper lid is highest on the nose's side of the pupil, the lower one lowest on the other.
        peak_up, peak_down = 1 - 0.16 * v, 1 + 0.18 * v
        self.upper_lid = tilt - almond.pow(0.65) * peak_up * above.clamp(0.012)
        self.lower_lid = tilt + almond.pow(0.85) * peak_down * below.clamp(0.010)
        lift = 0.5 * (-a["brow_height"] - self.brow).clamp(-0.1, 0.15)
        self.crease = self.upper_lid - a["lid_crease"] * (0.45 + 0.55 * almond) + 0.05 * au[5] + 0.25 * lift

    def _mouth(self) -> None:
        a, au, mean = self.a, self.au, self.mean
        # The jaw takes everything below the mouth with it.
        self.drop = 0.26 * mean[26] + 0.46 * mean[27]
        self.chin = a["chin"] + self.drop
        mouth = a["mouth_height"]
        self.lower = self.y - self.drop * smooth_step((self.y - mouth) / (self.chin - mouth))
        half = a["mouth_width"] + 0.10 * au[12] + 0.13 * au[20] + 0.02 * au[15] + 0.03 * au[10]
        half = half - 0.11 * mean[27] - 0.07 * mean[26] - 0.07 * au[23] - 0.03 * au[24] + 0.03 * au[14]
        self.half = half
        self.m = m = self.ax / half  # along the mouth, 1 at its corner
        bow = (1 - m.square()).clamp(0)
        corner = a["mouth_tilt"] - 0.17 * au[12] + 0.14 * au[15] - 0.05 * au[14] + 0.03 * au[20]
        corner = corner + 0.36 * self.drop  # an open mouth is an oval
        bend = m.clamp(max=1).square()
        self.line = mouth + corner * bend - 0.07 * mean[17] * (0.4 + 0.6 * bow) - 0.03 * mean[9]
        up = 0.018 * mean[25] + 0.085 * mean[10] + 0.050 * mean[12] * mean[25] + 0.02 * mean[27]
        up = up + 0.02 * mean[9] * mean[25]
        down = 0.050 * mean[25] + 0.085 * mean[16] + 0.93 * self.drop + 0.055 * mean[12] * mean[25]
        down = down + 0.02 * mean[20] * mean[25]
        pressed = 1 - 0.9 * mean[24]  # lips pressed together do not part
        self.upper_edge = self.line - up * bow.pow(0.8) * pressed - 0.03 * mean[10] * bow
        self.lower_edge = self.line + down * bow.sqrt() * pressed - 0.03 * mean[10] * bow
        self.thin = 1 - 0.45 * mean[23] - 0.70 * mean[24] - 0.18 * au[12] - 0.15 * au[20] - 0.1 * au[15]
        cupid = 1 - 0.22 * hill(self.x / 0.05)
        upper_lip = a["upper_lip"] * cupid * self.thin * bow.sqrt() * (0.55 + 0.45 * bow)
        lower_lip = a["lower_lip"] * (1 + 0.25 * mean[17]) * self.thin * bow.sqrt() * (0.45 + 0.55 * bow)
        self.lip_top = self.upper_edge - upper_lip * (1 - 0.15 * mean[10])
        self.lip_bottom = self.lower_edge + lower_lip

    def _nose(self) -> None:
        a, au = self.a, self.au
        self.tip = a["nose_length"] - 0.02 * self.mean[9]
        self.wing = a["nose_length"] + 0.03 - 0.075 * au[9] - 0.035 * au[10]
        self.wing_x = a["nose_width"] + 0.035 * au[9] + 0.02 * au[10] + 0.015 * au[12]
        self.cheek = 0.58 - 0.13 * au[6] - 0.07 * au[12] - 0.03 * au[9]

    def outline(self) -> Tensor:
        """Half the width of the head at each place's height."""
        a = self.a
        widest = 0.20
        t = ((self.lower - widest) / (a["chin"] - widest)).clamp(0, 1)
        below = (1 - t.pow(a["jaw"])).clamp(0).pow(0.5) * (1 - a["taper"] * t)
        above = 1 - 0.20 * ((widest - self.y) / 1.3).clamp(0).pow(2.2)
        half = a["head_width"] * torch.where(self.lower > widest, below, above)
        return half - (self.lower - a["chin"]).clamp(0)

    def relief(self) -> Tensor:
        """The height z of the skin towards the viewer."""
        a, x, y, ax, lower = self.a, self.x, self.y, self.ax, self.lower
        au, mean = self.au, self.mean
        s = (ax / self.outline().clamp(0.02)).clamp(max=1)
        t = ((lower - 0.2) / (a["chin"] - 0.2)).clamp(0, 1)
        z = (((1 - s.square() * s.sqrt()) * (1 - t.square().square() * t)).clamp(1e-4)).sqrt()
        # The profile: the forehead leans back, the chin comes forward.
        z = z - 0.30 * ((-0.45 - y) / 0.75).clamp(0).square() - 0.05 * smooth_step((y - 0.2) / 0.8)
        z = z + (a["chin_bump"] + 0.04 * mean[17]) * bump(
            x, lower - a["chin"] + 0.26 + 0.05 * mean[17], 0.26, 0.17
        )
        # Bones: brow ridge, temples, cheekbones, the hollows below them.
        z = z + a["brow_ridge"] * bump(ax - 0.38, y + a["brow_height"] - 0.05, 0.40, 0.12)
        z = z - 0.07 * bump(ax - 1.0, y + 0.35, 0.22, 0.40)
        z = z + a["cheekbones"] * bump(ax - 0.72, y - 0.42, 0.26, 0.20)
        z = z - a["hollow_cheeks"] * bump(ax - 0.72, y - 0.98, 0.24, 0.26)
        # Fat and muscle of the cheeks, which smiling and squinting push up.
        z = z + (0.05 + 0.07 * au[6] + 0.08 * au[12] + 0.03 * au[9]) * bump(
            ax - 0.56, y - self.cheek, 0.24, 0.18
        )
        # Sockets, and the lids over the balls in them.
        z = z - 0.17 * bump(ax - 0.46, y + 0.03, 0.27, 0.17) - 0.06 * bump(ax - 0.22, y + 0.01, 0.10, 0.14)
        ball = 0.036 - (ax - 0.5).square() - (y + 0.005).square()
        z = z + 0.55 * ball.clamp(0).sqrt() * smooth_step(ball / 0.03)
        over = (y - self.crease) / 0.05
        hood = smooth_step(-over) * bump(ax - 0.5, y - self.crease + 0.08, 0.30, 0.13)
        z = z + 0.035 * hood - 0.022 * hill(over) * (1 - smooth_step((self.v.abs() - 0.9) / 0.4))
        bag = 0.012 + 0.025 * a["age"] + 0.045 * au[6] + 0.035 * au[7] + 0.02 * au[9]
        z = z + bag * bump(ax - 0.48, y - self.lower_lid - 0.075, 0.20, 0.05)
        z = z - 0.6 * bag * bump(ax - 0.47, y - self.lower_lid - 0.17, 0.20, 0.05)
        # The brow's own bulk.
        z = z + 0.028 * hill((y - self.brow) / 0.075) * smooth_step((1.15 - self.u) / 0.4) * (
            smooth_step((self.u + 0.25) / 0.3)
        )
        return self._folds(self._lips(self._nose_relief(z)))

    def _nose_relief(self, z: Tensor) -> Tensor:
        a, y, ax = self.a, self.y, self.ax
        tip, height = self.tip, a["nose_height"]
        along = ((y + 0.16) / (tip + 0.16)).clamp(0, 1)
        bridge = (0.22 + a["nose_hump"] * hill((along - 0.45) / 0.2) + 0.78 * along * along.sqrt()) * height
        bridge = bridge * smooth_step((tip + 0.13 - y) / 0.20) * smooth_step((y + 0.28) / 0.30)
        broad = a["nose_width"] * (0.42 + 0.22 * along)
        z = z + bridge * hill(ax / broad)
        z = z + 0.45 * height * bump(ax, y - tip + 0.01, 0.62 * a["nose_width"], 0.105)  # the ball of the tip
        wing = bump(ax - self.wing_x * 0.86, y - self.wing, 0.38 * a["nose_width"], 0.085)
        z = z + (0.13 + 0.03 * self.au[9]) * wing
        # Behind the wing the cheek begins.
        z = z - 0.035 * bump(ax - self.wing_x - 0.07, y - self.wing + 0.01, 0.045, 0.10)
        return z - 0.09 * bump(ax, y - tip - 0.17, 0.20, 0.055)

    def _lips(self, z: Tensor) -> Tensor:
        a, x, y = self.a, self.x, self.y
        z = z + 0.06 * bump(x, y - a["mouth_height"] - 0.02, 0.40, 0.28)  # the arch of the teeth
        # The upper lip looks down, the lower one up.
        t = ((y - self.lip_top) / (self.upper_edge - self.lip_top).clamp(0.01)).clamp(0, 1)
        upper = t.pow(0.9) * smooth_step((self.upper_edge - y) / 0.02)
        z = z + 0.065 * self.thin * upper * smooth_step((1.02 - self.m) / 0.35)
        t = ((self.lip_bottom - y) / (self.lip_bottom - self.lower_edge).clamp(0.01)).clamp(0, 1)
        lower = (t * (math.pi / 2)).sin() * smooth_step((y - self.lower_edge) / 0.025)
        z = z + 0.075 * self.thin * lower * smooth_step((1.0 - self.m) / 0.4)
        # Where the lips meet the skin: the philtrum, the groove above the chin, the corners.
        philtrum = smooth_step((self.lip_top - y) / 0.05) * smooth_step((y - self.tip - 0.10) / 0.06)
        z = z - 0.022 * hill(x / 0.04) * philtrum
        z = z + 0.012 * hill((self.ax - 0.075) / 0.035) * philtrum
        z = z - 0.055 * bump(x, y - self.lip_bottom - 0.075, 0.26, 0.06)
        z = z - 0.035 * bump(self.ax - self.half - 0.01, y - self.line, 0.045, 0.045)
        ripple = torch.cos(x * 75) * torch.cos(self.lower * 60)
        chin = bump(x, self.lower - a["chin"] + 0.30 + 0.05 * self.mean[17], 0.17, 0.10)
        return z + 0.006 * self.mean[17] * ripple * chin

    def _folds(self, z: Tensor) -> Tensor:
        """Valleys in the skin, which age deepens a little and action units much."""
        a, au, y, ax, age = self.a, self.au, self.y, self.ax, self.a["age"]
        # From the wings of the nose around the corners of the mouth; the cheek hangs over it.
        top = self.wing - 0.06
        w = (y - top) / (self.line + 0.10 - top).clamp(0.1)  # along the fold
        start = self.wing_x + 0.02
        path = start + (self.half + 0.09 - start) * w.clamp(0, 1.1).pow(0.85) + 0.06 * au[12] * w.clamp(0, 1)
        depth = 0.010 + 0.030 * age + 0.055 * au[12] + 0.050 * au[10] + 0.045 * au[9] + 0.015 * au[6]
        depth = depth * smooth_step((w + 0.15) / 0.4) * smooth_step((1.25 - w) / 0.55)
        d = ax - path
        z = z + depth * (0.75 * hill((d - 0.13) / 0.13) - 0.55 * hill(d / 0.05))
        # Beside and below the corners of the mouth.
        z = z - 0.060 * au[14] * bump(ax - self.half - 0.045, y - self.line, 0.04, 0.07)
        z = z + 0.030 * au[14] * bump(ax - self.half - 0.14, y - self.line + 0.02, 0.06, 0.09)
        below = (y - self.line) / 0.30
        droop = hill((ax - self.half - 0.03 - 0.04 * below) / 0.035)
        droop = droop * smooth_step(below * 4) * smooth_step((1 - below) / 0.5)
        z = z - (0.006 * age + 0.035 * au[15] + 0.012 * au[17]) * droop
        # The lines of a wide mouth.
        z = z - 0.03 * au[20] * bump(ax - self.half - 0.06, y - self.line, 0.03, 0.16)
        # Between the brows, across the forehead, over the root of the nose, beside the eyes.
        frown = (0.010 * age + 0.048 * au[4]) * bump(ax - 0.10, y - self.brow - 0.01, 0.028, 0.15)
        z = z - frown + 0.030 * au[4] * bump(ax - 0.20, y - self.brow + 0.02, 0.07, 0.09)
        z = z + 0.02 * au[4] * bump(ax, y - self.brow - 0.02, 0.05, 0.12)
        up = (-a["brow_height"] - self.brow).clamp(-0.15, 0.2)
        forehead = smooth_step((self.brow - 0.09 - y) / 0.12) * smooth_step((y + 1.05) / 0.25)
        waves = torch.cos((y + 0.35 * up + 0.03 * torch.cos(ax * 4)) * 36)
        raised = (0.8 * au[1] * self.inner + 0.8 * au[2] * (0.3 + 0.7 * self.outer)).clamp(0, 1)
        z = z + (0.0022 * age + 0.009 * raised) * waves * forehead * smooth_step((0.95 - ax) / 0.3)
        root = bump(ax - 0.06, y - 0.06, 0.11, 0.17)
        z = z + 0.010 * au[9] * torch.cos(y * 55 + 16 * ax) * root
        z = z + 0.030 * au[9] * bump(ax - 0.17, y - 0.20, 0.08, 0.14)
        angle = torch.atan2(y - 0.02, (ax - 0.70).clamp(0.02))
        crow = torch.cos(angle * 11) * bump(ax - 0.90, y - 0.03, 0.10, 0.17)
        return z + (0.0025 * age + 0.008 * au[6]) * crow


def smooth_step(t: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def hill(d: Tensor) -> Tensor:
    """1 at 0, falling about as exp(-d^2) does, and 0 from 2.8 on; several times faster to compute."""
    return (1 - d.square() / 8).clamp(0).square().square().square()


def bump(dx: Tensor, dy: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """A round hill of height 1 (see `hill`)."""
    return (1 - (dx / width).square() / 8 - (dy / height).square() / 8).clamp(0).square().square().square()


def face_to_image(x: Tensor, y: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Where places of the face come to lie in the picture, both in pupil distances.

    Args:
        x, y: on the face, (N, H, W).
        pose: turn to the side, nod and tilt of the head in radians, shift right and down, (N, 5).
    """
    turn, nod, tilt, right, down = pose.T[..., None, None]
    near = _nearness(x, y)
    x, y = x + turn.sin() * near, y + nod.sin() * near
    return x * tilt.cos() - y * tilt.sin() + right, y * tilt.cos() + x * tilt.sin() + down


def image_to_face(x: Tensor, y: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `face_to_image`, by repeated substitution: the head turns by a few degrees only."""
    turn, nod, tilt, right, down = pose.T[..., None, None]
    x, y = x - right, y - down
    x, y = x * tilt.cos() + y * tilt.sin(), y * tilt.cos() - x * tilt.sin()
    face_x, face_y = x, y
    for _ in range(3):
        near = _nearness(face_x, face_y)
        face_x, face_y = x - turn.sin() * near, y - nod.sin() * near
    return face_x, face_y


def _nearness(x: Tensor, y: Tensor) -> Tensor:
    """How much nearer to the viewer than the pupils a place of an average face is; that far it moves."""
    head = 0.85 * (1 - (x / 1.25).square() - ((y - 0.4) / 2.0).square()).clamp(0.01).sqrt() - 0.75
    return head + 0.28 * bump(x, y - 0.52, 0.17, 0.24)


def landmarks(anatomy: Mapping[str, Tensor], units: Tensor, pose: Tensor) -> Tensor:
    """Where the `LANDMARKS` of some faces are in the picture.

    Args:
        anatomy: the traits of each face's person, (N, 1, 1) each.
        units: (N, 2, len(UNITS)).
        pose: (N, 5).

    Returns:
        (x, y) in pupil distances from the middle between the pupils of a face with no pose,
        (N, len(LANDMARKS), 2).
    """
    ones = torch.ones(len(units), 1, 2, dtype=units.dtype)
    sides = Geometry(anatomy, units, ones * torch.tensor([-0.5, 0.5], dtype=units.dtype), 0 * ones)
    columns = [sides.inner_end + u * (OUTER_END - sides.inner_end) for u in (0.05, 0.5, 0.95)]
    eye, cheek = 0.5 * ones, 0.56 * ones
    columns += [eye, eye, sides.wing_x * ones, cheek, sides.half * ones]  # (N, 1, 2) each
    left, right = (
        side * torch.cat([c[..., i : i + 1] for c in columns], 2) for i, side in enumerate((-1, 1))
    )
    middle = torch.zeros(len(units), 1, 5, dtype=units.dtype)
    x = torch.cat(
        [
            left[..., :3],
            right[..., :3],
            left[..., 3:5],
            right[..., 3:5],
            left[..., 5:],
            right[..., 5:],
            middle,
        ],
        2,
    )
    at = Geometry(anatomy, units, x, torch.zeros_like(x))
    curves = 6 * [at.brow] + 2 * [at.upper_lid, at.lower_lid] + 2 * [at.wing, at.cheek, at.line]
    curves += [at.lip_top, at.upper_edge, at.lower_edge, at.lip_bottom, at.chin]
    y = torch.stack([curve.expand_as(x)[..., i] for i, curve in enumerate(curves)], 2)  # (N, 1, landmarks)
    return torch.stack(face_to_image(x, y, pose), 3)[:, 0]
