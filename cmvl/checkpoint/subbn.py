"""Sub-batch-norm files of PySlowFast: each norm's statistics under one plain name again.

Where a plain net has `X.running_mean` (C values), such a file has `X.bn.running_mean` and, of the
S splits end to end, `X.split_bn.running_mean` (S * C). Every X ends in `bn`.
"""

import re
from collections.abc import Mapping

from torch import Tensor

STATISTIC = re.compile(r"(?P<norm>.*bn)\.(?P<part>bn|split_bn)\.(?P<name>running_mean|running_var)")
COUNTER = re.compile(r"(?P<norm>.*bn)\.(?P<part>bn|split_bn)\.num_batches_tracked")


def has_sub_bn(state: Mapping[str, Tensor]) -> bool:
    return any(STATISTIC.fullmatch(key) for key in state)


def fold_sub_bn(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Plain names: the statistics of `bn`, or where it has none those over all splits."""
    out = {}
    for key, value in state.items():
        statistic, counter = STATISTIC.fullmatch(key), COUNTER.fullmatch(key)
        if statistic:
            name = f"{statistic['norm']}.{statistic['name']}"
            if statistic["part"] == "bn":
                out[name] = value
            elif f"{statistic['norm']}.bn.{statistic['name']}" not in state:
                out[name] = _over_splits(state, statistic["norm"])[statistic["name"]]
        elif counter:
            if counter["part"] == "split_bn":
                out[f"{counter['norm']}.num_batches_tracked"] = value
        else:
            out[key] = value
    return out


def _over_splits(state: Mapping[str, Tensor], norm: str) -> dict[str, Tensor]:
    """Mean and variance of the mixture of equal splits."""
    try:
        C = state[f"{norm}.weight"].numel()
        means = state[f"{norm}.split_bn.running_mean"].reshape(-1, C)
        variances = state[f"{norm}.split_bn.running_var"].reshape(-1, C)
        mean = means.mean(0)
        return {
            "running_mean": mean,
            "running_var": variances.mean(0) + (means - mean).square().mean(0),
        }
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"the split statistics of {norm} need its weight (C values) and S x C means and "
            f"variances ({error})"
        ) from error
