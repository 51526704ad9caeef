"""What the paper's trainings cost on one to many GPUs: arithmetic from stated assumptions.

Nothing here is measured but the loader's times, which are those of docs/benchmarks.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from fvcore.common.config import CfgNode
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cmvl.model import build_model
from cmvl.report.flops import count
from cmvl.report.ledger import Ledger, Table
from cmvl.report.marks import markdown
from cmvl.tasks import find_task

VIDEOS = {  # training and test; of AVA key frames
    "K400": (234_643, 19_761),
    "K600": (383_393, 27_910),
    "K700": (542_357, 34_824),
    "CHARADES": (7_811, 1_814),
    "SSV1": (86_017, 11_522),
    "AVA": (210_795, 57_408),
}
SHOWN = ("K400/SLOW_8x8", "K400/SLOW_8x8_CM", "K400/SLOWFAST_8x8", "K400/SLOWFAST_8x8_CM")
NETS = (
    *("K400/SLOW_8x8_CM", "K400/R2PLUS1D_16x2_CM", "K400/I3D_32x2_NL_CM"),
    *("K400/SLOWFAST_8x8_CM", "K400/SLOWFAST_8x8_R101_NL_CM"),
)
GPUS = (1, 8, 64)
GIB = 2**30


@dataclass(frozen=True)
class Machine:
    """The assumptions. Times in seconds, rates per second."""

    flops: float = 989e12  # of one GPU in bfloat16: the data sheet of H100 SXM and H200
    used: float = 0.25  # share of them that training reaches; to be measured
    inside: float = 300e9  # bytes: all-reduce within a machine of 8, of NVLink's 450e9 one way
    between: float = 40e9  # bytes of each GPU between machines: 400 Gbit/s, 80% of it
    latency: float = 50e-6  # of one small all-reduce
    video: float = 0.095  # CPU seconds for the 5 clips of a prepared video (docs/benchmarks.md)
    raw: float = 0.153  # for those of a video with a key frame every 250
    size: float = 0.92  # MiB of a prepared video
    clips: int = 8  # of one GPU in a step

    @property
    def rate(self) -> float:
        return self.flops * self.used


@dataclass(frozen=True)
class Net:
    """One config's numbers: operations (2 for a multiply-add) per clip, parameters, norms."""

    train: float  # forward and backward of a clip at the training crop
    test: float  # forward of a view, in proportion to its area
    N: int
    parameters: int
    buffers: int
    norms: int
    channels: int


def measure(cfg: CfgNode) -> Net:
    side, multi = cfg.DATA.TRAIN_CROP_SIZE, cfg.VIDEO.STRATEGY == "multi_iteration"
    passes = 4 if multi else 3  # forward, twice as much backward, and scan 2's forward again
    with torch.device("meta"):
        model = build_model(cfg, find_task(cfg.TASK).head)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    forward = 2e9 * count(cfg, side).gflops
    return Net(
        train=passes * forward,
        test=forward * (cfg.DATA.TEST_CROP_SIZE / side) ** 2,
        N=cfg.VIDEO.NUM_CLIPS,
        parameters=_elements(model.parameters()),
        buffers=_elements(model.buffers()),
        norms=len(norms),
        channels=sum(m.num_features for m in norms),
    )


def _elements(tensors: Iterator[nn.Parameter]) -> int:
    return sum(t.numel() for t in tensors)


@dataclass(frozen=True)
class Scaling:
    """The tables of docs/scaling.md, by key; `known` keeps what is counted."""

    ledger: Ledger
    machine: Machine = Machine()
    known: dict[str, Net] = field(default_factory=dict)

    def table(self, key: str) -> str:
        return {
            "data": self.data,
            "disk": self.disk,
            "traffic": self.traffic,
            "files": self.files,
            "time": self.time,
        }[key]()

    def data(self) -> str:
        """Videos that a GPU asks for, and the cores that deliver them."""
        rows = []
        for name in SHOWN:
            net, machine = self._net(name), self.machine
            clips = machine.rate / net.train
            videos = clips / net.N
            cores = [f"{videos * machine.video:.1f}", f"{videos * machine.raw:.1f}"]
            if net.N == 1:
                cores = [f"≤ {text}" for text in cores]
            rows.append(
                [name, f"{net.N}", f"{clips:.0f}", f"{videos:.0f}", *cores]
                + [f"{videos * machine.size:.0f}"]
            )
        head = "config,N,clips/s,videos/s,cores (prepared),cores (as found),MiB/s read"
        return markdown(head.split(","), rows)

    def disk(self) -> str:
        """Of the prepared training and test videos."""
        sets = ("K400", "K600", "K700")
        rows = [
            [name, f"{sum(VIDEOS[name]):,}", f"{sum(VIDEOS[name]) * self.machine.size / 1024:.0f}"]
            for name in sets
        ]
        return markdown(["", "videos", "GiB prepared"], rows)

    def traffic(self) -> str:
        """Seconds of a step: computing, summing gradients, summing norms over all processes."""
        rows = []
        for name in NETS:
            net, machine = self._net(name), self.machine
            compute = machine.clips * net.train / machine.rate
            gradients = 4 * net.parameters
            inside, between = (2 * gradients / rate for rate in (machine.inside, machine.between))
            norms = 2 * net.norms * machine.latency  # one on the way forward, one back
            values = [compute, inside, between, norms]
            rows.append(
                [name, f"{gradients / 2**20:.0f}", *(f"{1000 * x:.1f}" for x in values)]
                + [f"{8 * net.channels / 1024:.0f}"]
            )
        head = (
            "config,gradients MiB,computing ms,gradients in a machine ms,between machines ms,"
            "BN.SYNC ms,statistics KiB"
        )
        return markdown(head.split(","), rows)

    def files(self) -> str:
        """Sizes of checkpoints: weights, SGD's momentum and the norms' statistics in float32."""
        rows = []
        for name in NETS:
            net = self._net(name)
            size = 4 * (2 * net.parameters + net.buffers) / 2**20
            rows.append([name, f"{net.parameters / 1e6:.1f}", f"{size:.0f}", f"{4 * size:.0f}"])
        return markdown("config,parameters M,checkpoint MiB,last 3 and best MiB".split(","), rows)

    def time(self) -> str:
        """GPU hours of training and testing for each table, and days of some numbers of GPUs."""
        head = ["", "runs", "GPU hours of training", "of tests", *(f"days on {g}" for g in GPUS)]
        return markdown(head, [self.time_of(table) for table in self.ledger.tables.values()])

    def time_of(self, table: Table) -> list[str]:
        runs = set(self._runs({row.config for row in table.rows if row.ours}))
        train, test = (sum(self._hours(run)[i] for run in runs) for i in (0, 1))
        days = [f"{(train + test) / 24 / gpus:.1f}" for gpus in GPUS]
        title = table.title.partition(" (")[0].partition(", ")[0]
        return [title, f"{len(runs)}", f"{train:.0f}", f"{test:.1f}", *days]

    def _runs(self, configs: set[str]) -> Iterator[str]:
        """These configs and those whose weights they start from, but what is published."""
        for config in configs:
            yield config
            start = self.ledger.cfg(config).TRAIN.INIT_FROM.rpartition("/")[2]
            if start and start not in self.ledger.zoo:
                yield from self._runs({self.ledger.weights[start]})

    def _hours(self, config: str) -> tuple[float, float]:
        cfg, net = self.ledger.cfg(config), self._net(config)
        train, test = VIDEOS[self.ledger.data[config.split("/")[0]].rpartition("/")[2].upper()]
        views = cfg.TEST.NUM_ENSEMBLE_VIEWS * cfg.TEST.NUM_SPATIAL_CROPS
        views = 1 if cfg.TASK == "detection" else views  # a key frame's clip, once
        seconds = cfg.SOLVER.MAX_EPOCH * train * net.N * net.train / self.machine.rate
        return seconds / 3600, test * views * net.test / self.machine.rate / 3600

    def _net(self, config: str) -> Net:
        if config not in self.known:
            self.known[config] = measure(self.ledger.cfg(config))
        return self.known[config]
