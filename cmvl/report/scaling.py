"""What the paper's trainings cost on one to many GPUs: the tables of docs/scaling.md."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cmvl.config import batch_plan
from cmvl.report.activations import IN_BFLOAT16, activations
from cmvl.report.ledger import Ledger, Table
from cmvl.report.machine import GPUS as OF_MACHINE
from cmvl.report.machine import Machine
from cmvl.report.marks import markdown
from cmvl.report.traffic import Net, measure, step

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
MULTI_ITERATION = "ablations/table2e_slow_multiiteration"
HELD = (
    *NETS,
    *("CHARADES/SLOWFAST_16x8_CM", "CHARADES/SLOWFAST_16x8_R101_NL_CM"),
    *("SSV1/SLOWFAST_8x8_CM", "SSV1/SLOWFAST_8x8_R101_NL_CM"),
    *("AVA/I3D_32x2_NL_V21_CM", "AVA/SLOWFAST_4x16_V22_CM", "AVA/SLOWFAST_8x8_R101_V22_CM"),
)
MACHINES = (1, 8)  # of 8 GPUs
GPUS = (1, 8, 64)


def data_table(nets: Mapping[str, Net], machine: Machine) -> str:
    """Videos that a GPU asks for, and the cores that deliver them."""
    rows = []
    for name, net in nets.items():
        clips = machine.rate / net.train
        videos = clips / net.N
        cores = [f"{videos * seconds:.1f}" for seconds in machine.loading(net.N)]
        read = f"{videos * machine.size:.0f}"
        rows.append([name, f"{net.N}", f"{clips:.0f}", f"{videos:.0f}", *cores, read])
    head = "config,N,clips/s,videos/s,cores (prepared),cores (as found),MiB/s read"
    return markdown(head.split(","), rows)


def traffic_table(nets: Mapping[str, Net], machine: Machine, machines: Sequence[int]) -> str:
    """Of a step: computing, summing gradients, statistics of norms over all processes."""
    rows = []
    for name, net in nets.items():
        for one in (step(net, machine, count) for count in machines):
            times = (f"{1000 * x:.1f}" for x in (one.compute, one.gradients, one.norms))
            counts = [f"{one.gpus}", f"{one.videos}"]
            rows.append([name, *counts, *times, f"{one.collectives}", f"{100 * one.lost:.0f}"])
    head = "config,GPUs,videos,computing ms,gradients ms,BN.SYNC ms,its collectives,lost %"
    return markdown(head.split(","), rows)


def memory_table(nets: Mapping[str, Net]) -> str:
    """Of a step on one of 8 GPUs: activations of the clips that are held together."""
    rows = []
    for name, net in nets.items():
        plan, clip = batch_plan(net.cfg, OF_MACHINE), activations(net.cfg) / 2**20
        held = plan.videos * plan.at_once * clip / 1024
        # Weights, gradients and momentum; the gradients are of those that learn.
        weights = 4 * (net.parameters + 2 * net.learning) / 2**30
        numbers = [f"{clip:.0f}", f"{held:.1f}", f"{IN_BFLOAT16 * held:.1f}", f"{weights:.1f}"]
        rows.append([name, f"{plan.videos} x {plan.at_once}", *numbers])
    head = "config,clips at once,MiB a clip,GiB in float32,GiB in bfloat16,GiB of weights"
    return markdown(head.split(","), rows)


@dataclass(frozen=True)
class Scaling:
    """The tables of docs/scaling.md, by key; `known` keeps what is counted."""

    ledger: Ledger
    machine: Machine = Machine()
    known: dict[str, Net] = field(default_factory=dict)

    def table(self, key: str) -> str:
        return {
            "assumptions": self.assumptions,
            "data": self.data,
            "disk": self.disk,
            "traffic": self.traffic,
            "memory": self.memory,
            "files": self.files,
            "time": self.time,
        }[key]()

    def assumptions(self) -> str:
        head = ["option", "meaning", "where it comes from", "value"]
        return markdown(head, self.machine.rows(), texts=3)

    def data(self) -> str:
        return data_table(self._nets(SHOWN), self.machine)

    def traffic(self) -> str:
        return traffic_table(self._nets((*NETS, MULTI_ITERATION)), self.machine, MACHINES)

    def memory(self) -> str:
        return memory_table(self._nets(HELD))

    def disk(self) -> str:
        """Of the prepared training and test videos."""
        sets = ("K400", "K600", "K700")
        rows = [
            [name, f"{sum(VIDEOS[name]):,}", f"{sum(VIDEOS[name]) * self.machine.size / 1024:.0f}"]
            for name in sets
        ]
        return markdown(["", "videos", "GiB prepared"], rows)

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

    def _nets(self, configs: Sequence[str]) -> dict[str, Net]:
        return {config: self._net(config) for config in configs}

    def _net(self, config: str) -> Net:
        if config not in self.known:
            self.known[config] = measure(self.ledger.cfg(config))
        return self.known[config]
