"""A video written anew so that training decodes it cheaply: small, few references, short runs.

H.264 with `tune fastdecode`, whole blocks of motion and B-frames that nobody refers to (so that
those not asked for are skipped) decodes at some 60% of the cost of the same picture size as
commonly encoded. PyAV brings the encoder; no ffmpeg binary is needed.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.filter import Graph

from cmvl.data.container import damage, open_media
from cmvl.data.container import film as find_film
from cmvl.data.excerpt import Span, frames_between
from cmvl.utils.errors import VideoError
from cmvl.utils.files import whole

COLOUR = ("colorspace", "color_range", "color_primaries", "color_trc")
TURNS = {90: "transpose=cclock", 180: "hflip,vflip", 270: "transpose=clock"}


@dataclass(frozen=True)
class Encoding:
    """`short_side` is never enlarged; `fps` 0 keeps the frames and their times as they are."""

    short_side: int = 256
    fps: int = 0
    gop: int = 32
    crf: int = 23
    preset: str = "fast"

    def options(self) -> dict[str, str]:
        """For libx264."""
        return {
            "crf": str(self.crf),
            "preset": self.preset,
            "tune": "fastdecode",
            "g": str(self.gop),
            "x264-params": "ref=1:partitions=none:b-pyramid=none",
            "threads": "1",  # the files are encoded side by side
        }


def reencode(source: str, target: str, encoding: Encoding, span: Span | None = None) -> None:
    """Write the video of `source` (no sound), or a `span` of it, as the mp4 file `target`, upright.

    `target` appears only when it is complete; one that exists is left as it is. Raises VideoError,
    and UserError where the disk takes no more.
    """
    path = Path(target)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with damage(source, "cannot be decoded to its end"), whole(path) as part:
        if not _write(source, str(part), encoding, span):
            where = " from {:g} to {:g} s".format(*span) if span else ""
            raise VideoError(f"{source}: expected frames{where}, found none")


def _write(source: str, part: str, encoding: Encoding, span: Span | None) -> int:
    with open_media(source) as reader:
        film = find_film(source, reader)
        pictures = frames_between(source, span) if span else reader.decode(film)
        with av.open(part, "w", format="mp4") as writer:
            rate = Fraction(encoding.fps) if encoding.fps else film.average_rate or Fraction(30)
            stream = writer.add_stream("libx264", rate=rate, options=encoding.options())
            stream.pix_fmt = "yuv420p"
            frames = 0
            for frame in _filtered(pictures, film, encoding):
                if frames == 0:
                    stream.width, stream.height = frame.width, frame.height
                    stream.codec_context.time_base = frame.time_base
                    for name in COLOUR:  # or the player would guess another
                        setattr(stream.codec_context, name, getattr(film.codec_context, name))
                frames += 1
                frame.pict_type = 0  # the encoder chooses its own key frames
                writer.mux(stream.encode(frame))
            if frames:
                writer.mux(stream.encode(None))
        return frames


def _filtered(frames, film, encoding: Encoding):
    """Frames of `film` upright, scaled, in the rate asked for."""
    graph = None
    for frame in frames:
        if graph is None:
            graph = _graph(film, frame, encoding)
        elif (frame.width, frame.height) != (film.width, film.height):
            frame = frame.reformat(film.width, film.height)  # a stream may change its size midway
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph)


def _graph(film, frame, encoding: Encoding) -> Graph:
    turn = TURNS.get(round(frame.rotation / 90) % 4 * 90)
    height, width = frame.height, frame.width
    scale = min(1.0, encoding.short_side / min(height, width))
    even = [max(2, round(side * scale / 2) * 2) for side in (width, height)]
    steps = [f"scale={even[0]}:{even[1]}:flags=bilinear", "format=yuv420p"]
    steps = [f"fps={encoding.fps}"] * bool(encoding.fps) + steps + [turn] * bool(turn)
    graph = Graph()
    nodes = [graph.add_buffer(template=film)]
    for step in ",".join(steps).split(","):
        name, _, arguments = step.partition("=")
        nodes.append(graph.add(name, arguments or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph


def _pulled(graph: Graph):
    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
