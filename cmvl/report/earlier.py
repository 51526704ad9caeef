"""What an earlier start of the same job of predictions has left in its JSON file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import simplejson

from cmvl.config.compare import settings_of_test
from cmvl.report.predictions import Record
from cmvl.report.runs import read_dict
from cmvl.report.trained import Trained
from cmvl.report.videos import Source
from cmvl.utils.errors import UserError

ANEW = "leave --resume out to write it anew"


def settings_of(trained: Trained, **asked: Any) -> dict[str, Any]:
    """All that records depend on besides weights and videos: config, and what is `asked` for."""
    config = simplejson.dumps(settings_of_test(trained.cfg), sort_keys=True)
    return {"config": hashlib.sha256(config.encode()).hexdigest()[:16], **asked}


def read_earlier(
    path: Path, trained: Trained, settings: dict[str, Any], sources: Sequence[Source]
) -> list[Record]:
    """The records of those `sources` that are done; none without a file.

    Raises UserError for a file of other weights or settings.
    """
    if not path.exists():
        return []
    content = read_dict(path, simplejson.loads, ANEW)
    here = {"weights": str(trained.path), **settings}
    there = {"weights": content.get("weights"), **content.get("settings", {})}
    if others := [key for key in here if here[key] != there.get(key)]:
        raise UserError(
            f"{path}: is of other weights or settings ({', '.join(others)}), so --resume would mix "
            f"two kinds of predictions: name another file, or {ANEW}"
        )
    wanted = {source.path for source in sources}
    return [record for record in content["videos"] if record["path"] in wanted]
