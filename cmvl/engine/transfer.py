"""Batches on their way to the device, beside the work that goes on there."""

import torch

from cmvl.structures import VideoBatch


class Transfer:
    """Copies in a stream of its own: the next step's clips arrive while this one is computed.

    Pinned batches need it to be of use (DATA_LOADER.PIN_MEMORY).
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: VideoBatch) -> VideoBatch:
        """`batch` on the device, ready for the stream that computes."""
        if self._stream is None:
            return batch.to(self.device)
        with torch.cuda.stream(self._stream):
            moved = batch.to(self.device)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._stream)
        moved.record_stream(computing)
        return moved
