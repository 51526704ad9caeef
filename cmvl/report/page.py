"""Self-contained HTML pages: no script, no server, no network; pictures lie inside the page."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLOURS = ("#3d85c6", "#e08a2e", "#4fa35f", "#cc4b4b", "#8d68b8")  # of classes
OTHER = "#9aa3ad"
# The browser itself is told to load nothing from anywhere.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #667080; --line: #e3e7ec; --blue: #2f6fb5; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f8; color: var(--ink);
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 36px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 0 0 10px; }
h3 { font-size: 15px; margin: 22px 0 6px; }
p { margin: 6px 0; max-width: 75ch; }
.soft { color: var(--soft); }
nav { margin: 14px 0 4px; }
nav a { color: var(--blue); margin-right: 16px; text-decoration: none; }
section { background: white; border: 1px solid var(--line); border-radius: 8px;
          padding: 20px 24px; margin: 16px 0; overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 14px 4px 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; overflow-wrap: normal; }
td.number, th.number { text-align: right; white-space: nowrap; }
.up { color: #24804a; } .down { color: #c03a30; }
.bar { height: 12px; border-radius: 3px; background: #eceff3; overflow: hidden; }
.bar i { display: block; height: 100%; border-radius: 3px; }
img { max-width: 100%; height: auto; display: block; }
figure { margin: 8px 0 14px; } figcaption { font-size: 13px; color: var(--soft); }
pre { background: #f3f5f7; border-radius: 6px; padding: 10px 12px; font-size: 12.5px;
      overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; margin: 6px 0; }
code { font-size: 0.92em; } details { margin: 8px 0; }
summary { cursor: pointer; color: var(--blue); }
@media print { section { break-inside: avoid; } body { background: white; } }
"""


class Markup(str):
    """Text that is HTML already; any other is escaped."""


def text(value: Any) -> Markup:
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def page(title: str, lead: str, sections: Sequence[tuple[str, Markup]]) -> str:
    """A whole document; each section is its heading and its content."""
    links = "".join(f'<a href="#s{i}">{text(name)}</a>' for i, (name, _) in enumerate(sections))
    body = "".join(
        f'<section id="s{i}"><h2>{text(name)}</h2>{content}</section>'
        for i, (name, content) in enumerate(sections)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{text(title)}</title><style>{STYLE}</style></head>'
        f'<body><header><h1>{text(title)}</h1><p class="soft">{text(lead)}</p>'
        f"<nav>{links}</nav></header><main>{body}</main></body></html>\n"
    )


def join(*parts: Any) -> Markup:
    return Markup("".join(text(part) for part in parts))


def paragraph(*parts: Any, soft: bool = False) -> Markup:
    return Markup(f"<p{' class=soft' * soft}>{join(*parts)}</p>")


def heading(value: Any) -> Markup:
    return Markup(f"<h3>{text(value)}</h3>")


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Markup:
    """Columns of numbers (int, float, `Number`, None) stand right."""
    rows = [list(row) for row in rows]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float | Number | None) for row in rows)
        for i in range(len(header))
    ]
    lines = [_row("th", header, numeric), *(_row("td", row, numeric) for row in rows)]
    return Markup(f"<table>{''.join(lines)}</table>")


class Number(Markup):
    """A formatted number."""


def number(value: float | None, digits: int = 1) -> Number:
    return Number("" if value is None else f"{value:.{digits}f}")


def gain(value: float | None, digits: int = 1) -> Number:
    """With its sign, green or red."""
    if value is None:
        return Number("")
    shown = f"{value:+.{digits}f}"
    kind = "" if float(shown) == 0 else ' class="up"' if value > 0 else ' class="down"'
    return Number(f"<span{kind}>{shown.replace('-', '−')}</span>")


def code(value: str) -> Markup:
    return Markup(f"<pre>{html.escape(value)}</pre>")


def details(summary: str, content: Markup) -> Markup:
    return Markup(f"<details><summary>{text(summary)}</summary>{content}</details>")


def drawing(figure: Figure, caption: str) -> Markup:
    """A figure, as sharp as the screen."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return _figure(_image("image/svg+xml", file.getvalue(), caption), caption)


def bar(score: float, colour: str) -> Markup:
    """`score` of 0 to 1."""
    width = 100 * min(max(float(score), 0), 1)
    return Markup(f'<div class="bar"><i style="width:{width:.1f}%;background:{colour}"></i></div>')


def photo(picture: NDArray[np.uint8], caption: str, quality: int = 82) -> Markup:
    """An RGB picture (height, width, 3)."""
    return _figure(image(picture, caption, quality), caption)


def image(picture: NDArray[np.uint8], about: str, quality: int = 85) -> Markup:
    """`photo` without a caption."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return _image("image/jpeg", data.tobytes(), about)


def png(file: Path, caption: str) -> Markup:
    """A picture that lies beside the page."""
    return _figure(_image("image/png", file.read_bytes(), caption), caption)


def _figure(picture: Markup, caption: str) -> Markup:
    return Markup(f"<figure>{picture}<figcaption>{text(caption)}</figcaption></figure>")


def _image(kind: str, data: bytes, about: str) -> Markup:
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return Markup(f'<img src="{source}" alt="{html.escape(about)}">')


def _row(tag: str, cells: Sequence[Any], numeric: Sequence[bool]) -> str:
    shown = [
        f"<{tag}{' class=number' * right}>{'' if cell is None else text(cell)}</{tag}>"
        for cell, right in zip(cells, numeric, strict=True)
    ]
    return f"<tr>{''.join(shown)}</tr>"
