"""Initial weights, after PySlowFast: what its training recipes start from."""

from torch import nn


def init_convnet(net: nn.Module, zero_init_final: bool = True) -> None:
    """Convolutions N(0, 2 / fan_out) with bias 0 (MSRA); norms scale 1 and shift 0.

    A norm marked with an attribute `zero_init = True` closes a residual branch or a non-local
    block: with `zero_init_final` its scale is 0, so that the block starts as the identity.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm3d):
            closes = zero_init_final and getattr(module, "zero_init", False)
            nn.init.constant_(module.weight, 0.0 if closes else 1.0)
            nn.init.zeros_(module.bias)


def init_linear(linear: nn.Linear, std: float = 0.01) -> None:
    """N(0, std) with bias 0: the classifier's."""
    nn.init.normal_(linear.weight, std=std)
    nn.init.zeros_(linear.bias)
