"""What does the bilinear module cost, in time and memory, against the direct ways to write it?

    python -m benchmarks.fusion [--channels C ...] [--rounds N] [--json]

Forward and backward of `eifn.fusion.fuse` and of four forms that public code uses, on two maps of 2 x 2
locations and a batch of 100, in float32. All forms are first checked to give the same vector and gradients.
The ratio is time of the fastest other form to time of `fuse`, at the largest number of channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import measure
from eifn import paper
from eifn.fusion import fuse

EPSILON = 1e-12
"""Under the root of the direct forms, where its slope would be infinite."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a table or one JSON object."""
    parser = measure.options_of(__doc__)
    parser.add_argument("--channels", type=measure.positive, nargs="+", default=[64, 512], metavar="C")
    parser.add_argument(
        "--batch", type=measure.positive, default=paper.BATCH_SIZE, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--rounds", type=measure.positive, default=15, metavar="N", help="default: %(default)s"
    )
    options = parser.parse_args(arguments)
    device = measure.fabric_for(options.accelerator).device
    rows = []
    for channels in sorted(options.channels):
        maps = random_maps(options.batch, channels, device)
        check_equal(maps)
        upstream = torch.randn(options.batch, channels**2, device=device)
        calls = {name: partial(forward_backward, form, maps, upstream) for name, form in FORMS.items()}
        times = measure.in_turns(calls, rounds=options.rounds, device=device)
        ratios = {}
        for name, call in calls.items():
            ratio = measure.spread(times[name] / times["fuse"], "time to fuse")
            ratios[name] = ratio["time to fuse"]
            rows.append(
                {"channels": channels, "form": name}
                | measure.spread(1e3 * times[name], "ms")
                | {"time to fuse": ratio["time to fuse"], "IQR of ratio": ratio["IQR"]}
                | {"peak MB": float(f"{measure.peak_megabytes(call, device):.3g}")}
            )
    fastest = min((name for name in ratios if name != "fuse"), key=ratios.get)
    measure.print_result(
        "What does the bilinear module cost against the direct ways to write it?",
        rows,
        ratio=ratios[fastest],
        ratio_of=f"time of the fastest other form ({fastest}) to fuse, {channels} channels, "
        f"batch {options.batch}",
        notes=["peak MB: tensors made by forward and backward, at the worst moment, without the two maps"],
        device=device,
        as_json=options.json,
    )


def outer_products(identity_map: Tensor, expression_map: Tensor) -> Tensor:
    """The outer product at every location in memory, (N, locations, C, C), then their sum."""
    identity = identity_map.flatten(2).mT  # (N, locations, C)
    expression = expression_map.flatten(2).mT  # (N, locations, C)
    return _root((identity[..., :, None] * expression[..., None, :]).sum(1))


def each_sample(identity_map: Tensor, expression_map: Tensor) -> Tensor:
    """A loop over the batch."""
    pairs = zip(identity_map.flatten(2), expression_map.flatten(2), strict=True)
    return _root(torch.stack([identity @ expression.T for identity, expression in pairs]))


def einsum(identity_map: Tensor, expression_map: Tensor) -> Tensor:
    """Equation 3 as an einsum over the two maps."""
    return _root(torch.einsum("nihw,njhw->nij", identity_map, expression_map))


def bmm(identity_map: Tensor, expression_map: Tensor) -> Tensor:
    """A batched matrix product."""
    return _root(torch.bmm(identity_map.flatten(2), expression_map.flatten(2).transpose(1, 2)))


def _root(pooled: Tensor) -> Tensor:
    """The usual way: sign times root of the absolute value plus an epsilon; then L2."""
    rooted = pooled.sign() * torch.sqrt(pooled.abs() + EPSILON)
    return functional.normalize(rooted.flatten(1))


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "fuse": fuse,
    "bmm": bmm,
    "einsum": einsum,
    "loop over samples": each_sample,
    "all outer products": outer_products,
}


def random_maps(batch: int, channels: int, device: torch.device) -> list[Tensor]:
    """Two maps as two trunks leave them: not negative, (N, C, 2, 2), with some channels that are all zero."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, batch, channels, 2, 2, generator=generator) + 0.1
    maps[:, :, ::8] = 0
    return [m.to(device).requires_grad_() for m in maps]


def forward_backward(
    form: Callable[[Tensor, Tensor], Tensor], maps: list[Tensor], upstream: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of both maps."""
    return torch.autograd.grad(form(*maps), maps, upstream)


def check_equal(maps: list[Tensor]) -> None:
    """Raise AssertionError unless all forms give the vector and the gradients of `fuse`."""
    expected = fuse(*maps).detach()
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0)).to(expected.device)
    gradients = forward_backward(fuse, maps, upstream)
    for form in FORMS.values():
        torch.testing.assert_close(form(*maps).detach(), expected, rtol=1e-4, atol=1e-6)
        for ours, theirs in zip(forward_backward(form, maps, upstream), gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    main()
