"""A long video on one page: what happens when, a picture of every event, scores over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from cmvl.data.frames import Frame
from cmvl.data.stream import open_stream
from cmvl.report.page import COLOURS, OTHER, Markup, bar, drawing, image, join, paragraph
from cmvl.report.predictions import clock
from cmvl.report.timeline import Event, Timeline
from cmvl.report.trained import Trained
from cmvl.report.video_figures import draw_timeline
from cmvl.report.video_page import write_page

LANES = 12  # classes that have a line of their own
SHOWN = 60  # events that have a picture
SIDE = 200  # pixels of its longer side
STYLE = Markup("""<style>
.lanes { display: grid; grid-template-columns: max-content 1fr; gap: 6px 14px;
         align-items: center; font-size: 13px; margin-top: 12px; }
.lanes .name { max-width: 200px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lane { position: relative; height: 14px; border-radius: 3px; background: #eceff3;
        overflow: hidden; }
.lane i { position: absolute; top: 0; height: 100%; min-width: 2px; }
.ends { display: flex; justify-content: space-between; }
.events { display: grid; gap: 16px 12px; margin-top: 20px;
          grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
.event { font-size: 13px; line-height: 1.35; max-width: 200px; overflow-wrap: anywhere; }
.event img { width: 100%; border-radius: 4px; margin-bottom: 4px; }
.event .bar { height: 5px; margin-top: 3px; }
</style>""")


def write_timeline_page(path: Path, trained: Trained, result: Timeline, threshold: float) -> None:
    """Self-contained. The video is read once more, for the pictures. Raises VideoError."""
    classes, events = result.longest(threshold), result.events(threshold)
    colours = {result.name(c): colour for c, colour in zip(classes, COLOURS, strict=False)}
    content = [STYLE, _said(events, threshold, result.several)]
    if events:
        content.append(_lanes(result, classes, events, colours))
        content.append(_cards(result, events, colours, trained.cfg.DATA.TARGET_FPS))
    figure = draw_timeline(result, classes[: len(COLOURS)], COLOURS, threshold)
    sections = [
        ("Events", join(*content)),
        ("Over time", drawing(figure, "Scores of the windows by the middle of their time.")),
    ]
    count, seconds = len(result.times), np.diff(result.times[0])[0]
    windows = f" · {count} window{'s' * (count > 1)} of {seconds:.4g} s"
    write_page(path, trained, result, sections, windows)


def _said(events: Sequence[Event], threshold: float, several: bool) -> Markup:
    if not events:
        return paragraph(f"No window scores {threshold:g} or more (--threshold).", soft=True)
    left = f" The {SHOWN} best are pictured." if len(events) > SHOWN else ""
    count = f"{len(events)} event{'s' * (len(events) > 1)}"
    how = "" if several else "is the best and "
    rule = f"runs of windows in which a class {how}scores {threshold:g} or more (--threshold)."
    return paragraph(f"{count}: {rule}{left}", soft=True)


def _lanes(
    result: Timeline, classes: Sequence[int], events: Sequence[Event], colours: Mapping[str, str]
) -> Markup:
    """A line for each class that has events, the longest together first."""
    names = [result.name(c) for c in classes]
    found = {event.name for event in events}
    names = [name for name in names if name in found]
    parts = [Markup('<div class="lanes">')]
    for name in names[:LANES]:
        parts += [Markup('<div class="name">'), name, Markup('</div><div class="lane">')]
        colour = colours.get(name, OTHER)
        parts += [_block(e, result.seconds, colour) for e in events if e.name == name]
        parts.append(Markup("</div>"))
    parts += [Markup('<div></div><div class="ends soft"><span>0:00.0</span><span>')]
    parts += [clock(result.seconds), Markup("</span></div></div>")]
    if len(names) > LANES:
        more = ", ".join(names[LANES:])
        parts.append(paragraph(f"and in less of the video: {more}", soft=True))
    return join(*parts)


def _block(event: Event, seconds: float, colour: str) -> Markup:
    left, width = (100 * part / seconds for part in (event.start, event.end - event.start))
    return Markup(
        f'<i title="{_span(event)}, {event.score:.2f}" '
        f'style="left:{left:.2f}%;width:{width:.2f}%;background:{colour}"></i>'
    )


def _cards(
    result: Timeline, events: Sequence[Event], colours: Mapping[str, str], fps: float
) -> Markup:
    """The best scored, by their start."""
    shown = sorted(sorted(events, key=lambda e: -e.score)[:SHOWN], key=lambda e: e.start)
    pictures = _pictures(result, shown, fps)
    cards = [_card(e, colours, p) for e, p in zip(shown, pictures, strict=True)]
    return join(Markup('<div class="events">'), *cards, Markup("</div>"))


def _card(event: Event, colours: Mapping[str, str], picture: Frame) -> Markup:
    return join(
        Markup('<div class="event">'),
        image(picture, f"{event.name} at {_span(event)}"),
        Markup('<span class="soft">'),
        _span(event),
        Markup("</span><br>"),
        f"{event.score:.2f} {event.name}",
        bar(event.score, colours.get(event.name, OTHER)),
        Markup("</div>"),
    )


def _span(event: Event) -> str:
    return f"{clock(event.start)} – {clock(event.end)}"


def _pictures(result: Timeline, events: Sequence[Event], fps: float) -> list[Frame]:
    """The frame in the middle of each. `fps` is that of a folder of pictures."""
    info = result.info
    middles = [(event.start + event.end) / 2 * info.fps for event in events]
    wanted = [min(int(middle), info.frames - 1) for middle in middles]
    scale = SIDE / max(info.width, info.height)
    size = max(1, round(info.width * scale)), max(1, round(info.height * scale))
    with open_stream(result.source.path, fps) as video:
        small = {
            k: cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            for k, frame in video.frames(set(wanted))
        }
    return [small[k] for k in wanted]
