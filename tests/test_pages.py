"""The pages as a whole: links lead somewhere, every page is in the index, every command is one the
tools take. Blocks marked ```bash are run (here or in the page's own test), ```sh needs data or
machines and is held against the real command line.
"""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from test_docs import PAGES as RUN_THERE
from torch.distributed.run import get_args_parser

from cmvl.config import load_cfg
from cmvl.report.ledger import read_ledger

ROOT = Path(__file__).parent.parent
TEXTS = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
}
# Pages whose ```bash blocks a test of their own runs.
RUN_ELSEWHERE = {
    "docs/distributed.md": "test_distributed_page.py",
    "docs/predict.md": "test_predict_page.py",
    "docs/your_data.md": "test_your_data.py",
}
OTHERS = ("make", "pip", "tensorboard")  # programs that are not ours


def blocks(text, mark):
    return re.findall(rf"^```{mark}\n(.*?)^```", text, re.S | re.M)


def lines(mark):
    for page, text in TEXTS.items():
        for block in blocks(text, mark):
            yield from ((page, line) for line in block.splitlines() if line.strip())


class ParsedError(Exception):
    """The tool has taken its arguments."""


@pytest.fixture
def parse(monkeypatch):
    """Start a command up to where the tool has read its command line; what it read."""

    def stopping(method):
        original = getattr(argparse.ArgumentParser, method)

        def stop(self, *args, **kwargs):
            raise ParsedError(original(self, *args, **kwargs))

        monkeypatch.setattr(argparse.ArgumentParser, method, stop)

    def parse(line):
        words = shlex.split(line)
        place = next(i for i, word in enumerate(words) if word.startswith("tools/"))
        if words[0] == "torchrun":
            get_args_parser().parse_args(words[1:])
        else:
            assert words[:place] == ["python"], line
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", words[place:])
        stopping("parse_args")
        stopping("parse_intermixed_args")
        try:
            runpy.run_path(words[place], run_name="__main__")
        except ParsedError as parsed:
            return parsed.args[0]
        raise AssertionError(f"{words[place]} reads no command line")

    return parse


@pytest.mark.parametrize(("page", "line"), list(lines("sh")))
def test_command_that_needs_data_is_one_the_tool_takes(page, line, parse):
    if line.split()[0] in OTHERS:
        return
    args = parse(line)
    if hasattr(args, "overrides"):
        load_cfg(args.cfg, [*args.overrides, *args.opts])


def test_an_outdated_command_would_be_found(parse):
    with pytest.raises(SystemExit):
        parse("python tools/report.py output/cm --base output/x --no_such_flag")


@pytest.mark.parametrize("page", [page for page in TEXTS if blocks(TEXTS[page], "bash")])
def test_commands_of_a_page_are_run(page):
    if page not in RUN_THERE:
        test = (ROOT / "tests" / RUN_ELSEWHERE[page]).read_text()
        assert page in test and "```bash" in test


@pytest.mark.parametrize("page", TEXTS)
def test_no_command_hides_outside_of_the_blocks(page):
    """Indented ones would be run by nobody."""
    marked = re.sub(r"^```(?:bash|sh)\n.*?^```$", "", TEXTS[page], flags=re.S | re.M)
    hidden = re.findall(
        r"^ *(?:\$ )?(?:python3? (?:tools/|-m )|torchrun |pip install ).*$", marked, re.M
    )
    assert not hidden, f"{page}: put into ```bash or ```sh: {hidden}"
    marks = set(re.findall(r"^```(\w+)$", TEXTS[page], re.M))
    assert marks <= {"bash", "sh", "python"}, f"{page}: {marks}"


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", TEXTS[page]):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"


def test_every_page_is_in_the_index_once():
    found = re.findall(r"^- \[.+?\]\((\S+?)\): \S.*$", TEXTS["docs/README.md"], re.M)
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]
    assert sorted(name for name in found if "/" not in name) == sorted(pages)


def test_results_table_has_the_papers_numbers():
    ledger = read_ledger(ROOT / "configs/paper.yaml")
    paper = {row.config: row.paper for t in ledger.tables.values() for row in t.rows if row.ours}
    rows = re.findall(r"^\| \[.*?\]\(configs/(\S+)_CM.yaml\) \|(.*)\|$", TEXTS["README.md"], re.M)
    assert len(rows) >= 5
    for config, cells in rows:
        without, with_memory = [cell.strip() for cell in cells.split("|")][2:4]
        assert [without, with_memory] == [str(paper[config]), str(paper[f"{config}_CM"])], config
