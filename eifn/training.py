"""One stage of training, and the paper's two-stage recipe (Section 3.1).

Book: chapter 7, *Training*.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from lightning_fabric import Fabric
from torch import Tensor

from eifn import paper
from eifn.augment import VIEWS, augment, normalize
from eifn.center_loss import CenterLoss
from eifn.cuda_graph import CudaGraph
from eifn.database import FaceDatabase
from eifn.extractor import WeightsError
from eifn.network import EIFN, Variant
from eifn.objective import Losses, LossWeights, losses

LOSS_WEIGHTS = {
    name: LossWeights(**evaluation.loss_weights)
    for evaluation, names in (
        (paper.CK_PLUS, ("ck-plus", "synth-ck")),
        (paper.OULU_CASIA, ("oulu-casia", "synth-oulu")),
    )
    for name in names
}
"""The λ of equation 5 belong to the database that is trained on, in either stage (Section 3.1)."""

OTHER_WEIGHTS = LossWeights(center=1e-4, identity=1, expression=1)
"""For a database that the paper does not have."""

EPOCH_IMAGES = 1440
"""How many images an epoch of stage two shows at least in the short presets: as many as Oulu-CASIA has."""


def loss_weights(database: FaceDatabase) -> LossWeights:
    """The λ to train on a database with, by its name."""
    return LOSS_WEIGHTS.get(database.name, OTHER_WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What differs between a large GPU and a laptop; everything else is the paper's for both."""

    width: float
    """Of the extractors; 1 is VGG-16."""
    weights: str
    """Where the extractors start: see `Extractor.load_weights`."""
    views: int | None
    """How many of its 14 augmented views an epoch shows of each image, drawn anew each epoch; None is one in
    stage one, and in stage two, whose outcome is compared, as few as make `EPOCH_IMAGES`."""
    stage_one_epochs: int
    """Pre-training on the other database, at the initial rate throughout."""
    stage_two_epochs: int
    """Fine-tuning; the rate is divided by 10 after every 20."""
    batch_size: int
    """Images a step, of all devices together."""
    clip: float | None
    """Shorten a gradient that is longer than this, over all parameters together; None never does."""
    precision: str
    """Fabric's name of the number format, e.g. `"bf16-mixed"`."""

    @property
    def stage_one_views(self) -> int:
        """How many views of each image an epoch of stage one shows."""
        return self.views or 1

    def stage_two_views(self, database: FaceDatabase) -> int:
        """How many views of each image an epoch of stage two shows, in every fold of a database."""
        return self.views or min(VIEWS, math.ceil(EPOCH_IMAGES / len(database)))


PRESETS = {
    "paper": Preset(
        width=1,
        weights="imagenet",
        views=VIEWS,
        stage_one_epochs=20,
        stage_two_epochs=60,
        batch_size=paper.BATCH_SIZE,
        clip=None,
        precision="bf16-mixed",
    ),
    "wide": Preset(
        width=1,
        weights="imagenet",
        views=None,
        stage_one_epochs=12,
        stage_two_epochs=30,
        batch_size=paper.BATCH_SIZE,
        clip=10,
        precision="bf16-mixed",
    ),
    "laptop": Preset(
        width=1 / 8,
        weights="laptop",
        views=None,
        stage_one_epochs=30,
        stage_two_epochs=30,
        batch_size=paper.BATCH_SIZE,
        clip=10,
        precision="32-true",
    ),
}


class Divergence(RuntimeError):
    """A loss is no longer a finite number; the message names step, term and advice."""


class OutOfMemory(RuntimeError):
    """A step does not fit into the memory of the device; the message suggests a batch size."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What an epoch of training was like: a row of `history.csv`, of means over the images it showed."""

    epoch: int
    """From 1."""
    learning_rate: float
    total: float
    identity: float
    """L_S_id; NaN for EFN, which does not compute it."""
    center: float
    """L_C_id; NaN for EFN."""
    expression: float
    """L_S_exp."""
    accuracy: float
    """The share of images whose expression was told right, each before the step that learned from it."""


@dataclass(frozen=True)
class Checkpoint:
    """A safetensors file with all that training goes on from: parameters, momentum, centers and past epochs.

    A training that was killed and goes on from here, on the same machine, ends with the same bits as one
    that was not.
    """

    path: Path
    key: str
    """Names the training; the checkpoint of another one is not gone on from."""

    def save(
        self, model: EIFN, optimizer: torch.optim.Optimizer, center_loss: CenterLoss, history: list[Epoch]
    ) -> None:
        """Replace the checkpoint, in one step."""
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        for name, parameter in model.named_parameters():
            if parameter in optimizer.state:
                tensors[f"momentum.{name}"] = optimizer.state[parameter]["momentum_buffer"]
        tensors["centers"] = center_loss.centers
        about = {"key": self.key, "history": [asdict(epoch) for epoch in history]}
        _save_tensors(tensors, {**about, "sha256": _sha256_of_tensors(tensors)}, self.path)

    def load(self, model: EIFN, optimizer: torch.optim.Optimizer, center_loss: CenterLoss) -> list[Epoch]:
        """Put everything back in its place, or nothing where there is no checkpoint of this training.

        A damaged file is warned of, and nothing of it is used.

        Returns:
            The epochs that are behind it.
        """
        if not self.path.exists():
            return []
        try:
            with safetensors.safe_open(self.path, "pt") as file:
                about = json.loads((file.metadata() or {})["eifn"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            damaged = about["sha256"] != _sha256_of_tensors(tensors)
        except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError):
            damaged = True
        if damaged:
            warnings.warn(f"{self.path}: damaged; this training starts again", stacklevel=2)
            return []
        if about["key"] != self.key:
            return []
        model.load_state_dict({name: tensors[f"model.{name}"] for name in model.state_dict()})
        for name, parameter in model.named_parameters():
            if f"momentum.{name}" in tensors:
                buffer = torch.empty_like(parameter, requires_grad=False)
                optimizer.state[parameter]["momentum_buffer"] = buffer.copy_(tensors[f"momentum.{name}"])
        center_loss.centers.copy_(tensors["centers"])
        return [Epoch(**row) for row in about["history"]]


class Trainer:
    """Trains and applies an EIFN on any device, with the loop in plain sight.

    Args:
        fabric: Lightning Fabric, which knows the device, the precision and the other ranks.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        torch.backends.cudnn.deterministic = True  # a training that is resumed ends with the same bits
        if fabric.device.type == "cpu":
            _keep_freed_memory()

    def fit(
        self,
        model: EIFN,
        database: FaceDatabase,
        rows: np.ndarray,
        *,
        weights: LossWeights,
        epochs: int,
        drop_every: int | None,
        views: int,
        batch_size: int,
        clip: float | None,
        seed: int,
        checkpoint: Checkpoint | None = None,
        after_epoch: Callable[[Epoch], None] = lambda epoch: None,
    ) -> None:
        """Train a model, in place, on some frames of a database. The last epoch counts, never the best.

        Args:
            model: its classifiers have one output for each subject in `rows` and for each expression.
            database: the frames; they are moved to the device as uint8, once.
            rows: indices of the frames to train on.
            weights: λ1, λ2, λ3; λ2 is taken as 0 for EFN.
            epochs: how many.
            drop_every: divide the learning rate by 10 after every so many epochs; None keeps it.
            views: how many of the 14 views of each image an epoch shows.
            batch_size: images a step, of all ranks together.
            clip: the greatest length of a gradient; a longer one is shortened. None leaves all as they are.
            seed: decides the order of the images and their views.
            checkpoint: written after the last epoch, and after others as long as that takes no more than a
                tenth of the time; it is gone on from. None keeps none.
            after_epoch: called with what each epoch was like, first those that a checkpoint already has.

        Raises:
            Divergence: a loss became NaN or infinite.
            OutOfMemory: a batch does not fit into the memory of the device.
        """
        if model.variant == Variant.EFN:
            weights = LossWeights(center=weights.center, identity=0, expression=weights.expression)
        fabric, device = self.fabric, self.fabric.device
        frames = torch.from_numpy(np.ascontiguousarray(database.frames[rows])).to(device)  # (N, 64, 64, 3)
        people = np.unique(database.table["subject"].to_numpy()[rows], return_inverse=True)[1]
        subject = torch.from_numpy(people.astype(np.int64)).to(device)
        expression = torch.from_numpy(database.labels[rows]).to(device)
        head = model.identity_classifier
        center_loss = CenterLoss(head.out_features, head.in_features).to(device)

        model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad],
            lr=paper.LEARNING_RATE,
            momentum=paper.MOMENTUM,
            weight_decay=paper.WEIGHT_DECAY,
            fused=True,
        )
        network, setup_optimizer = fabric.setup(model, optimizer)
        network.train()
        history = checkpoint.load(model, optimizer, center_loss) if checkpoint else []
        for row in history:
            after_epoch(row)

        def step(index: Tensor, view: Tensor, size: int) -> Tensor:
            """Learn from this rank's part of a joint batch of so many images; gives its part of the terms."""
            share = len(index) / size
            with _memory_needed(len(index), device):
                images = augment(normalize(frames.index_select(0, index)), view)  # (batch, 3, 64, 64)
                output = network(images)
                loss = losses(
                    output, subject[index], expression[index], weights=weights, center_loss=center_loss
                )
                fabric.backward(loss.total * share * fabric.world_size)  # DDP divides by the ranks
            if clip is not None:
                # One that is not finite is left for `_check_finite`, which knows the term.
                fabric.clip_gradients(network, setup_optimizer, max_norm=clip, error_if_nonfinite=False)
            setup_optimizer.step()
            setup_optimizer.zero_grad()
            if weights.identity:
                center_loss.update(output.embedding, subject[index])
            right = output.expression_logits.argmax(1) == expression[index]  # (batch,)
            return torch.stack([*loss, right.float().mean()]).detach() * share

        take_step, rate, saving, saved = step, None, 0.0, 0.0
        for epoch in range(len(history) + 1, epochs + 1):
            before, drops = rate, (epoch - 1) // drop_every if drop_every else 0
            rate = paper.LEARNING_RATE / paper.LEARNING_RATE_DIVISOR**drops
            if rate != before:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                if device.type == "cuda" and fabric.world_size == 1:
                    take_step = CudaGraph(step, batch_size, device)
            terms, sizes = [], []
            for index, view, size in self._batches(len(rows), views, batch_size, seed, epoch):
                terms.append(take_step(index, view, size))
                sizes.append(size)
            # The one moment of an epoch at which the host waits for the device.
            means = fabric.all_reduce(torch.stack(terms), reduce_op="sum").cpu()  # (steps, terms)
            _check_finite(means, epoch, weights)
            means = torch.tensor(sizes, dtype=means.dtype) @ means / sum(sizes)  # (terms,)
            row = dict(zip([*Losses._fields, "accuracy"], means.tolist(), strict=True))
            history.append(Epoch(epoch=epoch, learning_rate=rate, **row))
            # On a large GPU an epoch can take less time than its writing.
            due = epoch == epochs or time.monotonic() - saved >= 9 * saving
            if checkpoint and fabric.is_global_zero and due:
                start = time.monotonic()
                checkpoint.save(model, optimizer, center_loss, history)
                saved = time.monotonic()
                saving = saved - start
            after_epoch(history[-1])

    def _batches(
        self, images: int, views: int, batch_size: int, seed: int, epoch: int
    ) -> Iterator[tuple[Tensor, Tensor, int]]:
        """The batches of an epoch: this rank's images and their views, and the size of the joint batch.

        All ranks draw the same order; each takes its part of every batch.
        """
        rank, world = self.fabric.global_rank, self.fabric.world_size
        generator = torch.Generator().manual_seed(derive_seed(seed, epoch))
        view = torch.rand(images, VIEWS, generator=generator).argsort(1)[:, :views].flatten()
        index = torch.arange(images).repeat_interleave(views)
        order = torch.randperm(len(index), generator=generator)
        # One copy to the device for the whole epoch, so that no batch waits for the host.
        index, view = index[order].to(self.fabric.device), view[order].to(self.fabric.device)
        for joint_index, joint_view in zip(index.split(batch_size), view.split(batch_size), strict=True):
            if len(joint_index) >= world:  # a last batch with nothing for some rank is left out
                yield joint_index[rank::world], joint_view[rank::world], len(joint_index)

    @torch.no_grad()
    def predict(self, model: EIFN, frames: np.ndarray) -> np.ndarray:
        """The probability of each expression: uint8 (N, 64, 64, 3) -> float32 (N, expressions)."""
        network = self.fabric.setup_module(model)
        network.eval()
        parts = []
        for batch in torch.from_numpy(np.array(frames)).split(paper.BATCH_SIZE):
            images = normalize(batch.to(self.fabric.device))  # (batch, 3, 64, 64)
            parts.append(network(images).expression_logits.float().softmax(1))
        return torch.cat(parts).cpu().numpy()


def train_stage_one(
    trainer: Trainer,
    database: FaceDatabase,
    *,
    variant: Variant,
    preset: Preset,
    seed: int,
    checkpoint: Checkpoint | None = None,
    after_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> EIFN:
    """Pre-train on all of the other database, at a constant learning rate, with the λ of that database.

    Raises:
        WeightsError: the extractors' starting weights cannot be had.
        Divergence: a loss became NaN or infinite.
        OutOfMemory: a batch does not fit into the memory of the device.
    """
    seed = derive_seed(seed, 1)
    rows = np.arange(len(database))
    model = _new_model(database, rows, variant=variant, preset=preset, seed=seed)
    trainer.fit(
        model,
        database,
        rows,
        weights=loss_weights(database),
        epochs=preset.stage_one_epochs,
        drop_every=None,
        views=preset.stage_one_views,
        batch_size=preset.batch_size,
        clip=preset.clip,
        seed=seed,
        checkpoint=checkpoint,
        after_epoch=after_epoch,
    )
    return model


def train_stage_two(
    trainer: Trainer,
    database: FaceDatabase,
    rows: np.ndarray,
    *,
    start: EIFN | None,
    variant: Variant,
    preset: Preset,
    seed: int,
    checkpoint: Checkpoint | None = None,
    after_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> EIFN:
    """Fine-tune on some frames of the database of interest, with its λ and a falling learning rate.

    Args:
        trainer: the device.
        database: the database of interest.
        rows: indices of the training frames; their subjects become the identity classes.
        start: the model of stage one, which is changed in place: it gets new heads and keeps its extractors;
            None trains a new model, without a stage one.
        variant: of the new model; that of `start` if there is one.
        preset: the size of it all.
        seed: decides the new layers, the order of the images and their views.
        checkpoint: see `Trainer.fit`.
        after_epoch: called with what each epoch was like.

    Raises:
        WeightsError: there is no stage one, and the extractors' starting weights cannot be had.
        Divergence: a loss became NaN or infinite.
        OutOfMemory: a batch does not fit into the memory of the device.
    """
    seed = derive_seed(seed, 2)
    if start is None:
        model = _new_model(database, rows, variant=variant, preset=preset, seed=seed)
    else:
        model = start
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model.replace_heads(*_classes(database, rows))
    trainer.fit(
        model,
        database,
        rows,
        weights=loss_weights(database),
        epochs=preset.stage_two_epochs,
        drop_every=paper.LEARNING_RATE_STEP,
        views=preset.stage_two_views(database),
        batch_size=preset.batch_size,
        clip=preset.clip,
        seed=seed,
        checkpoint=checkpoint,
        after_epoch=after_epoch,
    )
    return model


def save_model(model: EIFN, path: Path) -> None:
    """Write a model, whole or not at all, to a safetensors file, which says how it is built."""
    about = {
        "variant": model.variant.value,
        "width": model.identity_extractor.width,
        "subjects": model.identity_classifier.out_features,
        "expressions": model.expression_classifier.out_features,
    }
    _save_tensors(model.state_dict(), about, path)


def load_model(path: Path) -> EIFN:
    """Read a model that `save_model` wrote.

    Raises:
        WeightsError: no such file, or not such a model.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["eifn"])
            model = EIFN(**about)
            model.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: not a model that can be read ({type(error).__name__}); train it again with `eifn train`"
        ) from None
    return model


def _save_tensors(tensors: dict[str, Tensor], about: dict[str, object], path: Path) -> None:
    # `save_file` would write beside `scratch` under a random name, which a kill leaves behind for good.
    scratch = path.with_name(f"{path.name}-{os.getpid()}")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        scratch.write_bytes(safetensors.torch.save(contiguous, {"eifn": json.dumps(about)}))
        scratch.replace(path)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        scratch.unlink(missing_ok=True)


def _sha256_of_tensors(tensors: dict[str, Tensor]) -> str:
    """A safetensors file checks its header alone."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().cpu().numpy())
    return digest.hexdigest()


def derive_seed(*key: int) -> int:
    """A seed for each key, unrelated also between neighbouring ones."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def _new_model(
    database: FaceDatabase, rows: np.ndarray, *, variant: Variant, preset: Preset, seed: int
) -> EIFN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = EIFN(*_classes(database, rows), variant=variant, width=preset.width)
    for extractor in (model.identity_extractor, model.expression_extractor):
        extractor.load_weights(preset.weights)
    return model


def _classes(database: FaceDatabase, rows: np.ndarray) -> tuple[int, int]:
    """How many subjects and expressions there are to tell apart."""
    return database.table["subject"].iloc[rows].nunique(), len(database.expressions)


def _keep_freed_memory() -> None:
    """Have glibc keep the memory of freed tensors for those of the next step.

    By itself it hands most of it back to the system at the end of each step and takes it anew, page by page,
    in the next: about a sixth of a training at laptop width. Other libraries of C are left as they are.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_max = -1, -4  # in malloc.h with M_ in front
        libc.mallopt(trim_threshold, 2**31 - 1)  # bytes that may lie free
        libc.mallopt(mmap_max, 0)  # nor does any tensor, however large, get pages of its own


@contextlib.contextmanager
def _memory_needed(images: int, device: torch.device) -> Iterator[None]:
    """Raise `OutOfMemory` where a step on so many images wants more than the device has."""
    try:
        yield
    except RuntimeError as error:  # torch's own class is for accelerators only
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory(
            f"a step on {images} images does not fit into the memory of {device}; "
            f"try --batch-size {max(1, images // 2)}, or a device with more memory"
        ) from None


def _check_finite(means: Tensor, epoch: int, weights: LossWeights) -> None:
    """Raise `Divergence` for the first step whose total loss is not finite."""
    wrong = (~means[:, Losses._fields.index("total")].isfinite()).nonzero()
    if not len(wrong):
        return
    step = int(wrong[0])
    terms = ("identity", "center", "expression") if weights.identity else ("expression",)
    first = next((t for t in terms if not means[step, Losses._fields.index(t)].isfinite()), "total")
    raise Divergence(
        f"epoch {epoch}, step {step + 1}: the {first} loss is {means[step, Losses._fields.index(first)]:g}; "
        "steps were too long, as happens at the rate of 0.01 without clipping or trained weights: "
        "try another --seed, start from trained --weights, or use 32-true precision"
    )
