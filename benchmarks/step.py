"""What does an EIFN training step cost beyond its two VGG-16 trunks?

    python -m benchmarks.step [--preset laptop paper] [--precision P] [--rounds N] [--json]

One side is an epoch of `Trainer.fit`: choosing the batch, augmenting, both branches, the fusion, the losses,
backward, clipping (laptop), SGD and the centers. The other is forward and backward of two bare trunks of
torchvision's layers on as many batches, in the same precision, memory format and process. The ratio is step
to trunks, of the preset that is worse. On a GPU the step is replayed as one CUDA graph; a further row tells
what the trunks take if they are replayed, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from lightning_fabric import Fabric

from benchmarks import measure
from eifn import paper
from eifn.augment import normalize
from eifn.training import PRESETS, Trainer


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a table or one JSON object."""
    parser = measure.options_of(__doc__)
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=["laptop", "paper"], metavar="P")
    measure.add_precision(parser)
    parser.add_argument(
        "--steps",
        type=measure.positive,
        metavar="N",
        help="an epoch (default: laptop 4, paper 1; 20 on a GPU)",
    )
    parser.add_argument("--rounds", type=measure.positive, metavar="N", help="default: 15; 30 on a GPU")
    options = parser.parse_args(arguments)
    rows, ratios = [], {}
    for name in options.preset:
        preset = measure.preset_for(name, options)
        fabric = measure.fabric_for(options.accelerator, preset.precision)
        on_gpu = fabric.device.type == "cuda"
        rounds = options.rounds or (30 if on_gpu else 15)
        steps = options.steps or (20 if on_gpu else 4 if preset.width < 1 else 1)
        faces = measure.random_faces(steps * paper.BATCH_SIZE)
        run_trunks = two_trunks(fabric, faces.frames[: paper.BATCH_SIZE], preset.width, steps)
        step, trunks = measure.epochs_in_turns(
            partial(measure.fit, Trainer(fabric), faces, preset),
            run_trunks,
            rounds=rounds,
            device=fabric.device,
        )
        if on_gpu:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                run_trunks()
            replayed = measure.in_turns({"graph": graph.replay}, rounds=rounds, device=fabric.device)["graph"]
        about = {"preset": name, "width": preset.width, "precision": preset.precision}
        ratio = measure.spread(step / trunks, "ratio")
        ratios[f"{name}, {preset.precision}"] = ratio["ratio"]
        if on_gpu:
            rows.append(
                about | {"side": "two trunks, replayed", **measure.spread(1e3 * replayed / steps, "ms")}
            )
        rows += [
            about | {"side": "two trunks", **measure.spread(1e3 * trunks / steps, "ms")},
            about
            | {"side": "EIFN step", **measure.spread(1e3 * step / steps, "ms")}
            | {"ratio": ratio["ratio"], "IQR of ratio": ratio["IQR"]},
        ]
    worst = max(ratios, key=ratios.get)
    measure.print_result(
        "What does an EIFN training step cost beyond its two VGG-16 trunks?",
        rows,
        ratio=ratios[worst],
        ratio_of=f"EIFN step to two trunks, preset {worst}, batch {paper.BATCH_SIZE}",
        device=fabric.device,
        as_json=options.json,
    )


def two_trunks(fabric: Fabric, frames: np.ndarray, width: float, steps: int) -> Callable[[], None]:
    """Forward and backward of two trunks alone, some times over, on a batch of uint8 (N, 64, 64, 3)."""
    images = normalize(torch.from_numpy(frames).to(fabric.device))  # (N, 3, 64, 64), channels last
    plain = [measure.plain_trunk(width).to(memory_format=torch.channels_last) for _ in range(2)]
    trunks = [fabric.setup_module(trunk) for trunk in plain]

    def run() -> None:
        for _ in range(steps):
            for trunk in trunks:
                fabric.backward(trunk(images).sum())
                trunk.zero_grad()

    return run


if __name__ == "__main__":
    main()
