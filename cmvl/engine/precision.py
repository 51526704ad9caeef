"""In which numbers a run computes. The memory keeps to float32 by itself."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """`half`: the type of autocast; None: everything as the weights are."""

    half: torch.dtype | None
    device: torch.device

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(
            self.device.type, self.half or torch.bfloat16, enabled=self.half is not None
        )

    def scaler(self) -> torch.amp.GradScaler:
        """Float16 alone needs its gradients scaled; a disabled scaler changes nothing."""
        return torch.amp.GradScaler(self.device.type, enabled=self.half is torch.float16)

    def __str__(self) -> str:
        return str(self.half or torch.float32).removeprefix("torch.")


def allow_tf32(allowed: bool) -> None:
    """MODEL.TF32, of the process: its convolutions, and products as those of the memory."""
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def ask_for_repeatable(asked: bool) -> None:
    """DETERMINISTIC, of the process: torch takes algorithms that give the same bits each time, and
    warns where it has none."""
    if asked:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product
    torch.use_deterministic_algorithms(asked, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing reads it


def build_precision(name: str, device: torch.device) -> Precision:
    """`name`: TRAIN.PRECISION or TEST.PRECISION. auto: bfloat16 on a GPU that computes in it."""
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        name = "bfloat16" if fast else "float32"
    return Precision(HALF.get(name), device)
