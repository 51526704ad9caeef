"""Initial weights of a memory; the paper names none. By the values of MEMORY.INIT."""

from itertools import chain

from torch import nn

from cmvl.layers.init import init_linear
from cmvl.utils.errors import ConfigError


def _uniform(interaction: nn.Module, infusion: nn.Module) -> None:
    """U(-1, 1) / sqrt(fan_in) for weights and biases, as `nn.Linear` has them."""


def _normal(interaction: nn.Module, infusion: nn.Module) -> None:
    """N(0, 0.01), biases 0, as the classifier."""
    for module in chain(interaction.modules(), infusion.modules()):
        if isinstance(module, nn.Linear):
            init_linear(module)


def _zero(interaction: nn.Module, infusion: nn.Module) -> None:
    """Uniform, but nothing is infused at first: a residual of 0, or the same gate everywhere."""
    if not hasattr(infusion, "start_at_zero"):
        raise ConfigError(
            f"MEMORY.INIT zero wants an infusion with a method start_at_zero(), and "
            f"{type(infusion).__name__} has none: set MEMORY.INIT uniform, or write it"
        )
    infusion.start_at_zero()


INITS = {"uniform": _uniform, "normal": _normal, "zero": _zero}
