"""Detect which number formats the hardware computes fast."""

from __future__ import annotations


def has_fast_bfloat16(device: str) -> bool:
    """Tell whether ``device`` (``cpu``, ``cuda``, ``cuda:1``, ...) computes in bfloat16 without emulation."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return device == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
