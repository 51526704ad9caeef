"""Memory designs. The import line registers them; a new design adds its name here."""

from cmvl.memory import infusion, interaction  # noqa: F401
from cmvl.memory.collaborative import CollaborativeMemory, build_memory

__all__ = ["CollaborativeMemory", "build_memory"]
