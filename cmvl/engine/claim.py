"""One training at a time in an OUTPUT_DIR: two would resume and remove each other's checkpoints."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from cmvl.utils.distributed import is_main
from cmvl.utils.errors import ConfigError
from cmvl.utils.logging import logger

NAME = ".training"
# A second apart: another start's process may be about to end, and a disk's server takes up to 90
# to let go of what a machine held that has vanished.
LOOKS = 120
TAKEN = (errno.EACCES, errno.EAGAIN)


@contextmanager
def claimed(output_dir: Path) -> Iterator[None]:
    """Inside, no other process gets here with this folder, from whatever machine shares it.

    The claim ends with the process, however that ends. Raises ConfigError, naming who has it.
    """
    if not is_main():
        yield
        return
    file = (output_dir / NAME).open("a+")
    try:
        _lock(file, output_dir)
        file.truncate(0)
        since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        file.write(f"process {os.getpid()} of {socket.gethostname()}, since {since}\n")
        file.flush()
        yield
    finally:
        with suppress(OSError):  # of a disk that is gone, which something else tells
            file.close()


def _lock(file: TextIO, output_dir: Path) -> None:
    import fcntl  # late: not every system has it

    # Not `flock`, which forked data workers would hold when this process is gone.
    for look in range(LOOKS):
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in TAKEN:
                logger.warning(
                    "%s: this file system has no locks (%s): see to it yourself that no second "
                    "training runs in it", output_dir, error.strerror,
                )  # fmt: skip
                return
        if look == 0:
            logger.info("%s is in use by %s: waiting %d seconds", output_dir, _owner(file), LOOKS)
        time.sleep(1)
    raise ConfigError(
        f"another training runs in OUTPUT_DIR {output_dir} ({_owner(file)}): choose another one, "
        "or end it first"
    )


def _owner(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or "another process"
