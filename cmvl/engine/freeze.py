"""Parts that do not learn: the backbone of Table 2a, layers named by a pattern, batch norms."""

from collections.abc import Sequence
from fnmatch import fnmatch

from fvcore.common.config import CfgNode
from torch import nn

from cmvl.engine.optim import NORMS
from cmvl.utils.errors import ConfigError


def build_frozen(cfg: CfgNode, model: nn.Module) -> str:
    """Freeze what `cfg` asks for; returns the counts, in words. Raises ConfigError."""
    patterns = ["backbone.*"] if cfg.MODEL.FREEZE_BACKBONE else []
    freeze(model, [*patterns, *cfg.MODEL.FREEZE])
    if cfg.BN.FROZEN:
        for module in model.backbone.modules():
            if isinstance(module, NORMS):
                module.requires_grad_(False)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if not learning:
        raise ConfigError(
            f"MODEL.FREEZE {list(cfg.MODEL.FREEZE)} with MODEL.FREEZE_BACKBONE "
            f"{cfg.MODEL.FREEZE_BACKBONE} leaves nothing to learn: freeze less, or test alone "
            "(TRAIN.ENABLE False)"
        )
    return f"{learning:,} parameters learn, {frozen:,} are frozen"


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Parameters whose name matches a pattern such as "backbone.s1.*" get no gradient."""
    for pattern in patterns:
        matching = [p for name, p in model.named_parameters() if fnmatch(name, pattern)]
        if not matching:
            tops = sorted({name.rsplit(".", 3)[0] for name, _ in model.named_parameters()})
            raise ConfigError(
                f"MODEL.FREEZE: no parameter's name matches {pattern!r}; names start with "
                f"{', '.join(tops[:5])}, ..."
            )
        for parameter in matching:
            parameter.requires_grad_(False)


def train_mode(model: nn.Module) -> None:
    """`model.train()`, but frozen norms keep to their running statistics."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, NORMS) and own and not any(p.requires_grad for p in own):
            module.eval()
