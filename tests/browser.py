"""A page in headless Chromium, where there is one: what it loaded, and what it could not."""

import json
import re
import shutil
import subprocess

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium")
# Our pages run no script, so a copy of one is let say what the browser has loaded.
SCRIPT = (
    "<script>onload = () => { document.title = JSON.stringify({"
    "broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,"
    "images: document.images.length,"
    "fetched: performance.getEntriesByType('resource').map(e => e.name)"
    ".filter(n => !n.startsWith('data:')),"
    "wide: document.documentElement.scrollWidth > innerWidth}) }</script>"
)


def assert_loads(html, folder):
    """All pictures are there, nothing came from elsewhere, nothing sticks out to the right."""
    copy = html.replace("style-src", "script-src 'unsafe-inline'; style-src", 1)
    page = folder / "in_a_browser.html"
    page.write_text(copy.replace("</head>", SCRIPT + "</head>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    result = subprocess.run(
        [BROWSER, *options, f"--user-data-dir={folder / 'profile'}", "--window-size=1200,900"]
        + ["--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    title = re.search(r"<title>(.*?)</title>", result.stdout)
    assert title, result.stderr[-2000:]
    assert json.loads(title[1]) == {
        "broken": 0,
        "images": html.count("<img "),
        "fetched": [],
        "wide": False,
    }
