"""What a device is called, and the number format in which it trains fastest."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from eifn.training import Preset


def device_name(device: torch.device) -> str:
    """What the maker of a GPU or of this machine's processor calls it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    about = Path("/proc/cpuinfo")  # `platform.processor` does not give the name on Linux
    lines = about.read_text("utf-8").splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def precision_for(preset: Preset, device: torch.device) -> str:
    """The preset's number format, or bf16-mixed on a CPU that multiplies in it.

    There it was measured to be 1.55 to 1.7 times as fast; on other CPUs it may be slower. It is looked up and
    not timed, so that a run and its resumption agree.
    """
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # not in older versions of PyTorch
    if device.type == "cpu" and capabilities.get("avx512_bf16"):
        return "bf16-mixed"
    return preset.precision
