"""What a run shows in TensorBoard (TENSORBOARD.ENABLE): the main process writes it."""

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from cmvl.data.dataset import VideoDataset
from cmvl.model import VideoModel
from cmvl.utils.distributed import is_main
from cmvl.utils.files import check_place
from cmvl.utils.logging import logger, printable

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PLACE = ("epoch", "step", "steps")  # fields of a line that say where it belongs
FRAMES = 8  # of a clip, at most


def _shown(show: Callable[..., None]) -> Callable[..., None]:
    """Nothing is, without a folder. A disk that takes no more ends the board, and not the run."""

    @wraps(show)
    def tolerant(board: "Board", *arguments: Any) -> None:
        if board.folder is None:
            return
        try:
            show(board, *arguments)
        except OSError as error:
            logger.warning(
                "%s: cannot be written (%s): the run goes on without TensorBoard, its numbers are "
                "in log.jsonl", board.folder, error.strerror or error,
            )  # fmt: skip
            board.folder = board._writer = None

    return tolerant


class Board:
    """`steps`: of an epoch, in which everything is placed. Without `folder` nothing is written."""

    def __init__(self, folder: Path | None, steps: int = 0, period: int = 0, videos: int = 0):
        """`period`: epochs between two histograms, 0 for none; `videos`: whose clips to show."""
        self.folder, self.steps, self.period, self.videos = folder, steps, period, videos
        self._writer: SummaryWriter | None = None

    @_shown
    def line(self, kind: str, fields: Mapping[str, Any]) -> None:
        """The numbers of a line of the log, called KIND/FIELD."""
        step = fields["epoch"] * self.steps
        step += fields["step"] - self.steps if "step" in fields else 0
        writer = self._at(step)
        for name, value in fields.items():
            if name not in PLACE:
                writer.add_scalar(f"{kind}/{name}", value, step)
        writer.flush()

    @_shown
    def model(self, model: VideoModel, epochs: int) -> None:
        """Histograms after so many epochs: weights of the memory, and the last step's gates."""
        if not self.period or epochs % self.period:
            return
        step = epochs * self.steps
        writer = self._at(step)
        for name, weights in model.memory.named_parameters():
            writer.add_histogram(f"memory/{name}", weights, step)
        for name, gate in model.memory.last_gates().items():
            writer.add_histogram(name, gate, step)
        writer.flush()

    @_shown
    def clips(self, data: VideoDataset) -> None:
        """Of some training videos, the clips that the first epoch takes; a row is a clip."""
        if not self.videos:
            return
        with self._open() as writer:
            for index in data.spaced(self.videos):
                item = data[0, index]
                name = printable(Path(data.records.path(item.index)).name)
                writer.add_image(f"clips/{name}", picture(item.clips), 0)

    @_shown
    def results(self, folder: Path, metrics: Mapping[str, float]) -> None:
        """A test's metrics, and the pictures in its `folder`: confusions, clips by position."""
        with self._open() as writer:
            for name, value in metrics.items():
                writer.add_scalar(f"test/{name}", value, 0)
            for path in sorted(folder.glob("*.png")):
                pixels = cv2.imread(str(path))[..., ::-1]
                writer.add_image(f"test/{path.stem}", pixels, 0, dataformats="HWC")

    def _at(self, step: int) -> "SummaryWriter":
        """The run's writer. Of a resumed run what stands from its first step on is taken out."""
        if self._writer is None:
            self._writer = self._open(step)
        return self._writer

    def _open(self, step: int | None = None) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter  # takes seconds: for those who want it

        return SummaryWriter(str(self.folder), purge_step=step)


def picture(clips: Tensor) -> Tensor:
    """uint8 (N, 3, T, H, W) -> (3, N H, t W): a row a clip, of evenly spaced frames."""
    T = clips.shape[2]
    frames = torch.linspace(0, T - 1, min(T, FRAMES)).long()
    return clips[:, :, frames].permute(1, 0, 3, 2, 4).flatten(3).flatten(1, 2)


def build_board(cfg: CfgNode, steps: int = 0) -> Board:
    """Of a training whose epochs have so many `steps`, or of a test.

    A training's raises OSError or UserError where none can be written.
    """
    board = cfg.TENSORBOARD
    if not board.ENABLE or not is_main():
        return Board(None)
    folder = Path(board.LOG_DIR or Path(cfg.OUTPUT_DIR) / "tensorboard")
    if steps:  # of a test it would be told when all is done
        check_place(folder / "events")
    return Board(folder, steps, board.HISTOGRAM_PERIOD, board.NUM_VIDEOS)
