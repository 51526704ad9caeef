"""What is installed, what it is good for, and whether the whole works: `python -m cmvl.doctor`.

What may fail to import is imported late: the doctor must run where nothing else does.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cmvl.doctor.findings import BROKEN, OK, Finding
from cmvl.utils.environment import versions

WINDOWS = (
    ". Containers without libraries for windows want it without them: "
    "python -m pip install --force-reinstall --no-deps opencv-python-headless"
)


def examine() -> Iterator[str | Finding]:
    """Headings and findings, as they come."""
    yield "versions"
    for name, found in versions().items():
        yield Finding(name, BROKEN if found == "missing" else OK, found)
    try:
        import cv2  # noqa: F401
    except Exception as error:
        yield Finding("opencv-python", BROKEN, f"{type(error).__name__}: {error}{WINDOWS}")
        return
    try:
        import torchvision  # noqa: F401 - the commonest to be broken, and elsewhere imported late

        from cmvl.doctor.selftest import self_test
        from cmvl.doctor.surroundings import decoder, features, machine
    except Exception as error:  # of a broken installation anything may come
        yield Finding("imports", BROKEN, f"{type(error).__name__}: {error}")
        return
    yield "machine"
    yield from machine()
    yield "decoder"
    yield from decoder()
    yield "what works with what is installed"
    yield from features()
    yield "self-test"
    with tempfile.TemporaryDirectory() as folder:
        yield from self_test(Path(folder))


def main() -> None:
    broken = 0
    for found in examine():
        if isinstance(found, Finding):
            broken += found.state == BROKEN
        print(found, flush=True)
    sys.exit(f"{broken} broken: see INSTALL.md" if broken else 0)


if __name__ == "__main__":
    main()
