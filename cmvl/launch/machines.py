"""The machines of a run: where they meet, and what their launchers tell each other.

Without that, one would wait up to DIST.TIMEOUT for processes that have failed on another.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import torch.distributed as dist

from cmvl.utils.errors import LaunchError, UserError

POLL = 1.0  # seconds between two looks at what the others say
SILENT = 180  # looks without a sign of a machine after which it is gone; outages may be shorter
PATIENCE = 3.0  # seconds for an answer: where the network is gone none comes, and no error either
SEE_OFF = 20.0  # seconds machine 0 stays for the others to end
FAILED, RUN, LEFT, SIGN = "failed", "run", "left/{}", "sign/{}"  # the store's keys


@dataclass
class Machines:
    """All `shards` of them, this being `shard`; machine 0 hosts the store, at host:port.

    `heard` is the failure that was told first, by whichever machine, once there is one.
    """

    shards: int
    shard: int
    host: str
    port: int
    store: dist.Store | None  # of the others not before they have reached it
    heard: str = ""
    _run: str = ""  # which one the store was of
    _mine: str = ""  # to be told
    _known: threading.Event = field(default_factory=threading.Event)
    _awake: threading.Event = field(default_factory=threading.Event)
    _over: bool = False
    _unanswered: int = 0  # looks since machine 0's last answer, once there was one
    _signs: dict[int, tuple[bytes, int]] = field(default_factory=dict)  # of life, and looks since

    @contextmanager
    def in_touch(self, end: Callable[[], None]) -> Iterator[None]:
        """Inside, `end` is called when a machine has failed or is gone."""
        if self.shards == 1:
            yield
            return
        talk = threading.Thread(target=self._talk, args=[end], daemon=True)
        talk.start()
        try:
            yield
        finally:
            self._over = True
            self._awake.set()
            talk.join(PATIENCE)
            if self.shard == 0:
                self._see_off()

    def blame(self, error: UserError, of_others: bool) -> UserError:
        """Tell all of this machine's failure, and return what to raise: the first one told.

        `of_others`: it looks as if another machine's failure brought it about.
        """
        if of_others and self.shards > 1:
            self._known.wait(PATIENCE)  # for that one to tell
        mine = str(error)
        return error if (first := self.tell(mine)) == mine else LaunchError(first)

    def tell(self, text: str) -> str:
        """Tell all that this machine has failed; returns what was told first, by whomever."""
        if self.shards == 1:
            return text
        self._mine = f"machine {self.shard}, {socket.gethostname()}: {text}"
        self._awake.set()
        self._known.wait(PATIENCE)
        return text if self.heard in ("", self._mine) else self.heard

    def _talk(self, end: Callable[[], None]) -> None:
        """Time is counted in looks: a launcher that was itself stopped for long has lost nobody."""
        asking = threading.Thread(target=self._keep_asking, daemon=True)
        asking.start()
        while not self.heard and not self._over:
            asking.join(POLL)
            self._unanswered += bool(self._run)
            if self._unanswered > SILENT:
                self.heard = f"machine 0, which listened at {self.host}:{self.port}, is gone"
        if self.heard:
            self._known.set()
            end()
        if self.shard and self.store:
            with suppress(RuntimeError):
                self.store.set(LEFT.format(self.shard), "")

    def _keep_asking(self) -> None:
        """In a thread of its own: where the network is gone, asking never comes back."""
        while not self.heard and not self._over:
            if self._ask():
                self._unanswered = 0
            elif self._run:
                self._unanswered += 2  # refused, not lost on the way: a minute is enough
            if not self.heard and self._awake.wait(POLL):
                self._awake.clear()

    def _see_off(self) -> None:
        """The store goes with machine 0: not before the others have heard the last of it."""
        others = [LEFT.format(shard) for shard in range(1, self.shards)]
        deadline = time.monotonic() + SEE_OFF
        with suppress(RuntimeError):
            while not self.store.check(others) and time.monotonic() < deadline:
                time.sleep(POLL / 10)

    def _ask(self) -> bool:
        """Say what is to be said and take up what the others say; False without an answer."""
        with suppress(OSError, RuntimeError):
            self.store = self.store or self._reach()
            if failure := self._mine or self._sign():
                self.heard = self.store.compare_set(FAILED, "", failure).decode()
            elif self.store.check([FAILED]):
                self.heard = self.store.get(FAILED).decode()
            return True
        if self.shard:  # to be reached anew: a lost connection is not yet the end
            self.store = None
        return False

    def _sign(self) -> str:
        """Give a sign of life; machine 0 looks for the others' and names one that is gone."""
        if self.shard:
            self.store.set(SIGN.format(self.shard), f"{socket.gethostname()} {time.monotonic()}")
            return ""
        for shard in range(1, self.shards):
            sign, left = SIGN.format(shard), LEFT.format(shard)
            if not self.store.check([sign]) or self.store.check([left]):
                continue  # DIST.MEETING is for those that never came
            last, looks = self._signs.get(shard, (b"", 0))
            seen = self.store.get(sign)
            self._signs[shard] = (seen, looks + 1 if seen == last else 0)
            if self._signs[shard][1] > SILENT:
                name = seen.decode().split()[0]
                return (
                    f"machine {shard}, {name}, has given no sign of life for {SILENT * POLL:g} s: "
                    "it is gone, or the network to it is"
                )
        return ""

    def _reach(self) -> dist.Store:
        socket.create_connection((self.host, self.port), POLL).close()  # without torch's warnings
        wait_for = timedelta(seconds=10)
        store = dist.TCPStore(self.host, self.port, None, False, wait_for, wait_for_workers=False)
        run = store.get(RUN).decode()
        if self._run not in ("", run):
            raise ConnectionError("machine 0 has begun anew; what ends here is not to end that")
        self._run = run
        return store


def meet(shards: int, shard: int, meeting_point: str, seconds: float) -> Machines:
    """Open the store of a run, on machine 0: there is no gap in which its port is taken."""
    host, port = "127.0.0.1", 0
    if meeting_point:
        host, _, digits = meeting_point.removeprefix("tcp://").rpartition(":")
        if not host or not digits.isdigit():
            raise LaunchError(
                f"--init_method {meeting_point}: expected tcp://HOST:PORT of machine 0"
            )
        host, port = host.removeprefix("[").removesuffix("]"), int(digits)  # of IPv6
    elif shards > 1:
        raise LaunchError(
            f"--num_shards {shards} needs --init_method tcp://HOST:PORT, the address of "
            "machine 0, the same on all machines"
        )
    if not 0 <= shard < shards:
        raise LaunchError(f"--shard_id {shard} is not in 0..{shards - 1}")
    if shards > 1:
        print(f"machine {shard} of {shards}: meeting at {host}:{port}", flush=True)
    if shard:
        return Machines(shards, shard, host, port, None)
    try:
        wait_for = timedelta(seconds=seconds)
        store = dist.TCPStore(host, port, None, True, wait_for, wait_for_workers=False)
    except RuntimeError as error:
        raise LaunchError(
            f"cannot listen at {host}:{port} on {socket.gethostname()}: {error}. Is another run "
            "there already, or is this not machine 0 (--shard_id 0)?"
        ) from error
    store.set(RUN, uuid4().hex)
    return Machines(shards, shard, host, store.port, store)
