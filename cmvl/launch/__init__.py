"""The processes of a run: how they start, meet, hear signals, fail and end."""

from cmvl.launch.crew import Crew, launch

__all__ = ["Crew", "launch"]
