"""The assumptions behind docs/scaling.md: GPUs, the network between them, the loader's cores."""

from dataclasses import dataclass, field, fields

from cmvl.utils.errors import UserError

GPUS = 8  # of one machine


def assumed(value: float, meaning: str, source: str) -> float:
    return field(default=value, metadata={"meaning": meaning, "source": source})


@dataclass(frozen=True)
class Machine:
    """Every field is an option of tools/scaling.py and a row of the page's first table.

    The loader's times are those of docs/benchmarks.md, N = 5 and N = 1, at 340x256.
    """

    tflops: float = assumed(
        989.0, "TFLOP/s of one GPU in bfloat16, dense", "data sheet of H100 SXM and H200"
    )
    used: float = assumed(
        0.08,
        "share of them that training reaches",
        "benchmarks.md: SlowFast 0.06, compiled 0.08; Slow-only 0.10; one GPU, clips on it",
    )
    within: float = assumed(
        300.0,
        "GB/s of a collective within a machine of 8 GPUs",
        "two thirds of NVLink's 450 GB/s one way",
    )
    between: float = assumed(
        40.0, "GB/s that a machine sends to another", "one card of 400 Gbit/s, 80% of it"
    )
    latency: float = assumed(
        50e-6,
        "seconds of a small collective within a machine",
        "usual, with the small kernels around it; to be measured",
    )
    farther: float = assumed(3.0, "times that latency between machines", "a guess")
    video: float = assumed(
        0.075, "CPU seconds for 5 clips of a prepared video", "benchmarks.md, clips of 32 frames"
    )
    single: float = assumed(0.025, "for 1 clip of it", "the same table")
    raw_video: float = assumed(
        0.128, "CPU seconds for 5 clips of a video as found", "the same, a key frame every 250"
    )
    raw_single: float = assumed(0.058, "for 1 clip of it", "the same table")
    size: float = assumed(1.06, "MiB of a prepared video", "the same table")

    def __post_init__(self):
        for one in fields(self):
            if not (value := getattr(self, one.name)) > 0:
                raise UserError(f"{option(one.name)} is {value:g}, which is not above 0")

    @property
    def rate(self) -> float:
        """FLOPs a second."""
        return 1e12 * self.tflops * self.used

    def network(self, machines: int) -> tuple[float, float]:
        """Bytes a second and latency of a collective over all GPUs of so many machines.

        A ring leaves every machine once, so its slowest link is the one between them.
        """
        if machines == 1:
            return 1e9 * self.within, self.latency
        return 1e9 * self.between, self.farther * self.latency

    def loading(self, N: int) -> tuple[float, float]:
        """CPU seconds for N clips of a prepared video and of one as found, linear in N."""
        pairs = ((self.single, self.video), (self.raw_single, self.raw_video))
        prepared, raw = (one + (N - 1) * (five - one) / 4 for one, five in pairs)
        return prepared, raw

    def rows(self) -> list[list[str]]:
        """Option, meaning, source and value of every assumption."""
        return [
            [f"`{option(f.name)}`", *f.metadata.values(), f"{getattr(self, f.name):g}"]
            for f in fields(self)
        ]


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
