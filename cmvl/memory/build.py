"""Registries of memory designs, found by the names in the config."""

from fvcore.common.registry import Registry

INTERACTIONS = Registry("INTERACTIONS")  # Push and Pop
INFUSIONS = Registry("INFUSIONS")  # g
