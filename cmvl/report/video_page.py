"""One video on one page: its clips, what each says alone and with the memory, and why."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cmvl.evaluation.results import rank
from cmvl.report.explain import PathwayMemory
from cmvl.report.page import (
    COLOURS,
    OTHER,
    Markup,
    bar,
    drawing,
    image,
    join,
    page,
    paragraph,
    text,
)
from cmvl.report.predict import Scores, VideoPrediction
from cmvl.report.predictions import clock
from cmvl.report.timeline import Timeline
from cmvl.report.trained import Trained
from cmvl.report.video_figures import draw_affinity, draw_curves, draw_gates
from cmvl.report.videos import Footage
from cmvl.utils.files import write_text

SHOWN = 5  # classes by name
FRAMES = 4  # of a clip, in the filmstrip
STYLE = Markup("""<style>
.bars { display: grid; grid-template-columns: minmax(90px, max-content) 1fr 52px; gap: 5px 12px;
        align-items: center; max-width: 620px; }
.strip { display: grid; gap: 14px 9px;
         grid-template-columns: repeat(auto-fill, minmax(86px, 1fr)); }
.clip { min-width: 0; max-width: 130px; font-size: 12px; line-height: 1.35; }
.clip img { width: 100%; border-radius: 4px; margin: 2px 0 6px; }
.clip b { font-weight: 600; } .clip .bar { height: 5px; margin: 2px 0 6px; }
.clip div.name { height: 2.7em; overflow: hidden; display: -webkit-box; -webkit-line-clamp: 2;
                 -webkit-box-orient: vertical; }
</style>""")


def write_video_page(
    path: Path,
    trained: Trained,
    footage: Footage,
    result: VideoPrediction,
    memories: Sequence[PathwayMemory],
) -> None:
    """Self-contained: pictures lie in it, and nothing is loaded from anywhere."""
    classes = rank(result.scores)[:SHOWN].tolist()
    colours = dict(zip(classes, COLOURS, strict=False))
    sections = [
        ("Prediction", join(STYLE, _prediction(result, colours))),
        ("Clips", _clips(footage, result, colours)),
        ("Over time", _curves(result, classes)),
    ]
    if any(m.affinity is not None for m in memories):
        sections.append(("Who reads whom", _affinities(result, memories)))
    if any(m.gates is not None for m in memories):
        sections.append(("The gate", _gates(result, memories)))
    write_page(path, trained, result, sections)


def write_page(
    path: Path,
    trained: Trained,
    result: VideoPrediction | Timeline,
    sections: Sequence[tuple[str, Markup]],
    parts: str = "",
) -> None:
    """The lead names the video, `parts` in which it was seen, and the net."""
    cfg, info = trained.cfg, result.info
    lead = (
        f"{clock(info.frames / info.fps)}, {info.frames} frames of {info.width} x {info.height} at "
        f"{info.fps:.4g} a second{parts} · {cfg.MODEL.BACKBONE}, {cfg.MEMORY.INTERACTION}, "
        f"{cfg.MEMORY.INFUSION} · {trained.path}"
    )
    document = page(Path(result.source.path).name, lead, sections)
    write_text(path, document, errors="replace")


def _prediction(result: VideoPrediction, colours: dict[int, str]) -> Markup:
    rows = [
        join(
            Markup("<div>"), result.name(c), Markup("</div>"),
            bar(result.scores[c], colours[c]), Markup("<div>"), f"{result.scores[c]:.3f}",
            Markup("</div>"),
        )
        for c in colours
    ]  # fmt: skip
    alone = result.alone.mean(axis=0)
    best = int(rank(alone)[0])
    return join(
        Markup('<div class="bars">'),
        *rows,
        Markup("</div>"),
        paragraph(
            f"{len(result.clips)} clips share one memory; their scores are put together as in a "
            f"test. Without it, every clip by itself, the mean would say {result.name(best)} "
            f"({alone[best]:.3f}).",
            soft=True,
        ),
    )


def _clips(footage: Footage, result: VideoPrediction, colours: dict[int, str]) -> Markup:
    cards = [
        _card(footage, result, n, colours, times) for n, times in enumerate(result.times.tolist())
    ]
    return join(
        paragraph(
            "What the net sees of each clip, from its first frame down to its last; what the clip "
            "says alone, as if it were the whole video, and what it says after the memory.",
            soft=True,
        ),
        Markup('<div class="strip">'),
        *cards,
        Markup("</div>"),
    )


def _card(
    footage: Footage,
    result: VideoPrediction,
    n: int,
    colours: dict[int, str],
    times: Sequence[float],
) -> Markup:
    return join(
        Markup('<div class="clip"><b>'),
        f"{n + 1}",
        Markup('</b> <span class="soft">'),
        f"{times[0]:.1f}–{times[1]:.1f} s",
        Markup("</span>"),
        _filmstrip(footage, n),
        _verdict("alone", result.alone[n], result, colours),
        _verdict("with memory", result.clips[n], result, colours),
        Markup("</div>"),
    )


def _verdict(
    title: str, scores: Scores, result: VideoPrediction, colours: dict[int, str]
) -> Markup:
    c = int(rank(scores)[0])
    name = f"{scores[c]:.2f} {result.name(c)}"
    return join(
        Markup('<div class="soft">'),
        title,
        Markup(f'</div><div class="name" title="{text(name)}">'),
        name,
        Markup("</div>"),
        bar(scores[c], colours.get(c, OTHER)),
    )


def _filmstrip(footage: Footage, n: int) -> Markup:
    clip = footage.clips[n, footage.clips.shape[1] // 2]  # (3, T, h, w), the centre crop
    T = clip.shape[1]
    chosen = np.unique(np.linspace(0, T - 1, min(T, FRAMES)).round().astype(int))
    frames = [cv2.resize(clip[:, t].permute(1, 2, 0).numpy(), (112, 112)) for t in chosen]
    return image(np.concatenate(frames), f"clip {n + 1}")


def _curves(result: VideoPrediction, classes: Sequence[int]) -> Markup:
    figure = draw_curves(result, classes, COLOURS)
    return drawing(figure, "Scores of single clips by the middle of their time.")


def _affinities(result: VideoPrediction, memories: Sequence[PathwayMemory]) -> Markup:
    figure = draw_affinity(memories, result.times)
    return join(
        paragraph(
            "(X_n W_q)(X_m W_k)ᵀ, the mean over all positions: how much clip n (row) takes up of "
            "what clip m (column) wrote into the memory; below 0, with the opposite sign.",
            soft=True,
        ),
        drawing(figure, "Affinity of clips."),
    )


def _gates(result: VideoPrediction, memories: Sequence[PathwayMemory]) -> Markup:
    name = result.name(int(rank(result.scores)[0]))
    figure = draw_gates(memories)
    return join(
        paragraph(
            "Above 0.5 a gate strengthens a channel against the others, below it weakens it. Shown "
            f"are the channels that move the score of {name} most, and by how much: what their "
            "gate adds to the logit more than 0.5 would, against the mean of all classes.",
            soft=True,
        ),
        drawing(figure, f"Gates of the strongest channels, and their pull on {name}."),
    )
