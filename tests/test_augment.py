import numpy as np
import pytest
import torch
from scipy import ndimage

from eifn.augment import ANGLES, VIEWS, augment, normalize


@pytest.fixture
def image():
    """A smooth pattern without symmetry, so that interpolation hardly matters."""
    y, x = np.mgrid[:64, :64] / 64
    return torch.tensor(np.stack([np.sin(5 * x + 2 * y), np.cos(4 * y - x), x * y**2]), dtype=torch.float32)


def test_fourteen_distinct_images_and_the_original_first(image):
    views = augment(image.expand(VIEWS, -1, -1, -1), torch.arange(VIEWS))
    assert VIEWS == 14
    assert views.is_contiguous(memory_format=torch.channels_last)  # as convolutions read them fastest
    assert torch.equal(views[0], image)
    assert torch.equal(views[7], image.flip(2))
    distances = torch.cdist(views.flatten(1), views.flatten(1))
    assert distances[~torch.eye(VIEWS, dtype=torch.bool)].min() > 1


@pytest.mark.parametrize("view", range(VIEWS))
def test_rotation_agrees_with_scipy(image, view):
    ours = augment(image[None], torch.tensor([view]))[0].numpy()
    theirs = ndimage.rotate(
        image.numpy(), ANGLES[view % 7], axes=(2, 1), reshape=False, order=1, mode="reflect"
    )
    if view >= 7:
        theirs = theirs[:, :, ::-1]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_border_is_filled_as_a_photograph_would_be():
    white = torch.ones(VIEWS, 3, 64, 64)
    torch.testing.assert_close(augment(white, torch.arange(VIEWS)), white)


def test_each_image_of_a_batch_gets_its_own_view(image):
    images = torch.stack([image, image + 1, image * 2])
    view = torch.tensor([3, 0, 13])
    together = augment(images, view)
    for n in range(3):
        torch.testing.assert_close(together[n], augment(images[n : n + 1], view[n : n + 1])[0])


def test_normalize_is_torchvisions_preprocessing():
    frames = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    from torchvision.models import VGG16_Weights
    from torchvision.transforms.v2 import functional

    preset = VGG16_Weights.IMAGENET1K_V1.transforms()
    for frame, ours in zip(frames, normalize(torch.from_numpy(frames)), strict=True):
        theirs = functional.normalize(
            functional.to_dtype(functional.to_image(frame), scale=True), preset.mean, preset.std
        )
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
