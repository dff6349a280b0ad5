"""How much faster does `Trainer.fit` train than the loop that a careful reader would write first?

    python -m benchmarks.textbook [--preset laptop paper] [--precision P] [--workers N] [--at-once N]
        [--images N] [--rounds N] [--json]

The reader's loop is correct and ordinary: a `DataLoader` with workers that stay, PIL transforms drawn for
each image, float32, PyTorch's default memory format and optimizer, and center loss by autograd over all
distances. Both sides train the same network, at the same width, on the same images in batches of 100, and
take turns: an epoch of one, an epoch of the other. The reader's loop has a process of its own, since what
`Trainer` asks of the C library holds for the whole process. The ratio is images a second, `Trainer.fit` to
the reader, of the last preset. A third side takes its turn: a cross-validation of ten folds and three epochs
as `eifn crossval` carries it out, some trainings at a time, with all that it writes.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks import measure
from eifn import paper
from eifn.augment import MEAN, STD
from eifn.crossval import local_pool
from eifn.database import FaceDatabase
from eifn.extractor import STAGES
from eifn.objective import LossWeights
from eifn.training import PRESETS, Trainer, loss_weights


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a table or one JSON object."""
    parser = measure.options_of(__doc__)
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=["laptop"], metavar="P")
    measure.add_precision(parser)
    parser.add_argument(
        "--workers",
        type=measure.positive,
        default=min(os.cpu_count(), 8),
        metavar="N",
        help="of the DataLoader (default: %(default)s)",
    )
    parser.add_argument(
        "--at-once",
        type=measure.positive,
        metavar="N",
        help="trainings at a time of `eifn crossval` (default: as it does, one a core or a GPU)",
    )
    parser.add_argument(
        "--images", type=measure.positive, default=800, metavar="N", help="an epoch (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=measure.positive, default=10, metavar="N", help="default: %(default)s"
    )
    options = parser.parse_args(arguments)
    if options.images < paper.FOLDS:
        parser.error(f"--images: {options.images} do not make {paper.FOLDS} folds")
    faces = measure.random_faces(options.images)
    rows = []
    for name in options.preset:
        preset = measure.preset_for(name, options)
        fabric = measure.fabric_for(options.accelerator, preset.precision)
        at_once = options.at_once or (torch.get_num_threads() if fabric.device.type == "cpu" else 1)
        reader = readers_process(
            faces, width=preset.width, clip=preset.clip, workers=options.workers, device=fabric.device
        )
        validation = measure.cross_validation(
            replace(preset, views=1), len(faces), at_once, options.accelerator
        )
        with reader as readers_epoch, validation as (carry_out, shown):
            ours, readers, validations = measure.epochs_in_turns(
                partial(measure.fit, Trainer(fabric), faces, preset),
                readers_epoch,
                carry_out,
                rounds=options.rounds,
                device=fabric.device,
            )
        about = {"preset": name, "width": preset.width}
        readers = len(faces) / readers  # now images a second
        sides = {"Trainer.fit": len(faces) / ours, f"eifn crossval, {at_once} at a time": shown / validations}
        ratios = {loop: measure.spread(speed / readers, "ratio") for loop, speed in sides.items()}
        rows.append(
            about | {"loop": "the reader's", "precision": "32-true"} | measure.spread(readers, "images/s")
        )
        rows += [
            about
            | {"loop": loop, "precision": preset.precision}
            | measure.spread(speed, "images/s")
            | {"ratio": ratios[loop]["ratio"], "IQR of ratio": ratios[loop]["IQR"]}
            for loop, speed in sides.items()
        ]
    measure.print_result(
        "How much faster does Trainer.fit train than the loop that a careful reader would write first?",
        rows,
        ratio=ratios["Trainer.fit"]["ratio"],
        ratio_of=f"images a second, Trainer.fit to the reader's loop, preset {name}, {preset.precision}",
        notes=[f"the reader's DataLoader has {options.workers} workers"],
        device=fabric.device,
        as_json=options.json,
    )


class TextbookFaces(Dataset):
    """Each image, turned and mirrored at random by PIL, with its two labels."""

    def __init__(self, faces: FaceDatabase) -> None:
        self.frames = faces.frames
        self.subject = np.unique(faces.table["subject"], return_inverse=True)[1]
        self.expression = faces.labels
        self.finish = transforms.Compose(
            [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        image = transforms.functional.to_pil_image(self.frames[index])
        image = transforms.functional.rotate(
            image, random.choice(paper.ROTATIONS), transforms.InterpolationMode.BILINEAR
        )
        return self.finish(image), int(self.subject[index]), int(self.expression[index])


class TextbookEIFN(nn.Module):
    """EIFN of torchvision's VGG-16 layers, with an epsilon under the root of the bilinear vector."""

    def __init__(self, subjects: int, expressions: int, *, width: float) -> None:
        super().__init__()
        channels = int(STAGES[-1][-1] * width)
        self.identity_extractor = measure.plain_trunk(width)
        self.expression_extractor = measure.plain_trunk(width)
        self.identity_layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * 2 * 2, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
        )
        self.identity_classifier = nn.Linear(channels, subjects)
        self.expression_classifier = nn.Linear(channels * channels, expressions)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embedding, identity logits and expression logits of images (N, 3, 64, 64)."""
        identity = self.identity_extractor(images)  # (N, C, 2, 2)
        expression = self.expression_extractor(images)  # (N, C, 2, 2)
        embedding = self.identity_layers(identity)  # (N, C)
        pooled = torch.bmm(identity.flatten(2), expression.flatten(2).transpose(1, 2)).flatten(1)
        fused = functional.normalize(pooled.sign() * torch.sqrt(pooled.abs() + 1e-12))  # (N, C * C)
        return embedding, self.identity_classifier(embedding), self.expression_classifier(fused)


class TextbookCenterLoss(nn.Module):
    """Center loss by autograd: centers are a parameter, and all (N, K) distances are computed."""

    def __init__(self, classes: int, dimensions: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.zeros(classes, dimensions))

    def forward(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """Half the squared distance to the own center, averaged over the batch."""
        distances = (
            embedding.square().sum(1, keepdim=True)
            + self.centers.square().sum(1)
            - 2 * embedding @ self.centers.T
        )  # (N, K)
        own = functional.one_hot(labels, len(self.centers))
        return (distances * own).sum() / len(labels) / 2


def textbook_loss(
    model: TextbookEIFN,
    center_loss: TextbookCenterLoss,
    batch: tuple[Tensor, Tensor, Tensor],
    weights: LossWeights,
) -> Tensor:
    """Equation 5 for a batch of images (N, 3, 64, 64), subjects (N,) and expressions (N,)."""
    images, subject, expression = batch
    embedding, identity_logits, expression_logits = model(images)
    identity_loss = functional.cross_entropy(identity_logits, subject)
    expression_loss = functional.cross_entropy(expression_logits, expression)
    center = center_loss(embedding, subject)
    return weights.identity * (identity_loss + weights.center * center) + weights.expression * expression_loss


def textbook_epoch(
    faces: FaceDatabase, *, width: float, clip: float | None, workers: int, device: torch.device
) -> Callable[[], float]:
    """One epoch of the reader's loop, to be called as often as there are epochs; gives the mean loss."""
    torch.manual_seed(0)
    loader = DataLoader(
        TextbookFaces(faces),
        batch_size=paper.BATCH_SIZE,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )
    model = TextbookEIFN(len(faces.subjects), len(faces.expressions), width=width).to(device).train()
    head = model.identity_classifier
    center_loss = TextbookCenterLoss(head.out_features, head.in_features).to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=paper.LEARNING_RATE, momentum=paper.MOMENTUM, weight_decay=paper.WEIGHT_DECAY
    )
    center_optimizer = torch.optim.SGD(center_loss.parameters(), lr=0.5)
    weights = loss_weights(faces)

    def epoch() -> float:
        total = 0.0
        for batch in loader:
            batch = tuple(part.to(device) for part in batch)
            loss = textbook_loss(model, center_loss, batch, weights)
            optimizer.zero_grad()
            center_optimizer.zero_grad()
            loss.backward()
            # The centers move at their own rate, whatever the weight of their loss.
            center_loss.centers.grad /= weights.identity * weights.center
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            center_optimizer.step()
            total += loss.item() * len(batch[0])
        return total / len(faces)

    return epoch


@contextlib.contextmanager
def readers_process(faces: FaceDatabase, **options: Any) -> Iterator[Callable[[], float]]:
    """`textbook_epoch` in a new process, which ends with the context."""
    with local_pool(1) as pool:
        pool.submit(_start_reader, faces, options).result()
        yield lambda: pool.submit(_take_epoch).result()


def _start_reader(faces: FaceDatabase, options: dict[str, Any]) -> None:
    global _epoch
    _epoch = textbook_epoch(faces, **options)


def _take_epoch() -> float:
    return _epoch()


if __name__ == "__main__":
    main()
