"""A start for extractors without ImageNet: trained to tell drawn faces apart.

`eifn/weights/laptop.safetensors` was made by `make start`: one extractor of 1/8 width, trained on the
synthetic people of `synth-start`, who are in neither twin and whose resting faces imitate no expression. It
learns who and which expression at once, through two linear layers that are thrown away, so that it favors
neither branch. Both branches of every variant start from it in the preset `laptop`. The full width has
ImageNet; where that cannot be had, `--width 1` makes a file for `eifn --weights` that stands in for it.

Book: chapter 3, *Two extractors*.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from eifn.augment import VIEWS, augment, normalize
from eifn.database import FaceDatabase, read_database
from eifn.extractor import Extractor

BATCH_SIZE = 100
LEARNING_RATE = 2e-3
"""At 1/8 width. A unit of a wider network sums up more of Adam's steps, so they are shorter there."""
WEIGHT_DECAY = 0.01


def pretrain(
    fabric: Fabric, database: FaceDatabase, *, width: float, epochs: int, seed: int
) -> tuple[Extractor, list[float]]:
    """Train an extractor to tell the people of a database apart, and their expressions.

    AdamW with one cycle of the learning rate: this network has no normalization layers and does not leave its
    first plateau under plain SGD. Half of the images are shown in grey, since one of the twins is.

    Args:
        fabric: the device and its precision.
        database: whom to train on.
        width: of the extractor.
        epochs: how often each frame is seen, each time in another of the 14 views.
        seed: decides the initial weights, the order and the views.

    Returns:
        The extractor, and the mean loss of each epoch.
    """
    torch.manual_seed(seed)
    subjects = np.unique(database.table["subject"], return_inverse=True)[1].astype(np.int64)
    people = torch.from_numpy(subjects).to(fabric.device)
    labels = torch.from_numpy(database.labels).to(fabric.device)
    frames = torch.from_numpy(np.array(database.frames)).to(fabric.device)  # (N, 64, 64, 3)
    extractor = Extractor(width=width).to(fabric.device, memory_format=torch.channels_last)
    who = nn.Linear(extractor.channels * 4, int(subjects.max()) + 1).to(fabric.device)
    which = nn.Linear(extractor.channels * 4, len(database.expressions)).to(fabric.device)
    parameters = [p for module in (extractor, who, which) for p in module.parameters()]
    rate = LEARNING_RATE / (8 * width)
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=WEIGHT_DECAY)
    steps = epochs * -(-len(frames) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    history = []
    for _ in tqdm(range(epochs), desc="pre-training", unit="epoch"):
        losses = []
        for index in torch.randperm(len(frames)).to(fabric.device).split(BATCH_SIZE):
            view = torch.randint(VIEWS, (len(index),)).to(fabric.device)
            grey = (torch.rand(len(index)) < 0.5).view(-1, 1, 1, 1).to(fabric.device)
            images = augment(normalize(frames[index]), view)
            images = torch.where(grey, images.mean(1, keepdim=True), images)
            with fabric.autocast():
                features = extractor(images).flatten(1)  # (batch, channels * 4)
                loss = functional.cross_entropy(who(features), people[index])
                loss = loss + functional.cross_entropy(which(features), labels[index])
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        history.append(float(torch.stack(losses).mean()))
    return extractor, history


def main() -> int:
    """Run `python -m eifn.pretraining`."""
    parser = argparse.ArgumentParser(prog="python -m eifn.pretraining", description=__doc__.splitlines()[0])
    parser.add_argument("--database", type=Path, required=True, metavar="DIR", help="a prepared database")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .safetensors to write")
    parser.add_argument("--width", type=float, default=1 / 8, help="default: 1/8")
    parser.add_argument("--epochs", type=int, default=24, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--accelerator", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    options = parser.parse_args()
    database = read_database(options.database)
    fabric = Fabric(accelerator=options.accelerator, devices=1, precision=options.precision)
    extractor, history = pretrain(
        fabric, database, width=options.width, epochs=options.epochs, seed=options.seed
    )
    about = {
        "trained_on": repr(database),
        "made_by": database.made_by,
        "sha256": database.sha256,
        "task": "who it is and which expression, two softmax losses",
        "epochs": options.epochs,
        "seed": options.seed,
        "losses": [round(loss, 4) for loss in history],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.cpu().contiguous() for key, value in extractor.state_dict().items()}
    scratch = options.out.with_name(f".{options.out.name}")
    # `save_file` would write under a random name first, which a kill leaves behind.
    scratch.write_bytes(safetensors.torch.save(state, {"eifn": json.dumps(about)}))
    scratch.replace(options.out)
    print(f"{options.out}: loss {history[0]:.3f} in the first epoch, {history[-1]:.3f} in the last")
    return 0


if __name__ == "__main__":
    sys.exit(main())
