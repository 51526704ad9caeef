"""Names in a config that stand for classes."""

import difflib
from typing import Any

from fvcore.common.registry import Registry

from cmvl.utils.errors import ConfigError


def look_up(registry: Registry, key: str, name: str, also: str = "") -> Any:
    """What is registered as `name`, the value of config key `key`.

    Raises ConfigError with what there is, `also` besides, and the likeliest name.
    """
    known = sorted(entry for entry, _ in registry)
    if name in known:
        return registry.get(name)
    letters = {entry.lower(): entry for entry in known}
    near = [entry for low, entry in letters.items() if name.lower() in low]
    near += [letters[low] for low in difflib.get_close_matches(name.lower(), letters)]
    meant = f"; did you mean {near[0]}?" if name and near else ""
    raise ConfigError(f"{key} is {name!r}; it can be {' | '.join(known)}{also}{meant}")
