"""One call of tools/predict.py: videos one after another, each told, drawn and written."""

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmvl.evaluation.results import rank
from cmvl.report.box_film import write_box_film
from cmvl.report.box_job import BoxPredictor
from cmvl.report.earlier import read_earlier, settings_of
from cmvl.report.explain import explain
from cmvl.report.overlay import Overlay, of_timeline, of_video, write_overlay
from cmvl.report.predict import VideoPredictor
from cmvl.report.predictions import (
    Record,
    as_text,
    record,
    timeline_record,
    write_actions,
    write_clips,
    write_events,
    write_json,
    write_videos,
)
from cmvl.report.timeline import TimelinePredictor
from cmvl.report.timeline_page import write_timeline_page
from cmvl.report.trained import Trained
from cmvl.report.video_page import write_video_page
from cmvl.report.videos import Failure, Places, Source, read_videos
from cmvl.utils.errors import DataError, UserError, VideoError
from cmvl.utils.files import check_place

ASKED = ("topk", "window", "stride", "threshold", "boxes")  # of a job, what its records depend on
KEPT = 600.0  # seconds between two writes of the JSON file


@dataclass(frozen=True)
class Job:
    """What is asked for. Places are files; of mp4 and html a folder too. None: not wanted."""

    topk: int = 5
    clips: bool = False  # the clips too, on the console and in the CSV
    window: float = 0.0  # seconds; 0: a video is one whole
    stride: float = 0.0  # seconds; 0: half a window
    threshold: float = 0.5  # of events
    json: Path | None = None
    csv: Path | None = None
    mp4: Path | None = None
    html: Path | None = None
    boxes: str | None = None  # of detection nets: a CSV, or "" for a person detector
    workers: int = 0
    resume: bool = False  # take what `json` has of an earlier start


def run_job(
    trained: Trained, sources: Sequence[Source], job: Job
) -> Generator[str | Failure, None, None]:
    """What to show as the videos pass: text, or a video that failed. The others go on."""
    places = check_places(job, sources)
    work, write = find_work(trained, job)
    asked = {name: getattr(job, name) for name in ASKED}
    settings, failed = settings_of(trained, **asked), []
    made = read_earlier(job.json, trained, settings, sources) if job.resume else []
    if made:
        yield f"{len(made)} of {len(sources)} videos are in {job.json} already"
    there, written = {record["path"] for record in made}, time.monotonic()
    try:
        for result in work(trained, [s for s in sources if s.path not in there], job, places):
            (failed if isinstance(result, Failure) else made).append(result)
            yield result if isinstance(result, Failure) else as_text(result, job.clips)
            if job.json and time.monotonic() - written > KEPT:
                write_json(job.json, trained.path, settings, made, failed)
                written = time.monotonic()
    finally:  # of a job cut short, what there is
        order = {source.path: i for i, source in enumerate(sources)}
        made.sort(key=lambda record: order[record["path"]])
        if job.json and (made or failed):
            write_json(job.json, trained.path, settings, made, failed)
        if job.csv and (made or failed):
            write(job.csv, made)


def find_work(trained: Trained, job: Job) -> tuple[Callable, Callable]:
    """What is done with the videos, and what writes its CSV. Raises UserError."""
    if trained.cfg.TASK == "detection":
        if job.window or job.clips or job.html:
            raise UserError(
                f"{trained.path}: this net tells the actions of people second by second: --mp4, "
                "--csv and --json show them; --window, --clips and --html are for other nets"
            )
        return _boxes, write_actions
    if job.boxes is not None:
        raise UserError(f"{trained.path}: this net tells no actions of people; leave --boxes out")
    if job.window:
        return _timelines, write_events
    return _videos, write_clips if job.clips else write_videos


def check_places(job: Job, sources: Sequence[Source]) -> Places:
    """Before any work: raises UserError for what cannot be written."""
    if job.topk < 1:
        raise UserError(f"--topk is {job.topk}; it must be 1 or more")
    for place, suffix in ((job.mp4, ".mp4"), (job.html, ".html")):
        if place and place.suffix == suffix and len(sources) > 1:
            raise UserError(
                f"{place}: one file for {len(sources)} videos; name a folder, in which each has "
                "its own"
            )
    if job.resume and not job.json:
        raise UserError("--resume goes on with the file of --json; name one")
    for place in (job.json, job.csv):
        if place and place.is_dir():
            raise UserError(f"{place}: is a folder; name a file")
        if place:
            check_place(place)
    places = Places(sources)
    own = {os.path.realpath(source.path) for source in sources}
    for source in sources:
        if job.mp4 and os.path.realpath(places.of(source, job.mp4, ".mp4")) in own:
            raise UserError(f"--mp4 {job.mp4} would overwrite {source.path}; name another place")
    return places


def _videos(
    trained: Trained, sources: Sequence[Source], job: Job, places: Places
) -> Iterator[Record | Failure]:
    predictor = VideoPredictor(trained)
    for item in read_videos(trained.cfg, sources, job.workers):
        if isinstance(item, Failure):
            yield item
            continue
        maps = predictor.trained.encode(item.clips)
        result = predictor.predict(item, maps)
        if failure := _filmed(trained, item.source, of_video(result), job, places):
            yield failure
            continue
        if job.html:
            best = int(rank(result.scores)[0])
            memories = explain(trained, maps, item.clips.shape[1], best)
            place = places.of(item.source, job.html, ".html")
            write_video_page(place, trained, item, result, memories)
        yield record(result, job.topk)


def _timelines(
    trained: Trained, sources: Sequence[Source], job: Job, places: Places
) -> Iterator[Record | Failure]:
    predictor = TimelinePredictor(trained, job.window, job.stride or job.window / 2)
    for source in sources:
        try:
            result = predictor(source)
            if job.html:
                place = places.of(source, job.html, ".html")
                write_timeline_page(place, trained, result, job.threshold)
        except VideoError as error:
            yield Failure(source, str(error))
            continue
        made = timeline_record(result, job.topk, job.threshold)
        yield _filmed(trained, source, of_timeline(result), job, places) or made


def _boxes(
    trained: Trained, sources: Sequence[Source], job: Job, places: Places
) -> Iterator[Record | Failure]:
    predictor = BoxPredictor(trained, job.boxes or "")
    for source in sources:
        try:
            actions = predictor(source)
            if job.mp4:
                place = places.of(source, job.mp4, ".mp4")
                write_box_film(place, actions, source.path, predictor.names, job.threshold)
        except DataError as error:
            yield Failure(source, str(error))
            continue
        yield predictor.record(source, actions, job.threshold)


def _filmed(
    trained: Trained, source: Source, overlay: Overlay, job: Job, places: Places
) -> Failure | None:
    """Write the film, if it is asked for. All frames are read: one may be broken."""
    if not job.mp4:
        return None
    try:
        place = places.of(source, job.mp4, ".mp4")
        write_overlay(place, overlay, source.path, trained.cfg.DATA.TARGET_FPS)
    except VideoError as error:
        return Failure(source, str(error))
    return None
