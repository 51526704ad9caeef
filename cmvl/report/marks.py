"""Pages in Markdown with tables that a tool makes, `<!-- table KEY -->` to `<!-- end -->`."""

import re
from collections.abc import Callable
from pathlib import Path

from cmvl.utils.errors import UserError

MARK = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.S)


def fill(text: str, table: Callable[[str], str]) -> str:
    """The text with table(KEY) between every pair of marks."""
    return MARK.sub(lambda found: f"{found[1]}{table(found[2])}\n{found[3]}", text)


def fill_file(page: Path, table: Callable[[str], str]) -> None:
    if not page.is_file():
        raise UserError(f"{page}: no such page; its tables go between <!-- table KEY --> marks")
    page.write_text(fill(page.read_text(), table))


def markdown(head: list[str], rows: list[list[str]], texts: int = 1) -> str:
    """A table whose first `texts` columns are text and whose others are numbers."""
    lines = [head, [*["---"] * texts, *["---:"] * (len(head) - texts)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
