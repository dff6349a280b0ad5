import pickle
import urllib.error

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import VGG16_Weights, vgg16

from eifn.extractor import Extractor, WeightsError


@pytest.fixture(scope="module")
def vgg():
    torch.manual_seed(0)
    return vgg16(weights=None).eval()


def test_keys_and_shapes_are_torchvisions(vgg):
    own, theirs = Extractor().state_dict(), vgg.features.state_dict()
    assert list(own) == list(theirs)
    assert [v.shape for v in own.values()] == [v.shape for v in theirs.values()]


@pytest.mark.parametrize("part", ["whole", "features"])
@pytest.mark.parametrize("kind", [".safetensors", ".pth"])
def test_outputs_equal_torchvisions_with_the_same_weights(vgg, tmp_path, part, kind):
    state = (vgg if part == "whole" else vgg.features).state_dict()
    file = tmp_path / f"weights{kind}"
    save_file(state, file) if kind == ".safetensors" else torch.save(state, file)
    extractor = Extractor()
    extractor.load_weights(file)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = extractor(images), vgg.features(images)
    assert ours.shape == (2, 512, 2, 2)
    assert torch.equal(ours, theirs)


def test_gradients_equal_torchvisions_with_the_same_weights(vgg):
    extractor = Extractor()
    extractor.load_state_dict(vgg.features.state_dict())
    images = torch.randn(2, 3, 64, 64)
    images[1] = 0  # ties: a whole map of equal values
    for network in (extractor, vgg.features):
        network.zero_grad()
        network(images).square().sum().backward()
    theirs = dict(vgg.features.named_parameters())
    for name, parameter in extractor.named_parameters():
        assert parameter.grad.any()
        assert torch.equal(parameter.grad, theirs[name].grad), name


def test_imagenet_is_torchvisions_vgg16(vgg, monkeypatch):
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", lambda self, **_: vgg.state_dict())
    extractor = Extractor()
    extractor.load_weights("imagenet")
    assert torch.equal(extractor.state_dict()["28.weight"], vgg.features[28].weight)


@pytest.mark.parametrize(
    "failure", [urllib.error.URLError("no route to host"), RuntimeError("invalid hash value")]
)
def test_no_network_names_the_ways_out(monkeypatch, failure):
    def fail(self, **_):
        raise failure

    monkeypatch.setattr(VGG16_Weights, "get_state_dict", fail)
    with pytest.raises(WeightsError, match=r"--weights PATH.*--weights none"):
        Extractor().load_weights("imagenet")


@pytest.mark.parametrize(("width", "channels"), [(1 / 64, 8), (1 / 8, 64), (1 / 4, 128)])
def test_width_scales_the_channels(width, channels):
    extractor = Extractor(width=width)
    assert extractor.channels == channels
    assert extractor(torch.randn(1, 3, 64, 64)).shape == (1, channels, 2, 2)


@pytest.mark.parametrize("width", [0, -1, 1 / 128, 0.3])
def test_width_without_whole_channels_is_refused(width):
    with pytest.raises(ValueError, match="whole number"):
        Extractor(width=width)


def test_he_initialization_keeps_the_scale_of_the_signal():
    torch.manual_seed(0)
    with torch.no_grad():
        out = Extractor(width=1 / 8)(torch.randn(16, 3, 64, 64))
    assert 0.05 < out.std() < 20


def test_none_keeps_the_initialization():
    extractor = Extractor(width=1 / 64)
    before = {key: value.clone() for key, value in extractor.state_dict().items()}
    extractor.load_weights("none")
    assert all(torch.equal(before[key], value) for key, value in extractor.state_dict().items())


class Trap:
    def __reduce__(self):
        return (print, ("unpickled!",))


@pytest.mark.parametrize("content", ["text", "pickle", "module", "list", "nested", "other", "narrow"])
def test_files_that_are_not_fitting_weights(tmp_path, content, capsys):
    file = tmp_path / "weights.pth"
    if content == "text":
        file.write_text("not weights")
    elif content == "pickle":
        file.write_bytes(pickle.dumps(Trap()))
    elif content == "module":
        torch.save(Extractor(width=1 / 64), file, pickle_protocol=2)
    elif content == "list":
        torch.save([torch.zeros(3)], file)
    elif content == "nested":
        torch.save({"state_dict": Extractor(width=1 / 32).state_dict()}, file)
    elif content == "other":
        torch.save({"weight": torch.zeros(3)}, file)
    else:
        torch.save(Extractor(width=1 / 64).state_dict(), file)
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        Extractor(width=1 / 32).load_weights(file)
    assert "unpickled!" not in capsys.readouterr().out


def test_missing_file():
    with pytest.raises(WeightsError, match="no such file"):
        Extractor().load_weights("nowhere.safetensors")
