import math
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch.nn import functional

from eifn import paper, training
from eifn.augment import VIEWS, augment, normalize
from eifn.database import read_database
from eifn.extractor import WeightsError
from eifn.network import EIFN, Variant
from eifn.objective import LossWeights
from eifn.training import (
    PRESETS,
    Checkpoint,
    Divergence,
    OutOfMemory,
    Trainer,
    derive_seed,
    load_model,
    loss_weights,
    save_model,
    train_stage_one,
    train_stage_two,
)

WEIGHTS = LossWeights(center=1e-2, identity=2, expression=3)


@pytest.fixture
def faces(make_database):
    return read_database(make_database())


@pytest.fixture
def trainer():
    return Trainer(Fabric(accelerator="cpu", devices=1))


def build(variant=Variant.EIFN, subjects=12):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return EIFN(subjects, 2, variant=variant, width=1 / 64)


def fit(trainer, model, faces, **changes):
    rows = np.arange(len(faces))
    settings = {
        "weights": WEIGHTS,
        "epochs": 1,
        "drop_every": None,
        "views": 1,
        "batch_size": paper.BATCH_SIZE,
        "clip": None,
        "seed": 0,
    } | changes
    history = []
    trainer.fit(model, faces, rows, **settings, after_epoch=history.append)
    return history


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def by_hand(model, faces, trainer, *, views, seed):
    """An epoch of the same training, written out: the paper's settings as numbers."""
    subjects = sorted(set(faces.table["subject"]))
    subject = torch.tensor([subjects.index(s) for s in faces.table["subject"]])
    expression = torch.tensor([faces.expressions.index(e) for e in faces.table["expression"]])
    frames = torch.from_numpy(np.array(faces.frames))
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    centers = torch.zeros(len(subjects), model.identity_classifier.in_features)
    for index, view, _ in trainer._batches(len(frames), views, paper.BATCH_SIZE, seed, 1):
        output = model(augment(normalize(frames[index]), view))
        distance = (output.embedding - centers[subject[index]]).square().sum(1)
        identity = functional.nll_loss(output.identity_logits.log_softmax(1), subject[index])
        expressed = functional.nll_loss(output.expression_logits.log_softmax(1), expression[index])
        total = 2 * (identity + 1e-2 * distance.mean() / 2) + 3 * expressed
        gradients = torch.autograd.grad(total, list(model.parameters()))
        with torch.no_grad():
            for p, v, g in zip(model.parameters(), velocity, gradients, strict=True):
                v.mul_(0.9).add_(g + 5e-4 * p)
                p.sub_(0.01 * v)
            for j in subject[index].unique():
                own = output.embedding[subject[index] == j]
                centers[j] -= 0.5 * (centers[j] - own).sum(0) / (1 + len(own))


def test_the_loop_equals_one_written_out(trainer, faces):
    """SGD 0.01, momentum 0.9, decay 5e-4, equation 5 and the centers' own rule, over several batches."""
    ours, theirs = build(), build()
    # 240 images: batches of 100, 100 and 40. Later, the steep root makes much of what float32 rounds.
    fit(trainer, ours, faces, views=5)
    by_hand(theirs, faces, trainer, views=5, seed=0)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5, msg=name)


def test_what_an_epoch_reports_is_the_mean_over_its_images(trainer, faces):
    """With all learning rates at 0 every batch has the loss of the untrained model."""
    model = build()
    (epoch,) = fit(trainer, model, faces, epochs=1, views=1, weights=WEIGHTS)
    assert epoch.epoch == 1
    assert epoch.total == pytest.approx(2 * (epoch.identity + 1e-2 * epoch.center) + 3 * epoch.expression)
    # 48 images are one batch, so the means are those of the model before its first step.
    frames = normalize(torch.from_numpy(np.array(faces.frames)))
    view = torch.empty(48, dtype=torch.long)
    for index, views, _ in trainer._batches(48, 1, paper.BATCH_SIZE, 0, 1):
        view[index] = views
    with torch.no_grad():
        output = build()(augment(frames, view))
    expected = functional.cross_entropy(output.expression_logits, torch.from_numpy(faces.labels))
    assert epoch.expression == pytest.approx(expected.item(), rel=1e-4)
    assert epoch.center == pytest.approx(output.embedding.square().sum(1).mean().item() / 2, rel=1e-4)
    answers = output.expression_logits.argmax(1).numpy()
    assert epoch.accuracy == pytest.approx(np.mean(answers == faces.labels))


@pytest.mark.parametrize(("drop_every", "rates"), [(2, [1e-2, 1e-2, 1e-3, 1e-3, 1e-4]), (None, [1e-2] * 5)])
def test_learning_rate(trainer, faces, drop_every, rates):
    history = fit(trainer, build(), faces, epochs=5, drop_every=drop_every)
    assert [epoch.learning_rate for epoch in history] == pytest.approx(rates)


def test_the_recipe_drops_the_rate_every_20_epochs_in_stage_two_only(trainer, faces, tiny, monkeypatch):
    calls = []
    monkeypatch.setattr(trainer, "fit", lambda *positional, **named: calls.append(named))
    start = train_stage_one(trainer, faces, variant=Variant.EIFN, preset=tiny, seed=0)
    train_stage_two(trainer, faces, np.arange(8), start=start, variant=Variant.EIFN, preset=tiny, seed=0)
    assert [(call["drop_every"], call["epochs"]) for call in calls] == [(None, 1), (20, 2)]
    assert PRESETS["paper"].stage_two_epochs == 60
    assert PRESETS["paper"].stage_one_views == PRESETS["paper"].stage_two_views(faces) == VIEWS


@pytest.mark.parametrize(
    ("images", "views"), [(5000, 1), (1440, 1), (981, 2), (720, 2), (719, 3), (9, VIEWS)]
)
def test_a_short_preset_shows_as_few_views_as_make_an_epoch(images, views):
    for preset in (PRESETS["laptop"], PRESETS["wide"]):
        assert preset.stage_one_views == 1
        assert preset.stage_two_views(range(images)) == views
        assert (
            replace(preset, views=5).stage_one_views
            == replace(preset, views=5).stage_two_views(range(images))
            == 5
        )


def test_the_size_of_a_database_decides_and_not_that_of_a_fold(trainer, faces, tiny, monkeypatch):
    calls = []
    monkeypatch.setattr(trainer, "fit", lambda *positional, **named: calls.append(named))
    monkeypatch.setattr("eifn.training.EPOCH_IMAGES", 3 * len(faces))
    preset = replace(tiny, views=None)
    start = train_stage_one(trainer, faces, variant=Variant.EIFN, preset=preset, seed=0)
    train_stage_two(trainer, faces, np.arange(8), start=start, variant=Variant.EIFN, preset=preset, seed=0)
    assert [call["views"] for call in calls] == [1, 3]


def test_a_long_gradient_is_shortened(trainer, faces):
    """After one step from rest, the weights have moved by the rate times the gradient and the decay."""
    moved = {}
    for clip in (None, 1e9, 0.1):
        model = build()
        before = state(model)
        fit(trainer, model, faces, clip=clip)
        moved[clip] = math.sqrt(
            sum(
                ((value - before[key]) / -0.01 - 5e-4 * before[key]).double().square().sum()
                for key, value in state(model).items()
            )
        )
    assert moved[None] == moved[1e9] > 0.5
    assert moved[0.1] == pytest.approx(0.1, rel=0.05)


def test_the_rate_acts(trainer, faces):
    """A hundredth of the rate moves the weights about a hundredth as far."""
    moved = []
    for epochs in (1, 2):
        model = build()
        before = state(model)
        fit(trainer, model, faces, epochs=1, seed=5)
        if epochs == 2:
            before = state(model)
            rate = training.paper.LEARNING_RATE
            training.paper.LEARNING_RATE = rate / 100
            try:
                fit(trainer, model, faces, epochs=1, seed=5)
            finally:
                training.paper.LEARNING_RATE = rate
        after = state(model)
        moved.append(sum((after[key] - before[key]).square().sum() for key in after).sqrt().item())
    assert moved[1] == pytest.approx(moved[0] / 100, rel=0.5)


@pytest.mark.parametrize("views", [1, 5, VIEWS])
def test_an_epoch_shows_each_image_in_so_many_different_views(trainer, views):
    epochs = []
    for epoch in (1, 2):
        batches = list(trainer._batches(30, views, paper.BATCH_SIZE, 0, epoch))
        assert [len(index) for index, *_ in batches[:-1]] == [100] * (len(batches) - 1)
        assert all(size == len(index) for index, _, size in batches)
        epochs.append(
            [pair for index, view, _ in batches for pair in zip(index.tolist(), view.tolist(), strict=True)]
        )
    for shown in epochs:
        assert len(set(shown)) == len(shown) == 30 * views
        assert Counter(image for image, _ in shown) == dict.fromkeys(range(30), views)
        assert {view for _, view in shown} <= set(range(VIEWS))
    assert epochs[0] != epochs[1]


def test_ranks_share_every_batch(trainer):
    class Rank:
        def __init__(self, rank):
            self.global_rank, self.world_size, self.device = rank, 3, torch.device("cpu")

    joint = list(
        trainer._batches(101, 1, paper.BATCH_SIZE, 7, 1)
    )  # the last batch of one image has nothing for two of the ranks
    parts = [list(Trainer(Rank(rank))._batches(101, 1, paper.BATCH_SIZE, 7, 1)) for rank in range(3)]
    assert len(joint) == 2
    for (index, _, size), *ranks in zip(joint[:1], *parts, strict=True):
        assert sorted(index.tolist()) == sorted(i for part, *_ in ranks for i in part.tolist())
        assert all(part_size == size for *_, part_size in ranks)


@pytest.mark.parametrize("variant", Variant)
def test_training_repeats_exactly(trainer, faces, tiny, variant):
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(runs))  # what went before must not matter
        before = torch.get_rng_state()
        model = train_stage_one(trainer, faces, variant=variant, preset=tiny, seed=seed)
        model = train_stage_two(
            trainer, faces, np.arange(40), start=model, variant=variant, preset=tiny, seed=seed
        )
        assert torch.equal(torch.get_rng_state(), before)
        runs.append(state(model) | {"predictions": torch.from_numpy(trainer.predict(model, faces.frames))})
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])
    assert not torch.equal(runs[0]["predictions"], runs[2]["predictions"])


@pytest.mark.slow
def test_training_learns_what_holds_for_others(trainer, faces):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = EIFN(10, 2, width=1 / 32)
    train, test = np.arange(40), np.arange(40, 48)  # ten people and two others
    trainer.fit(
        model,
        faces,
        train,
        weights=WEIGHTS,
        epochs=18,
        drop_every=None,
        views=5,
        batch_size=100,
        clip=10,
        seed=0,
    )
    answers = trainer.predict(model, faces.frames[test]).argmax(1)
    np.testing.assert_array_equal(answers, faces.labels[test])


@pytest.mark.parametrize(
    ("variant", "changes"), [(Variant.EFN, False), (Variant.EIFN_STAR, True), (Variant.EIFN, True)]
)
def test_nothing_trains_the_identity_head_of_efn(trainer, faces, variant, changes):
    model = build(variant)
    before = state(model)
    (epoch,) = fit(trainer, model, faces)
    for key, value in state(model).items():
        if key.startswith(("identity_layers", "identity_classifier")):
            assert torch.equal(value, before[key]) != changes, key
        else:
            assert not torch.equal(value, before[key]), key
    assert math.isnan(epoch.identity) == math.isnan(epoch.center) == (not changes)
    assert math.isfinite(epoch.total)


def test_the_expression_loss_reaches_the_identity_extractor_of_eifn_only(trainer, faces):
    """With a tiny λ2, the expression moves the identity extractor of EIFN; in EIFN* only decay is left."""
    moved = {}
    for variant in (Variant.EIFN, Variant.EIFN_STAR):
        model = build(variant)
        before = state(model.identity_extractor)
        fit(trainer, model, faces, weights=LossWeights(center=0, identity=1e-30, expression=1))
        after = state(model.identity_extractor)
        decayed = {key: before[key] * (1 - 0.01 * 5e-4) for key in before}
        moved[variant] = max((after[key] - decayed[key]).abs().max().item() for key in after)
    assert moved[Variant.EIFN_STAR] < 1e-7 < 1e-5 < moved[Variant.EIFN]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ck-plus", (1e-4, 2, 1)),
        ("synth-ck", (1e-4, 2, 1)),
        ("oulu-casia", (1e-4, 1, 6)),
        ("synth-oulu", (1e-4, 1, 6)),
        ("london", (1e-4, 1, 1)),
    ],
)
def test_the_loss_weights_belong_to_the_database(make_database, trainer, tiny, monkeypatch, name, expected):
    faces = read_database(make_database(name, subjects=2))
    weights = loss_weights(faces)
    assert (weights.center, weights.identity, weights.expression) == expected
    used = []
    monkeypatch.setattr(trainer, "fit", lambda *positional, **named: used.append(named["weights"]))
    model = train_stage_one(trainer, faces, variant=Variant.EIFN, preset=tiny, seed=0)
    train_stage_two(trainer, faces, np.arange(4), start=model, variant=Variant.EIFN, preset=tiny, seed=0)
    assert used == [weights, weights]


@pytest.mark.parametrize(
    ("poison", "term"),
    [
        ("identity_classifier.weight", "identity"),
        ("expression_classifier.weight", "expression"),
        ("identity_layers.3.bias", "identity"),
    ],
)
def test_divergence_names_step_term_and_advice(trainer, faces, poison, term):
    model = build()
    model.get_parameter(poison).data.fill_(math.nan)
    with pytest.raises(Divergence, match=f"epoch 1, step 1: the {term} loss is nan.*try another --seed"):
        fit(trainer, model, faces)


def test_what_efn_does_not_compute_is_no_divergence(trainer, faces):
    model = build(Variant.EFN)
    model.identity_classifier.weight.data.fill_(math.nan)
    assert math.isfinite(fit(trainer, model, faces)[0].total)


def test_stage_two_keeps_the_extractors_and_nothing_else(trainer, faces, tiny):
    start = build(subjects=5)
    kept = state(start)
    rows = np.arange(16)  # four people
    model = train_stage_two(
        trainer,
        faces,
        rows,
        start=start,
        variant=Variant.EIFN,
        preset=replace(tiny, stage_two_epochs=0),
        seed=0,
    )
    assert model.identity_classifier.out_features == 4
    assert model.expression_classifier.out_features == 2
    for key, value in state(model).items():
        same = value.shape == kept[key].shape and torch.equal(value, kept[key])
        if key != "expression_classifier.bias":  # which always starts at 0
            assert same == ("extractor" in key), key


def test_weights_that_cannot_be_had(trainer, faces, tiny, tmp_path):
    preset = replace(tiny, weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(WeightsError, match=r"none\.safetensors"):
        train_stage_one(trainer, faces, variant=Variant.EIFN, preset=preset, seed=0)


def test_predictions_are_a_softmax_in_evaluation_mode(trainer, faces):
    model = build()
    probabilities = trainer.predict(model, faces.frames)
    with torch.no_grad():
        logits = build()(normalize(torch.from_numpy(np.array(faces.frames)))).expression_logits
    np.testing.assert_allclose(probabilities, torch.softmax(logits.double(), 1), rtol=1e-4, atol=1e-6)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (48, 2)


@pytest.mark.parametrize("variant", Variant)
def test_a_saved_model_comes_back(tmp_path, variant):
    model = build(variant)
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.variant == variant
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())
    trainable = [p.requires_grad for p in model.parameters()]
    assert [p.requires_grad for p in loaded.parameters()] == trainable
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_files_that_are_no_models(tmp_path):
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    save_model(build(), good)
    pickled = tmp_path / "pickled"
    torch.save({"a": torch.zeros(1)}, pickled)
    for content in (good.read_bytes()[:-100], b"", b"not a model", pickled.read_bytes()):
        bad.write_bytes(content)
        with pytest.raises(WeightsError, match=r"bad\.safetensors: not a model.*eifn train"):
            load_model(bad)
    with pytest.raises(WeightsError, match="missing"):
        load_model(tmp_path / "missing")


def test_a_model_is_saved_whole_or_not_at_all(tmp_path):
    resource = pytest.importorskip("resource", reason="the system limits no sizes of files")
    path = tmp_path / "model.safetensors"
    save_model(build(), path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))  # a disk that is soon full
    try:
        with pytest.raises(OSError, match=re.escape(f"{path}: cannot be written (File too large)")):
            save_model(build(Variant.EFN), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_seeds_differ_for_different_keys():
    seeds = {derive_seed(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900
    assert derive_seed(1, 2) == derive_seed(1, 2)


def test_bfloat16_comes_close(faces):
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        trainer = Trainer(Fabric(accelerator="cpu", devices=1, precision=precision))
        losses.append([epoch.total for epoch in fit(trainer, build(), faces, epochs=3)])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


DDP = """
import sys
from pathlib import Path
import numpy as np
import torch
from lightning_fabric import Fabric
from eifn.database import read_database
from eifn.network import EIFN
from eifn.objective import LossWeights
from eifn.training import Trainer
from eifn import paper, training

made = []
original = training.CenterLoss
training.CenterLoss = lambda *sizes: made.append(original(*sizes)) or made[-1]
ranks, data, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
fabric = Fabric(accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto")
fabric.launch()
faces = read_database(data)
torch.manual_seed(3)
model = EIFN(12, 2, width=1 / 64)
history = []
Trainer(fabric).fit(
    model, faces, np.arange(len(faces) - 1), weights=LossWeights(center=1e-2, identity=2, expression=3),
    epochs=1, drop_every=None, views=5, batch_size=100, clip=10, seed=0, after_epoch=history.append,
)
state = {k: v.clone() for k, v in model.state_dict().items()}
state |= {"centers": made[0].centers, "total": torch.tensor([epoch.total for epoch in history])}
torch.save(state, out / f"{ranks}-{fabric.global_rank}.pt")
"""


@pytest.mark.slow
def test_two_processes_train_as_one(make_database, tmp_path):
    """DDP over gloo: 235 images an epoch are batches of 100, 100 and 35, which two ranks cannot halve."""
    script, data = tmp_path / "train.py", make_database()
    script.write_text(DDP)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone"]
    for launcher, ranks in (([], 1), (torchrun, 2)):
        command = [sys.executable, *launcher, script, str(ranks), data, tmp_path]
        subprocess.run(list(map(str, command)), check=True, env=environment, capture_output=True, timeout=300)
    alone, first, second = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1")
    )
    assert alone["centers"].any()
    for key in alone:
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], alone[key], rtol=1e-4, atol=2e-5, msg=key)


FAULTS = """
import resource
import sys
import numpy as np
import torch
from lightning_fabric import Fabric
from eifn.network import EIFN
from eifn.training import Trainer, loss_weights
from benchmarks import measure

def count(epoch):
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)

faults, faces = [], measure.random_faces(200)
trainer = Trainer(Fabric(accelerator="cpu", devices=1))
trainer.fit(
    EIFN(118, 7, width=float(sys.argv[1])), faces, np.arange(200), weights=loss_weights(faces),
    epochs=4, drop_every=None, views=1, batch_size=100, clip=10, seed=0, after_epoch=count,
)
print(faults[-1] - faults[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_a_step_uses_the_memory_of_the_one_before():
    """From the system its tensors would take 30 000 new pages a step, and 230 000 at half the width."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for width in (1 / 8, 1 / 2):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS, str(width)],
            cwd=Path(__file__).parents[1],
            check=True,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert int(done.stdout) < 20_000  # in two epochs of two steps


@pytest.mark.parametrize("variant", list(Variant))
def test_training_that_goes_on_from_a_checkpoint_ends_with_the_same_bits(trainer, faces, tmp_path, variant):
    whole = build(variant)
    expected = fit(trainer, whole, faces, epochs=4, drop_every=2)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "this training")
    fit(trainer, build(variant), faces, epochs=2, drop_every=2, checkpoint=checkpoint)
    other = build(variant)
    with torch.no_grad():  # what a new process has instead of what the old one had learned
        for parameter in other.parameters():
            parameter.zero_()
    history = fit(trainer, other, faces, epochs=4, drop_every=2, checkpoint=checkpoint)
    np.testing.assert_equal(list(map(vars, history)), list(map(vars, expected)))
    assert all(torch.equal(value, state(whole)[key]) for key, value in state(other).items())


def test_a_checkpoint_after_the_last_epoch_is_the_end(trainer, faces, tmp_path):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "this training")
    first, second = build(), build()
    history = fit(trainer, first, faces, epochs=2, checkpoint=checkpoint)
    written = checkpoint.path.stat().st_mtime_ns
    assert fit(trainer, second, faces, epochs=2, checkpoint=checkpoint) == history
    assert checkpoint.path.stat().st_mtime_ns == written
    assert all(torch.equal(value, state(first)[key]) for key, value in state(second).items())
    assert [path.name for path in tmp_path.glob("*.safetensors*")] == ["checkpoint.safetensors"]


def test_both_stages_keep_their_checkpoint(trainer, faces, tiny, tmp_path):
    one, two = (Checkpoint(tmp_path / name, name) for name in ("one", "two"))
    settings = {"variant": Variant.EIFN, "preset": tiny, "seed": 0}
    start = train_stage_one(trainer, faces, **settings, checkpoint=one)
    assert one.path.exists()
    train_stage_two(trainer, faces, np.arange(16), start=start, **settings, checkpoint=two)
    assert two.path.exists()


def test_checkpoints_take_a_tenth_of_the_time_at_most(trainer, faces, tmp_path, monkeypatch):
    """By a clock on which an epoch takes a second, and writing a checkpoint takes another."""
    seconds, written = [1000.0], []

    def save(checkpoint, model, optimizer, center_loss, history):
        seconds[0] += 1
        written.append(len(history))

    monkeypatch.setattr("eifn.training.time.monotonic", lambda: seconds[0])
    monkeypatch.setattr(Checkpoint, "save", save)
    batches = Trainer._batches

    def an_epoch(*arguments):
        seconds[0] += 1
        return batches(*arguments)

    monkeypatch.setattr(Trainer, "_batches", an_epoch)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "this training")
    fit(trainer, build(), faces, epochs=20, checkpoint=checkpoint)
    assert written == [1, 10, 19, 20]


def test_the_checkpoint_of_another_training_is_not_gone_on_from(trainer, faces, tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    fit(trainer, build(), faces, epochs=2, seed=1, checkpoint=Checkpoint(file, "seed 1"))
    history = fit(trainer, build(), faces, epochs=2, checkpoint=Checkpoint(file, "seed 0"))
    assert history == fit(trainer, build(), faces, epochs=2)


@pytest.mark.parametrize("damage", ["header", "end", "one bit", "not one"])
def test_a_damaged_checkpoint_is_found_and_not_used(trainer, faces, tmp_path, damage):
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "this training")
    fit(trainer, build(), faces, epochs=1, checkpoint=checkpoint)
    content = bytearray(checkpoint.path.read_bytes())
    if damage == "one bit":
        content[-1000] ^= 1
    else:
        content = {"header": content[:50], "end": content[:-100], "not one": b"{}"}[damage]
    checkpoint.path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"checkpoint\.safetensors: damaged; this training starts again"):
        history = fit(trainer, build(), faces, epochs=2, checkpoint=checkpoint)
    assert history == fit(trainer, build(), faces, epochs=2)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."),
    ],
)
def test_too_little_memory_suggests_a_batch_size(trainer, faces, monkeypatch, error):
    def fail(*images):
        raise error

    monkeypatch.setattr(training, "augment", fail)
    message = "a step on 32 images does not fit into the memory of cpu; try --batch-size 16"
    with pytest.raises(OutOfMemory, match=message):
        fit(trainer, build(), faces, batch_size=32)


def test_other_errors_of_a_step_are_not_taken_for_a_want_of_memory(trainer, faces, monkeypatch):
    monkeypatch.setattr(training, "augment", lambda images, view: images[:, :, :1])
    with pytest.raises(RuntimeError, match=r"(?i)size|shape"):
        fit(trainer, build(), faces)
