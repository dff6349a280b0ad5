import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import torch
from lightning_fabric import Fabric

from eifn.database import read_database
from eifn.extractor import LAPTOP, Extractor, WeightsError
from eifn.pretraining import pretrain
from eifn.training import PRESETS


def test_the_shipped_weights_are_small_and_say_what_they_are():
    assert LAPTOP.stat().st_size < 2e6
    with safetensors.safe_open(LAPTOP, "pt") as file:
        about = json.loads(file.metadata()["eifn"])
    assert "synth-start" in about["trained_on"]
    assert "--entanglement 0" in about["made_by"]
    assert len(about["losses"]) == about["epochs"]
    assert about["losses"][-1] < 0.1 * about["losses"][0]


def test_the_preset_laptop_starts_from_them():
    preset = PRESETS["laptop"]
    extractor = Extractor(width=preset.width)
    extractor.load_weights(preset.weights)
    with safetensors.safe_open(LAPTOP, "pt") as file:
        for key, value in extractor.state_dict().items():
            assert torch.equal(value, file.get_tensor(key))
    with pytest.raises(WeightsError, match="at width 1"):
        Extractor(width=1).load_weights("laptop")


def test_pre_training_learns_who_and_which(make_database):
    faces = read_database(make_database(subjects=4, frames=3))
    fabric = Fabric(accelerator="cpu", devices=1)
    extractor, history = pretrain(fabric, faces, width=1 / 32, epochs=60, seed=0)
    # Four people and two expressions: by chance the losses are log 4 and log 2. Less than log 2 together, and
    # both have been learned.
    assert history[0] == pytest.approx(np.log(4) + np.log(2), rel=0.2)
    assert 0 < np.median(history[-10:]) < np.log(2)
    # Not by the two layers behind it alone.
    torch.manual_seed(0)
    start = Extractor(width=1 / 32).state_dict()
    assert not any(torch.equal(value, start[key]) for key, value in extractor.state_dict().items())


@pytest.mark.slow
def test_one_command_trains_and_seeds_repeat(make_database, tmp_path):
    database = make_database(subjects=3)
    for out in ("a", "b"):
        command = [sys.executable, "-m", "eifn.pretraining", "--database", database, "--epochs", "1"]
        command += ["--width", str(1 / 64), "--out", tmp_path / f"{out}.safetensors"]
        subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
