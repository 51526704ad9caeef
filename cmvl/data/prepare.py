"""From annotations and a folder on disk to the lists that training reads.

Made for the disk as it is: a list has the videos that are there, a summary says what is missing
and why. Re-encoding goes on where it was stopped.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import simplejson

from cmvl.data.disk import CLASSES, find_media, note_settings, number_classes
from cmvl.data.excerpt import Span
from cmvl.data.frames import read_numbering
from cmvl.data.parallel import Crash, for_each
from cmvl.data.reencode import Encoding, reencode
from cmvl.utils.errors import DataError, VideoError

MISSING = "not on disk"
BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r"})


Source = tuple[str, Span | None]  # a file, or part of one


@dataclass(frozen=True)
class Entry:
    """An annotated video: where it stands in its annotation, its name on disk, what it shows.

    `path` is absolute, "" if it is not there; `frames` is the number of a folder's pictures.
    `span`: the seconds of the file that are meant, None for all of it.
    """

    where: str
    name: str
    label: str
    path: str = ""
    frames: int | None = None
    trouble: str = ""
    span: Span | None = None

    @property
    def source(self) -> Source:
        return self.path, self.span


Splits = dict[str, list[Entry]]


@dataclass
class Prepared:
    """What was written: (videos listed, annotated) by split, and the entries left out."""

    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    left_out: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{split}.csv: {n} of {of} videos" for split, (n, of) in self.counts.items()]
        reasons = Counter(entry.trouble.split(":")[0] for entry in self.left_out)
        lines += [f"left out, {reason}: {count}" for reason, count in reasons.most_common()]
        examples = self.left_out[:5]
        lines += [f"  {entry.where} {entry.name}: {entry.trouble}" for entry in examples]
        if len(self.left_out) > len(examples):
            lines.append(f"  ... all {len(self.left_out)} are in left_out.csv")
        return "\n".join([*lines, *self.notes])


def prepare(
    splits: Splits,
    classes: dict[str, int],
    videos: str,
    out: str,
    write: Callable[[str, Sequence[Entry]], None],
    encoding: Encoding | None = None,
    encode_to: str = "",
    workers: int = 1,
) -> Prepared:
    """Find the entries' videos under `videos`, write lists, classes.json and left_out.csv to `out`.

    With `encoding` video files are written anew under `encode_to`, which the lists then name.
    Raises DataError if nothing at all is found, or what is there was encoded otherwise.
    """
    media = find_media(videos)
    root = os.path.abspath(videos)
    result = Prepared()
    found = {}
    for split, entries in splits.items():
        found[split] = [_find(entry, media, root) for entry in entries]
    every = [entry for entries in found.values() for entry in entries]
    if not any(entry.path for entry in every):
        raise DataError(
            f"{videos}: none of the {len(every)} annotated videos is here, such as "
            f"{every[0].name if every else '-'} (found {len(media)} videos in all)"
        )
    os.makedirs(out, exist_ok=True)  # before the work: it may not be allowed
    sources = sorted({e.source for e in every if e.path}, key=lambda s: (s[0], s[1] or ()))
    targets = dict.fromkeys(sources, "")
    if encoding:
        note_settings(encode_to, asdict(encoding))
        targets = _targets(sources, root, os.path.abspath(encode_to))
    done = _run(targets, encoding, workers)
    for split, entries in found.items():
        entries = [replace(e, **done[e.source]) if e.path else e for e in entries]
        listed = [entry for entry in entries if not entry.trouble]
        result.left_out += [entry for entry in entries if entry.trouble]
        result.counts[split] = (len(listed), len(entries))
        write(os.path.join(out, f"{split}.csv"), listed)
    _write_classes(os.path.join(out, CLASSES), classes)
    left_out = os.path.join(out, "left_out.csv")
    with open(left_out, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(f"{e.where};{e.name};{e.trouble}\n" for e in result.left_out)
    return result


def number_labels(splits: Splits) -> tuple[Splits, dict[str, int]]:
    """Labels that are names of classes as numbers, in the alphabetical order of training's.

    Without a test split that of validation is the test's too. Raises DataError.
    """
    classes = number_classes(entry.label for entry in splits["train"])
    numbered: Splits = {}
    for split, entries in splits.items():
        for e in entries:
            if e.label not in classes:
                raise DataError(f"{e.where}: class {e.label!r} is not in the training csv")
        numbered[split] = [replace(e, label=str(classes[e.label])) for e in entries]
    numbered.setdefault("test", numbered["val"])
    return numbered, classes


def write_list(path: str, entries: Sequence[Entry]) -> None:
    """Lines `path label`; `path frames label` where every video is a frame folder."""
    folders = all(entry.frames is not None for entry in entries)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        for e in entries:
            file.write(f"{e.path} {e.frames} {e.label}\n" if folders else f"{e.path} {e.label}\n")


def _find(entry: Entry, media: dict[str, str], root: str) -> Entry:
    """An entry is called by its file's name without suffix, or by its path under `root`."""
    path = os.path.join(root, media.get(entry.name, entry.name))
    if not os.path.exists(path):
        return replace(entry, trouble=MISSING)
    if path != path.translate(BREAKS):
        shown = {"where": entry.where.translate(BREAKS), "name": entry.name.translate(BREAKS)}
        return replace(entry, trouble="line break in its path: rename it", **shown)
    return replace(entry, path=path)


def _targets(sources: Sequence[Source], root: str, folder: str) -> dict[Source, str]:
    """Where each is written anew: as .mp4 for its suffix, or after it, if others differ in that;
    parts of a file with their milliseconds."""
    names = {path: os.path.relpath(path, root) for path, _ in sources}
    stems = {path: os.path.splitext(name)[0] for path, name in names.items()}
    alike = Counter(stems.values())
    return {
        (path, span): os.path.join(
            folder, (stems if alike[stems[path]] == 1 else names)[path] + _times(span) + ".mp4"
        )
        for path, span in sources
    }


def _times(span: Span | None) -> str:
    return "".join(f"_{round(1000 * second):09d}" for second in span or ())


def _ready(job: tuple[Source, str], encoding: Encoding | None) -> dict:
    """The fields of an entry that only its file can tell."""
    (path, span), target = job
    try:
        if os.path.isdir(path) and span:
            return {"trouble": "unreadable: parts are cut out of video files, this is a folder"}
        if os.path.isdir(path):
            return {"frames": read_numbering(path).count}
        if os.path.getsize(path) == 0:
            return {"trouble": "empty file"}
        if encoding:
            reencode(path, target, encoding, span)
            return {"path": target}
    except VideoError as error:
        return {"trouble": f"unreadable: {str(error).removeprefix(f'{path}: ')}"}
    return {}


def _run(targets: dict[Source, str], encoding: Encoding | None, workers: int) -> dict[Source, dict]:
    # Looking at files is waiting for the disk; only encoding deserves processes.
    workers, what = (workers, "encoding") if encoding else (0, "looking")
    jobs, done = list(targets.items()), {}
    for place, fields in for_each(partial(_ready, encoding=encoding), jobs, workers, what):
        crashed = isinstance(fields, Crash)
        done[jobs[place][0]] = {"trouble": f"unreadable: {fields}"} if crashed else fields
    return done


def _write_classes(path: str, classes: dict[str, int]) -> None:
    # Bytes of a folder's name that are no UTF-8 become escapes, which JSON has too.
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(simplejson.dumps(classes, indent=0, ensure_ascii=False) + "\n")
