"""The one geometry of every prepared face: where the pupils go in the 64 x 64 crop."""

LEFT_PUPIL = (20.5, 21.5)
"""(x, y) of the pupil on the left of the image, in pixels of the frame, pixel centers at integers."""

RIGHT_PUPIL = (42.5, 21.5)
"""(x, y) of the pupil on the right of the image."""
