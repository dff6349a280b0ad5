"""What does an EIFN training step cost beyond its two VGG-16 trunks?

    python -m benchmarks.step [--width W] [--seconds S] [--json]

Both sides do forward and backward on the same batch, in the same precision and memory format; the step adds
the fusion, the identity layers, the losses, the center update and SGD. The ratio is step to trunks.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable

import torch
from torch.utils.benchmark import Measurement, Timer

from eifn import paper
from eifn.center_loss import CenterLoss
from eifn.extractor import Extractor
from eifn.network import EIFN
from eifn.objective import LossWeights, losses

SUBJECTS = paper.CK_PLUS.subjects
EXPRESSIONS = len(paper.CK_PLUS.expressions)


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=float, default=1 / 8, help="of the extractors (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="for each side (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    images = torch.randn(paper.BATCH_SIZE, 3, 64, 64, device=device).to(memory_format=torch.channels_last)
    sides = {
        "two trunks": _trunks(images, options.width),
        "EIFN step": _step(images, options.width),
    }
    # `Timer` warms up first, and waits for the GPU.
    measured = {
        name: Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads()).blocked_autorange(
            min_run_time=options.seconds
        )
        for name, run in sides.items()
    }
    ratio = measured["EIFN step"].median / measured["two trunks"].median
    about = {
        "ratio": round(ratio, 3),
        "width": options.width,
        "batch": len(images),
        "precision": "float32",
        "device": torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "sides": {name: _summary(m) for name, m in measured.items()},
    }
    if options.json:
        print(json.dumps(about))
        return
    print(f"width {options.width:g}, batch {len(images)}, float32, {about['device']}, torch {about['torch']}")
    for name, side in about["sides"].items():
        print(f"{name:10}  median {side['ms']:8.1f} ms, IQR {side['iqr_ms']:.1f}, n = {side['n']}")
    print(f"ratio       {ratio:.3f}")


def _trunks(images: torch.Tensor, width: float) -> Callable[[], None]:
    trunks = [Extractor(width=width).to(images.device, memory_format=torch.channels_last) for _ in range(2)]

    def run() -> None:
        for trunk in trunks:
            trunk(images).sum().backward()
            trunk.zero_grad()

    return run


def _step(images: torch.Tensor, width: float) -> Callable[[], None]:
    device = images.device
    model = EIFN(SUBJECTS, EXPRESSIONS, width=width).to(device, memory_format=torch.channels_last)
    head = model.identity_classifier
    center_loss = CenterLoss(head.out_features, head.in_features).to(device)
    # A rate of 0 keeps the numbers where they are, however long it runs; the work is the same.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=paper.MOMENTUM)
    subject = torch.randint(SUBJECTS, (len(images),), device=device)
    expression = torch.randint(EXPRESSIONS, (len(images),), device=device)
    weights = LossWeights(**paper.CK_PLUS.loss_weights)

    def run() -> None:
        output = model(images)
        losses(output, subject, expression, weights=weights, center_loss=center_loss).total.backward()
        optimizer.step()
        optimizer.zero_grad()
        center_loss.update(output.embedding, subject)

    return run


def _summary(measurement: Measurement) -> dict[str, float]:
    return {
        "ms": round(1e3 * measurement.median, 2),
        "iqr_ms": round(1e3 * measurement.iqr, 2),
        "n": len(measurement.times) * measurement.number_per_run,
    }


if __name__ == "__main__":
    main()
