"""The feature extractor of both branches: VGG-16 up to conv5_3, ReLU and max-pool (equations 1 and 2).

Book: chapter 3, *Two extractors*.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import VGG16_Weights

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of VGG-16's thirteen convolutions; a 2 x 2 max-pool follows each stage."""


LAPTOP = Path(__file__).parent / "weights" / "laptop.safetensors"
"""A start for 1/8 width, pre-trained on drawn people (see `eifn.pretraining`)."""


class WeightsError(ValueError):
    """Weights that cannot be had, read or fitted; the message names the file and the remedy."""


class Extractor(nn.Sequential):
    """VGG-16 through conv5_3, ReLU and max-pool: (N, 3, H, W) -> (N, channels, H // 32, W // 32).

    At 64 x 64 and width 1 that is (N, 512, 2, 2). Layers are numbered as in torchvision, so the keys of the
    state dict equal those of `torchvision.models.vgg16().features`. Starts from He's initialization
    (He et al. 2015); `load_weights` replaces it.

    Args:
        width: scales all channels; 1 is VGG-16, 1/8 is for laptops (8 to 64 channels).

    Raises:
        ValueError: a stage would have a fractional number of channels, or none.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for stage in STAGES:
            for full in stage:
                scaled = full * width
                if scaled != int(scaled) or scaled < 1:
                    raise ValueError(f"width must make 64 x width a whole number >= 1; got {width}")
                layers += [nn.Conv2d(channels, int(scaled), 3, padding=1), nn.ReLU(inplace=True)]
                channels = int(scaled)
            layers += [nn.MaxPool2d(2)]
        super().__init__(*layers)
        self.width = width
        self.channels = channels
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """The feature map of images (N, 3, H, W).

        Each max-pool goes before the ReLU that it stands behind: the largest of four comes out the same,
        gradients too, and the ReLU has a quarter of the work.
        """
        layers = list(self)
        for i, layer in enumerate(layers):
            if isinstance(layer, nn.MaxPool2d):
                layers[i - 1], layers[i] = layer, layers[i - 1]
        for layer in layers:
            images = layer(images)
        return images

    def load_weights(self, source: str | os.PathLike[str]) -> None:
        """Start from trained weights, in place.

        Args:
            source: `"imagenet"` (torchvision's, downloaded on first use; width 1 only), `"laptop"` (`LAPTOP`;
                width 1/8 only), `"none"` (keep He's initialization), or a file: safetensors, or a torch file,
                which is read with `weights_only=True`. A file may hold the extractor alone or a whole VGG-16.

        Raises:
            WeightsError: no network, no such file, not weights, or weights of another shape.
        """
        if source == "none":
            return
        state = _imagenet() if source == "imagenet" else _read(LAPTOP if source == "laptop" else Path(source))
        own = self.state_dict()
        # A whole torchvision VGG-16 keeps these layers under "features.".
        state = {key.removeprefix("features."): value for key, value in state.items()}
        missing = [key for key in own if key not in state]
        if missing:
            raise WeightsError(f"{source}: no {missing[0]!r} in it, so these are not VGG-16 weights")
        wrong = [key for key in own if own[key].shape != state[key].shape]
        if wrong:
            raise WeightsError(
                f"{source}: {wrong[0]} is {tuple(state[wrong[0]].shape)}, but at width {self.width:g} it is "
                f"{tuple(own[wrong[0]].shape)}; use weights of that width, or `none`"
            )
        self.load_state_dict({key: state[key] for key in own})


def _imagenet() -> dict[str, Tensor]:
    try:
        return VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a truncated download a RuntimeError
        raise WeightsError(
            f"ImageNet weights could not be downloaded ({error}); give a copy with `--weights PATH`, "
            "or start from scratch with `--weights none`"
        ) from None


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; weights are `imagenet`, `laptop`, `none` or a file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        pickle.UnpicklingError,
        safetensors.SafetensorError,
    ) as e:
        raise WeightsError(
            f"{path}: not weights that can be read safely ({type(e).__name__}); "
            "use safetensors, or a plain state dict saved with torch.save"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: not a state dict; save `model.state_dict()`, not the model")
    return state
