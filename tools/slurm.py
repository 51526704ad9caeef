"""Submit a run to SLURM through submitit; it saves and is queued again when its time is over.

python tools/slurm.py --cfg configs/K400/SLOWFAST_8x8_CM.yaml --nodes 8 --gpus 8 --hours 72 \\
    --slurm partition=video OUTPUT_DIR /runs/slowfast_cm DATA.PATH_TO_DATA_DIR /data/k400
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from cmvl.config import batch_plan, check_training, load_cfg
from cmvl.launch.signals import STOPPED
from cmvl.utils.arguments import positive
from cmvl.utils.errors import ConfigError, LaunchError, run_tool

NOTICE = 300  # seconds before its time is over in which a run saves
RUN_NET = Path(__file__).resolve().parent / "run_net.py"


class Training:
    """The command that a task, one on each machine, runs; submitit calls and pickles it."""

    def __init__(self, words: list[str]):
        self.words = words
        self.process: subprocess.Popen | None = None

    def __call__(self) -> None:
        from submitit import JobEnvironment

        job = JobEnvironment()
        port = 20000 + int(re.sub(r"\D", "", job.job_id)) % 20000
        shards = ["--num_shards", str(job.num_nodes), "--shard_id", str(job.node)]
        meet = ["--init_method", f"tcp://{job.hostnames[0]}:{port}"]
        words = [*self.words, *shards, *meet] if job.num_nodes > 1 else self.words
        self.process = subprocess.Popen([sys.executable, str(RUN_NET), *words])
        code = self.process.wait()
        if code not in (0, STOPPED):
            raise LaunchError(f"the run on {job.hostname} ended with {code}; its log tells why")

    def checkpoint(self):
        """Called by submitit when time is up: let the run save, then ask to be queued again."""
        from submitit.helpers import DelayedSubmission

        # Not `wait`: this is a signal's handler, and the call it interrupts waits already.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.process.pid, signal.SIGUSR1)
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Training(self.words))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file")
    parser.add_argument("--nodes", type=positive, default=1, help="machines")
    parser.add_argument("--gpus", type=int, default=8, help="of each machine; 0: on its CPU")
    parser.add_argument("--cpus", type=positive, default=12, help="cores for each GPU")
    parser.add_argument("--hours", type=float, default=24.0, help="until it is queued again")
    parser.add_argument("--requeues", type=int, default=100, help="how often it is")
    parser.add_argument("--name", default="cmvl", help="of the job")
    parser.add_argument("--folder", type=Path, default=Path("slurm"), help="for submitit's logs")
    parser.add_argument(
        "--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="partition=..., account=..."
    )
    parser.add_argument("--local", action="store_true", help="try it on this machine, and wait")
    parser.add_argument("--opts", nargs="*", default=[], help="overrides, as KEY VALUE pairs")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="the same")
    submit(parser.parse_intermixed_args())  # options may stand among the overrides


def submit(args: argparse.Namespace) -> None:
    overrides = [*args.overrides, *args.opts, "NUM_GPUS", str(args.gpus)]
    cfg = load_cfg(args.cfg, overrides)  # mistakes are told now, not after hours in the queue
    ranks = args.nodes * (cfg.DIST.PROCESSES or max(1, args.gpus))
    check_training(cfg, ranks)
    print(batch_plan(cfg, ranks))
    executor = build_executor(args)
    from submitit.core.utils import FailedJobError

    try:
        job = executor.submit(Training(["--cfg", str(Path(args.cfg).resolve()), *overrides]))
    except FailedJobError as error:
        raise LaunchError(
            f"SLURM refuses the job:\n{str(error).rstrip()}\n"
            "What is asked for: --nodes, --gpus and --cpus of each, --hours, and --slurm "
            "partition=... account=... and the like"
        ) from None
    print(f"job {job.job_id}, its console: {job.paths.stdout}, {job.paths.stderr}", flush=True)
    if args.local:
        job.result()


def build_executor(args: argparse.Namespace):
    try:
        import submitit
    except ImportError:
        raise ConfigError(
            "tools/slurm.py needs submitit: pip install submitit, or use tools/slurm.sbatch"
        ) from None
    if not args.local and shutil.which("srun") is None:
        raise LaunchError("there is no srun here: call this where SLURM is, or try it with --local")
    if args.hours * 60 <= 2 * NOTICE / 60:
        raise ConfigError(
            f"--hours {args.hours:g}: a run is told {NOTICE // 60} minutes before its time is "
            f"over, give it more than {NOTICE / 1800:.2g} hours"
        )
    if wrong := [pair for pair in args.slurm if "=" not in pair]:
        raise ConfigError(f"--slurm {wrong[0]}: expected KEY=VALUE, say partition=video")
    more = dict(pair.partition("=")[::2] for pair in args.slurm)
    executor = submitit.AutoExecutor(
        args.folder,
        cluster="local" if args.local else "slurm",
        slurm_max_num_timeout=args.requeues,
        local_max_num_timeout=args.requeues,
    )
    executor.update_parameters(
        name=args.name,
        nodes=args.nodes,
        tasks_per_node=1,  # it starts a process for each GPU
        gpus_per_node=args.gpus,
        cpus_per_task=args.cpus * max(1, args.gpus),
        timeout_min=round(60 * args.hours),
        slurm_signal_delay_s=NOTICE,
        **{f"slurm_{key}": value for key, value in more.items()},
    )
    return executor


if __name__ == "__main__":
    run_tool(main)
