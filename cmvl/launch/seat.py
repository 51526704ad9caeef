"""A process takes its seat in a job of several: meeting at a store, or saying who did not come."""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from cmvl.launch.network import choose_interface, tell_address
from cmvl.utils.errors import LaunchError

SETTLE = 0.2  # seconds for gloo's threads to come to rest
SILENCE = 10.0  # seconds to wait for the others without a word
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Seat:
    """Rank of `world` processes, number `local` on its machine; all meet at host:port."""

    rank: int
    world: int
    local: int
    host: str
    port: int
    hosts_store: bool = False
    attempt: str = "0"  # of an elastic job: what earlier attempts left in the store does not count

    def __str__(self) -> str:
        return f"rank {self.rank} on {socket.gethostname()}"


def seat_in(environment: Mapping[str, str], processes: int = 1) -> Seat | None:
    """The seat that torchrun (or a script of one's own) gave; None without one.

    `processes`: how many the run asks for on this machine.
    """
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return None
    missing = [name for name in NEEDED if name not in environment]
    if missing:
        raise LaunchError(
            f"the environment has RANK or WORLD_SIZE but not {', '.join(missing)}: start with "
            f"torchrun, set all of {', '.join(NEEDED)}, or none of them"
        )
    rank = int(environment["RANK"])
    if processes > 1 and "LOCAL_RANK" not in environment:  # as in a pod: all but one GPU would idle
        raise LaunchError(
            f"the environment makes this rank {rank} of {environment['WORLD_SIZE']}, one process, "
            f"and NUM_GPUS or DIST.PROCESSES asks for {processes} here: start them with torchrun "
            f"--nproc-per-node {processes}, or unset RANK and WORLD_SIZE"
        )
    of_agent = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Seat(
        rank,
        int(environment["WORLD_SIZE"]),
        int(environment.get("LOCAL_RANK", 0)),
        environment["MASTER_ADDR"],
        int(environment["MASTER_PORT"]),
        hosts_store=rank == 0 and not of_agent,
        attempt=environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
    )


@contextmanager
def seated(seat: Seat, gpu: bool, timeout: float, meeting: float) -> Iterator[None]:
    """Inside, the process group of `seat.world` processes stands.

    `timeout`: seconds a collective may take; `meeting`: seconds to wait for the others.
    """
    if gpu:
        torch.cuda.set_device(_own_gpu(seat))
    store = _meet(seat, meeting)
    choose_interface(store)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if gpu else "gloo",
        store=dist.PrefixStore("group", store),
        rank=seat.rank,
        world_size=seat.world,
        timeout=timedelta(seconds=timeout),
    )
    try:
        yield
    except SystemExit:  # all leave together; threads of a group that stands would abort the exit
        _leave()
        raise
    _leave()  # not after a failure: it may wait for those that are gone


def _own_gpu(seat: Seat) -> int:
    """The GPU of the process's number; the only one, if its starter shows it no other.

    Those of torchrun all see the same.
    """
    found, torchrun = torch.cuda.device_count(), "TORCHELASTIC_RUN_ID" in os.environ
    if found == 1 and "CUDA_VISIBLE_DEVICES" in os.environ and not torchrun:
        return 0
    if seat.local < found:
        return seat.local
    raise LaunchError(
        f"{seat} is process {seat.local + 1} of its machine and is to have a GPU of its own, and "
        f"torch {torch.__version__} sees {found}: start fewer processes there, set NUM_GPUS 0 to "
        "run on CPUs, or mend the driver"
    )


def _leave() -> None:
    """Destroying holds Python's lock and waits for gloo's threads, which want it to let go of the
    last tensors: with torch 2.6 both would wait for ever. So they get it first.
    """
    time.sleep(SETTLE)
    dist.destroy_process_group()


def _meet(seat: Seat, seconds: float) -> dist.Store:
    """The store at which all have shown themselves."""
    wait = timedelta(seconds=seconds)
    try:
        store = dist.TCPStore(
            seat.host, seat.port, None, seat.hosts_store, wait, wait_for_workers=False
        )
        store = dist.PrefixStore(seat.attempt, store)
    except (RuntimeError, ValueError) as error:  # all of torch.distributed's are RuntimeErrors
        what = "open" if seat.hosts_store else "reach"
        raise LaunchError(
            f"{seat} cannot {what} {seat.host}:{seat.port} "
            f"within {seconds:g} s ({error}). Is rank 0 running there, is the port free and open "
            "between the machines?"
        ) from error
    names = [f"here/{rank}" for rank in range(seat.world)]
    tell_address(store, seat.host)
    store.set(names[seat.rank], socket.gethostname())
    try:
        _wait(store, names, seat, seconds)
    except RuntimeError as error:
        absent = _absent(store, names)
        raise LaunchError(
            f"{len(absent)} of {seat.world} processes did not come to {seat.host}:{seat.port} "
            f"within {seconds:g} s: rank {', '.join(map(str, absent))}. Present is e.g. {seat}. "
            "Were all started, with the same --num_shards and --init_method and one --shard_id "
            "each?"
        ) from error
    return store


def _wait(store: dist.Store, names: list[str], seat: Seat, seconds: float) -> None:
    """For all to come, saying so on each machine; the log is not open yet."""
    try:
        store.wait(names, timedelta(seconds=min(seconds, SILENCE)))
    except RuntimeError:
        if seconds <= SILENCE:
            raise
        if seat.local == 0:
            late = ", ".join(map(str, _absent(store, names)))
            print(f"{seat}: waiting at {seat.host}:{seat.port} for rank {late}", flush=True)
        store.wait(names, timedelta(seconds=seconds - SILENCE))
    if seat.rank and seat.local == 0:
        print(f"{seat}: all {seat.world} processes are here; rank 0 has the log", flush=True)


def _absent(store: dist.Store, names: list[str]) -> list[int]:
    try:
        return [rank for rank, name in enumerate(names) if not store.check([name])]
    except RuntimeError:  # the process that hosts the store has given up already
        return list(range(len(names)))
