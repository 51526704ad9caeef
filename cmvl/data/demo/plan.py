"""What happens in each demo video, and why no single clip can tell its label.

A video of 7 to 8 seconds shows two brief events far apart: a coloured shape drifts through, once
early and once late, each for about 1.4 s. The label says whether the two have the same colour:
"alike" or "unlike", half of the videos each. Grey shapes of all kinds come and go as distractors.

The events are further apart than a clip of 64 frames spans, so no clip sees both. Each colour is
as frequent in alike as in unlike videos, so what a single clip shows says nothing about the label:
clip-level training stays at 50%. Scores averaged over clips can at best add up a number g(colour)
per event. With M colours, s of which have a negative number, such a sum is right for s of M alike
pairs and, at best, for all but s (s - 1) of the M (M - 1) unlike ones:
(s / M + 1 - s (s - 1) / (M (M - 1))) / 2, at most 2/3 for M = 4. Above that, clips must compare.

A second, easier set, "events", has one event per short video and asks for its colour. Backbones
are trained on it first, as the paper starts Charades and Something-Something from Kinetics.

Another pair of sets, "cue" and "paints", is that of the study (docs/study.md). In "cue" a single
clip knows half of the answer, as in Kinetics. Videos of 9 seconds show three events, in any order:
a shape in the light shade of a colour, one in the dark shade of another, and a white or black cue
that says which of the two colours is the label. Again no clip sees two events. Who sees a colour
and says it is right in half of the videos, and the cue by itself says nothing. A sum of scores over
events is right in at most three quarters: of two colours, either may be the light one, and either
may be asked for; over these four videos the margins of the right colour add up to zero, so one of
them is not positive. "paints" is to "cue" what "events" is to "relation".
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

COLOURS = {  # RGB
    "red": (225, 50, 45),
    "green": (60, 190, 70),
    "blue": (60, 95, 235),
    "yellow": (235, 205, 50),
}
SHADES = {"light": 0.55, "dark": -0.5}  # how far towards white, or black
CUES = {"light": "white", "dark": "black"}  # and what asks for them
SHAPES = ("disc", "cross", "square", "triangle")
CLIP_SPAN = 64  # frames that a clip of the demo's configs covers
LARGE = 2.0  # size of the events of "cue" and "paints", whose pictures are small
SHORT_SPAN = 48  # and one of the study's
SPLITS = ("train", "val", "test")


def _paints() -> dict[str, tuple[float, ...]]:
    """RGB of the shades and the cues."""
    paints = {"white": (255.0,) * 3, "black": (0.0,) * 3}
    for shade, far in SHADES.items():
        goal = 255 if far > 0 else 0
        for name, colour in COLOURS.items():
            paints[f"{shade}-{name}"] = tuple(c + abs(far) * (goal - c) for c in colour)
    return paints


PAINTS = COLOURS | _paints()  # all that an event can be painted with
CLASSES = {
    "events": list(COLOURS),
    "relation": ["alike", "unlike"],
    "cue": list(COLOURS),
    "paints": list(_paints()),
}


@dataclass(frozen=True)
class Event:
    """A coloured shape, shown for `length` frames from frame `start`."""

    colour: str
    shape: str
    start: int
    length: int
    size: float = 1.0  # of the demo's usual


@dataclass(frozen=True)
class Plan:
    """One video: its events in order, its label, and how many grey shapes distract."""

    frames: int
    label: int
    events: tuple[Event, ...]
    distractors: int


def plan_video(task: str, split: str, i: int, rng: np.random.Generator) -> Plan:
    """Video i of a split; labels and colours go round, times and shapes are random."""
    if task == "cue":
        return _cue(i, rng)
    return _relation(i, rng) if task == "relation" else _single(CLASSES[task], i, rng)


def _single(paints: list[str], i: int, rng: np.random.Generator) -> Plan:
    frames = 110
    length = int(rng.integers(38, 48))
    start = int(rng.integers(10, frames - 10 - length))
    label = i % len(paints)
    size = LARGE if paints == CLASSES["paints"] else 1.0
    event = Event(paints[label], str(rng.choice(SHAPES)), start, length, size)
    return Plan(frames, label, (event,), int(rng.integers(1, 3)))


def _relation(i: int, rng: np.random.Generator) -> Plan:
    label, turn = i % 2, i // 2
    if label == 0:
        colours = (list(COLOURS)[turn % len(COLOURS)],) * 2
    else:
        pairs = list(permutations(COLOURS, 2))
        colours = pairs[turn % len(pairs)]
    frames = int(rng.integers(210, 241))
    first, second = (int(n) for n in rng.integers(38, 48, 2))
    margin, gap = 6, CLIP_SPAN + 4
    latest = margin + (frames - 2 * margin - first - second - gap) // 2
    start = int(rng.integers(margin, latest + 1))
    again = int(rng.integers(start + first + gap, frames - margin - second + 1))
    shapes = rng.choice(SHAPES, 2)
    events = (
        Event(colours[0], str(shapes[0]), start, first),
        Event(colours[1], str(shapes[1]), again, second),
    )
    return Plan(frames, label, events, int(rng.integers(4, 8)))


def _cue(i: int, rng: np.random.Generator) -> Plan:
    """The label goes round; the other colour, the shade asked for and the order are random."""
    label = i % len(COLOURS)
    names = list(COLOURS)
    other = names[(label + int(rng.integers(1, len(names)))) % len(names)]
    asked, rest = rng.permutation(list(SHADES)).tolist()
    shown = [f"{asked}-{names[label]}", f"{rest}-{other}", CUES[asked]]
    lengths = [int(n) for n in rng.integers(38, 48, 3)]
    frames = int(rng.integers(260, 281))
    margin, gap = 6, SHORT_SPAN + 4
    room = frames - 2 * margin - sum(lengths) - 2 * gap
    waits = np.sort(rng.integers(0, room + 1, 3)).tolist()
    events, at = [], margin
    for k, which in enumerate(rng.permutation(3).tolist()):
        shape = str(rng.choice(SHAPES))
        events.append(Event(shown[which], shape, at + waits[k], lengths[k], LARGE))
        at += lengths[k] + gap
    return Plan(frames, label, tuple(events), int(rng.integers(1, 4)))
