import json
import math
import re
import subprocess
import sys
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from benchmarks import fusion, inside, measure, protocol, scaling, sensitivity, textbook
from eifn import network, training
from eifn.augment import normalize
from eifn.center_loss import CenterLoss
from eifn.crossval import plan
from eifn.database import read_database
from eifn.network import EIFN, Variant
from eifn.objective import LossWeights, losses
from eifn.probe import Fusion
from eifn.training import PRESETS, Trainer

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")

SMALLEST = {
    "fusion": "--channels 2 --batch 2 --rounds 2",
    "inside": "eifn/weights/efn.safetensors",
    "protocol": "--images 7 --rounds 1",
    "scaling": "--batch 2 --width 1/64 --identities 3 --images 10 --steps 1 --rounds 1",
    "sensitivity": "--database NOISE --epochs 1",
    "step": "--preset laptop --steps 1 --rounds 1",
    "textbook": "--images 10 --workers 1 --rounds 1",
}


def run(name, *options):
    """A benchmark as `make bench` starts it, on a CPU."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_each_benchmark_is_here():
    assert SMALLEST.keys() == {file.stem for file in (ROOT / "benchmarks").glob("*.py")} - {"measure"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_each_benchmark_prints_one_object(name, tmp_path):
    options = SMALLEST[name]
    if "NOISE" in options:  # two images a person: among 24, one answer to all is sometimes right
        noise = measure.write_faces(measure.random_faces(2 * 118), tmp_path / "noise")
        options = options.replace("NOISE", str(noise))
    done = run(name, *options.split(), "--accelerator", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # nothing before it, and nothing after
    assert math.isfinite(result["ratio"])
    assert result["ratio"] > 0
    assert result["question"].endswith("?")
    assert result["rows"]
    for row in result["rows"]:
        assert row["n"] >= 1
        low, high = re.fullmatch(r"(\S+?)-(\S+)", row["IQR"]).groups()
        assert 0 <= float(low) <= float(high)
    assert {"device", "cores", "threads", "python", "torch", "torchvision"} <= result["machine"].keys()


@pytest.mark.slow
def test_the_models_that_come_with_the_package_are_as_recorded_inside():
    done = run("inside", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((ROOT / "results" / "inside.json").read_text("utf-8"))["rows"]
    recorded = {row["model"]: row for row in rows}
    found = json.loads(done.stdout)["rows"]
    assert len(found) == 3
    for row in found:
        shares = [name for name in row if name.endswith("%") and name != "right of a person, %"]
        expected = {name: recorded[row["model"]][name] for name in shares}
        # One answer of 280 may be another where sums are rounded otherwise.
        assert {name: row[name] for name in shares} == pytest.approx(expected, abs=0.4)


@pytest.mark.slow
def test_the_table_holds_the_same():
    done = run("fusion", *SMALLEST["fusion"].split(), "--accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    question, machine, head, *rows, _, ratio = done.stdout.splitlines()
    assert question.endswith("?")
    assert f"torch {torch.__version__}" in machine
    for column in ("form", "IQR", "n", "peak MB"):
        assert column in head
    assert len(rows) == len(fusion.FORMS)
    assert re.fullmatch(r"ratio [\d.e-]+: time of .*", ratio)


def test_a_table_and_an_object_say_the_same(capsys):
    rows = [{"side": "ours", "ms": 12.5, "IQR": "12-13", "n": 3}, {"side": "theirs", "ratio": 0.00123}]
    about = {"ratio": 1234.5678, "ratio_of": "theirs to ours", "notes": ["a note"], "device": CPU}
    measure.print_result("Which?", rows, **about, as_json=True)
    result = json.loads(capsys.readouterr().out)
    measure.print_result("Which?", rows, **about, as_json=False)
    question, machine, head, ours, theirs, note, ratio = capsys.readouterr().out.splitlines()
    assert [result["question"], *result["notes"]] == [question, note] == ["Which?", "a note"]
    assert result["rows"] == rows
    assert f"python {result['machine']['python']}" in machine
    assert head.split() == ["side", "ms", "IQR", "n", "ratio"]
    assert (ours.split(), theirs.split()) == (["ours", "12.5", "12-13", "3"], ["theirs", "0.00123"])
    assert ratio == f"ratio {result['ratio']:g}: {result['ratio_of']}" == "ratio 1230: theirs to ours"


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("fusion", "--rounds 0", "0 is not at least 1"),
        ("fusion", "--channels two", "invalid positive value: 'two'"),
        ("inside", "nowhere.safetensors", "nowhere.safetensors: not a model that can be read"),
        ("inside", "--accelerator cuda", "on the CPU"),
        ("protocol", "--preset phone", "invalid choice: 'phone'"),
        ("protocol", "--runs nowhere", "nowhere: no such folder"),
        ("scaling", "--width 1/3", "1/3 does not make 64 x width a whole number"),
        ("scaling", "--width 1/0", "1/0 does not make 64 x width a whole number"),
        ("scaling", "--images 9", "9 do not make 10 folds"),
        ("sensitivity", "--database nowhere", "nowhere"),
        ("sensitivity", "--folds 11", "invalid choice: 11"),
        ("step", "--preset tablet", "invalid choice: 'tablet'"),
        ("textbook", "--workers -1", "-1 is not at least 1"),
        ("textbook", "--images 9", "9 do not make 10 folds"),
        pytest.param(
            "textbook",
            "--accelerator cuda",
            "finds no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_a_wrong_option_is_answered_with_one_line(name, options, complaint, capsys):
    with pytest.raises(SystemExit) as end:
        import_module(f"benchmarks.{name}").main(options.split())
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err
    assert err.count("\n") == 1


def test_memory_is_what_tensors_take_at_a_time():
    def one_after_another():
        for _ in range(3):
            torch.ones(1_000_000)

    def together():
        return [torch.ones(1_000_000) for _ in range(3)]

    assert measure.peak_megabytes(one_after_another, CPU) == pytest.approx(4, abs=0.01)
    assert measure.peak_megabytes(together, CPU) == pytest.approx(12, abs=0.01)


def test_sides_take_turns_and_warm_up_is_not_kept(monkeypatch):
    calls, clock = [], 0.0
    takes = {"a": iter([100.0, 1.0, 2.0]), "b": iter([200.0, 3.0, 4.0])}

    def side(name):
        nonlocal clock
        calls.append(name)
        clock += next(takes[name])

    monkeypatch.setattr("time.perf_counter", lambda: clock)
    times = measure.in_turns({"a": lambda: side("a"), "b": lambda: side("b")}, rounds=2, device=CPU)
    assert calls == ["a", "b"] * 3
    np.testing.assert_array_equal(times["a"], [1, 2])
    np.testing.assert_array_equal(times["b"], [3, 4])


def test_epochs_and_their_rivals_are_timed_apart(monkeypatch):
    clock = 0.0

    def spend(seconds):
        nonlocal clock
        clock += seconds

    def fit(epochs, after_epoch):
        spend(1000)  # once, before the first epoch
        for epoch in range(epochs):
            spend(10 + epoch)
            after_epoch(None)

    monkeypatch.setattr("time.perf_counter", lambda: clock)
    times = measure.epochs_in_turns(fit, lambda: spend(5), lambda: spend(7), rounds=2, device=CPU)
    np.testing.assert_array_equal(times, [[11, 12], [5, 5], [7, 7]])


@pytest.mark.parametrize(
    ("has", "asked", "precision"),
    [(True, None, "bf16-mixed"), (False, None, "32-true"), (True, "32-true", "32-true")],
)
def test_a_preset_is_measured_in_the_format_in_which_eifn_trains(monkeypatch, has, asked, precision):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": has})
    preset = measure.preset_for("laptop", Namespace(accelerator="cpu", precision=asked))
    assert preset == replace(PRESETS["laptop"], precision=precision)


@pytest.mark.parametrize("form", fusion.FORMS.values(), ids=fusion.FORMS)
def test_every_form_of_fusion_is_equations_3_and_4_in_float64(form):
    identity_map, expression_map = fusion.random_maps(3, 8, CPU)
    expected = np.zeros((3, 8, 8))
    for n, row, column in np.ndindex(3, 2, 2):
        first, second = (
            m[n, :, row, column].detach().double().numpy() for m in (identity_map, expression_map)
        )
        expected[n] += np.multiply.outer(first, second)
    expected = np.sign(expected) * np.sqrt(np.abs(expected))
    expected = expected.reshape(3, -1) / np.sqrt((expected**2).sum((1, 2)))[:, None]
    np.testing.assert_allclose(form(identity_map, expression_map).detach(), expected, rtol=1e-5, atol=2e-6)


def test_a_form_that_differs_is_not_timed(monkeypatch):
    monkeypatch.setitem(fusion.FORMS, "mean", lambda a, b: fusion.einsum(a, b) * 1.01)
    with pytest.raises(AssertionError):
        fusion.check_equal(fusion.random_maps(2, 4, CPU))


def test_the_readers_loss_and_gradients_are_ours():
    torch.manual_seed(0)
    ours = EIFN(12, 7, width=1 / 8).double()
    readers = textbook.TextbookEIFN(12, 7, width=1 / 8).double()
    readers.load_state_dict(ours.state_dict())
    our_centers, their_centers = CenterLoss(12, 64).double(), textbook.TextbookCenterLoss(12, 64).double()
    our_centers.centers.normal_()
    their_centers.load_state_dict(our_centers.state_dict())
    images = normalize(torch.randint(0, 256, (20, 64, 64, 3))).double()
    subject, expression = torch.randint(0, 12, (20,)), torch.randint(0, 7, (20,))
    weights = LossWeights(center=0.3, identity=2, expression=5)

    loss = losses(ours(images), subject, expression, weights=weights, center_loss=our_centers).total
    theirs = textbook.textbook_loss(readers, their_centers, (images, subject, expression), weights)
    # Ours takes the softmax losses in float32.
    torch.testing.assert_close(theirs, loss, rtol=1e-6, atol=0, check_dtype=False)
    loss.backward()
    theirs.backward()
    expected = dict(ours.named_parameters())
    for name, parameter in readers.named_parameters():
        scale = expected[name].grad.abs().max()
        torch.testing.assert_close(parameter.grad / scale, expected[name].grad / scale, rtol=0, atol=1e-4)


def test_the_reader_sees_the_images_that_we_see(monkeypatch):
    faces = measure.random_faces(6)
    monkeypatch.setattr("random.choice", lambda angles: 0)
    ours = normalize(torch.from_numpy(faces.frames))
    for index, (image, subject, expression) in enumerate(textbook.TextbookFaces(faces)):
        mirrored = not torch.allclose(image, ours[index], atol=1e-5)
        torch.testing.assert_close(image.flip(2) if mirrored else image, ours[index], rtol=0, atol=1e-5)
        assert faces.subjects[subject] == faces.table["subject"][index]
        assert faces.expressions[expression] == faces.table["expression"][index]
        if index == 5:
            break


@pytest.mark.slow
def test_the_reader_learns(make_database):
    faces = read_database(make_database())
    epoch = textbook.textbook_epoch(faces, width=1 / 8, clip=10, workers=1, device=CPU)
    first, *others = [epoch() for _ in range(60)]
    # It starts untrained: on the way down its loss jumps, at an epoch that depends on the processor.
    assert np.median(others[-10:]) < 0.8 * first


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    """The runs of the protocol's benchmark and their pieces, with the preset `paper`."""
    runs = protocol.all_runs(tmp_path_factory.mktemp("noise"), "paper", PRESETS["paper"], "cpu")
    return runs, [piece for run in runs for piece in plan(run)]


def test_the_ablation_is_counted_as_the_paper_states_it(ablation):
    """3 variants, 14 views, 20 and 60 epochs; every image is in the training set of nine folds of ten."""
    _, pieces = ablation
    frames = {"CK+": 3 * 327, "Oulu-CASIA": 3 * 480}
    expected = {
        f"train {variant} on {database}": 14 * (20 + 9 * 60) * frames[database]
        for variant in ("EFN", "EIFN*", "EIFN")
        for database in frames
    }
    expected |= {protocol.STAGE_ONE: 6, protocol.FOLD: 60}
    assert len(pieces) == 66
    # Slow checkpoints are written twice a training, instant ones after every epoch.
    for seconds, checkpoints in ((1e9, 2 * 66), (1e-9, 6 * 20 + 60 * 60)):
        costs = dict.fromkeys(expected, np.ones(1)) | {protocol.CHECKPOINT: np.array([seconds])}
        counts = protocol.count_parts(pieces, costs)
        assert counts == Counter(expected | {protocol.CHECKPOINT: checkpoints})


def test_noise_is_as_large_as_the_papers_databases(ablation):
    runs, _ = ablation
    for name, evaluation in protocol.DATABASES.items():
        images = 3 * sum(evaluation.sequences.values())
        faces = measure.random_faces(images, evaluation)
        assert (len(faces.subjects), len(faces.expressions)) == (evaluation.subjects, len(evaluation.counts))
        assert {run.database.name for run in runs} == {run.stage_one.name for run in runs}
        assert name in {run.database.name for run in runs}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_operations_of_a_step_are_told_apart(precision):
    trainer = Trainer(Fabric(accelerator="cpu", devices=1, precision=precision))
    recipe = replace(PRESETS["laptop"], precision=precision)
    shares = protocol.share_of_operations(trainer, recipe, 100, 2)
    assert shares.keys() == {*protocol.OPERATIONS, protocol.OTHER_OPERATIONS}
    np.testing.assert_allclose(sum(shares.values()), [1, 1])
    for name, share in shares.items():
        assert (share > 0).all(), name


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::convolution_backward", "convolutions, backward"),
        ("aten::mkldnn_convolution", "convolutions, forward"),
        ("aten::cudnn_convolution", "convolutions, forward"),
        ("aten::max_pool2d_with_indices_backward", "max-pool"),
        ("aten::addmm", "matrix products"),
        ("aten::_fused_sgd_", "optimizer"),
        ("aten::copy_", "all else"),
    ],
)
def test_operators_belong_to_operations(operator, kind):
    assert protocol.operation_of(operator) == kind


def test_the_estimate_is_set_against_recorded_runs(ablation):
    _, pieces = ablation
    recipe = PRESETS["paper"]
    trainings = {piece.run.variant: protocol.training_of(piece.run.variant, "ck-plus") for piece in pieces}
    trainings |= {
        (piece.run.variant, ""): protocol.training_of(piece.run.variant, "oulu-casia") for piece in pieces
    }
    parts = [*trainings.values(), protocol.STAGE_ONE, protocol.FOLD]
    seconds = dict.fromkeys(parts, np.zeros(1))
    seconds |= {"train EIFN on CK+": np.array([0.001]), protocol.CHECKPOINT: np.array([1e-12])}

    def fold(number, **changes):
        about = {"name": "synth-ck", "variant": "eifn", "preset": recipe, "resumed": False} | changes
        preset = vars(about["preset"]) | {"weights": "a checksum"}
        settings = {"database": {"name": about["name"]}, "variant": about["variant"], "preset": preset}
        made = {"seconds": 1500.0, "device": "cpu", "resumed": about["resumed"]}
        return {"settings": settings | {"folds": {"fold": number}}, "made": made}

    images = sum(
        piece.images * piece.epochs
        for piece in pieces
        if piece.run.variant == Variant.EIFN and piece.run.database.name == "ck-plus" and piece.fold in (3, 4)
    )
    (line,) = protocol.check({"run": [fold(3), fold(4)]}, pieces, seconds)
    expected = f"{3000 / (images / 1000):.3g} times the estimate"
    assert line == f"recorded run, on cpu: 2 folds took 50 minutes, {expected}"
    others = {
        "another database": [fold(3, name="london")],
        "another preset": [fold(3, preset=PRESETS["laptop"])],
        "resumed": [fold(3, resumed=True)],
    }
    (line,) = protocol.check(others, pieces, seconds)
    assert line.startswith("no recorded run")
    assert protocol.check({}, pieces, seconds) == []


def test_a_model_of_other_expressions_is_refused_before_any_face_is_drawn(tmp_path, capsys):
    path = tmp_path / "three.safetensors"
    training.save_model(EIFN(subjects=2, expressions=3, width=1 / 64), path)
    with pytest.raises(SystemExit) as end:
        inside.main([str(path)])
    assert end.value.code == 2
    assert f"{path}: tells 3 expressions, these faces show 7" in capsys.readouterr().err


@pytest.mark.parametrize("telling", ["identity_map", "expression_map"])
def test_swaps_show_which_map_tells_the_expression(telling):
    """Seven channels, of which a face has one active: its expression's, in the map that tells it."""
    expressions = torch.eye(7).double().repeat(40, 1)  # (280, 7), person by person
    nothing = torch.eye(7).double()[[0] * 280]
    maps = dict.fromkeys(["identity_map", "expression_map"], nothing) | {telling: expressions}
    weight = torch.eye(7).double()[:, :, None].expand(7, 7, 7)  # reads the identity channel
    fusion = Fusion(
        **{name: values[:, :, None, None].expand(280, 7, 2, 2) for name, values in maps.items()},
        weight=weight if telling == "identity_map" else weight.mT,
        bias=torch.zeros(7).double(),
    )
    row = inside.look(fusion)
    assert row["right, %"] == row["stranger, %"] == row["right of a person, %"] == 100
    by_identity = telling == "identity_map"
    assert row["mean map, %"] == (14.3 if by_identity else 100)  # one answer to all of seven expressions
    assert (row["swapped: face's, %"], row["swapped: donor's, %"]) == ((0, 100) if by_identity else (100, 0))
    assert (row["id: expression, %"] == 100) == by_identity
    assert (row["exp: expression, %"] == 100) != by_identity
    assert row["n"] == 40


def test_every_setting_makes_its_choice_and_takes_it_back():
    """What each context changes, told by what the package computes inside and after it."""
    embedding, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])

    def facts():
        torch.manual_seed(0)
        weight = EIFN(3, 7, width=1 / 8).expression_classifier.weight
        view = torch.full((2,), 8)
        images = torch.arange(2 * 3 * 8 * 8).float().view(2, 3, 8, 8)
        return {
            "epsilon 1e-5 under the root": network.fuse(
                1e-3 * torch.ones(1, 2, 1, 1), torch.tensor([[[[1.0]], [[2.0]]]])
            ),
            "center loss summed over the batch": CenterLoss(3, 4)(embedding, labels),
            "expression classifier by PyTorch's default": weight.std(),
            "no augmentation": training.augment(images, view),
        }

    before = facts()
    for name, setting in sensitivity.SETTINGS.items():
        with setting.opened():
            inside = facts()
        after = facts()
        for fact, value in before.items():
            assert torch.equal(after[fact], value)
            changed = setting.opened is sensitivity.SETTINGS[fact].opened
            assert torch.equal(inside[fact], value) != changed, (name, fact)
    with sensitivity.center_loss_summed():
        torch.testing.assert_close(CenterLoss(3, 4)(embedding, labels), embedding.square().sum() / 2)
    with sensitivity.classifier_by_default():
        assert facts()["expression classifier by PyTorch's default"] < 1 / 64  # within 1 / sqrt(64 * 64)


def test_answers_are_compared_with_those_of_the_same_seed(tmp_path, monkeypatch, capsys):
    """Against loops over answers that are drawn, so nothing is trained."""
    drawn = []  # (seed, center loss of two embeddings of length 1, right or not)

    def train(trainer, faces, fold, recipe, seed):
        right = np.random.default_rng(len(drawn)).random(len(fold.test)) < 0.7
        loss = CenterLoss(2, 4)(torch.eye(4)[:2], torch.arange(2))
        drawn.append((seed, float(loss), right))
        return sensitivity.Outcome(right=right, training_accuracy=1)

    monkeypatch.setattr(sensitivity, "train", train)
    noise = measure.write_faces(measure.random_faces(2 * 118), tmp_path / "noise")
    sensitivity.main(["--database", str(noise), "--folds", "2", "--accelerator", "cpu", "--json"])
    result = json.loads(capsys.readouterr().out)
    right = {}
    for number, row in enumerate(result["rows"]):
        parts = drawn[number :: len(result["rows"])]
        assert row["right by fold"] == [int(part[-1].sum()) for part in parts]
        right[row["setting"]] = [part[-1] for part in parts]
        seed = 1 if "another seed" in row["setting"] else 0
        assert [part[0] for part in parts] == [training.derive_seed(seed, fold) for fold in (0, 1)]
        assert row["against"] == (
            "another seed" if row["setting"].endswith("summed, another seed") else "as it is here"
        )
        assert {part[1] for part in parts} == {1.0 if "summed" in row["setting"] else 0.5}
    for row in result["rows"]:
        pairs = [
            pair
            for two in zip(right[row["setting"]], right[row["against"]], strict=True)
            for pair in zip(*two, strict=True)
        ]
        assert row["sequences"] == len(pairs)
        assert row["gained"] == sum(ours and not theirs for ours, theirs in pairs)
        assert row["lost"] == sum(theirs and not ours for ours, theirs in pairs)


@pytest.mark.parametrize(("most", "numbers"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_workers_double_up_to_the_cores(most, numbers):
    assert list(scaling.doubling(most)) == numbers
