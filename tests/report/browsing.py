"""A page in headless Chromium, with everything that it says and asks for written down."""

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESK = (390, 844), (1280, 900)


def missing():
    """Why there is no browser, or None."""
    try:
        import playwright.sync_api  # noqa: F401, PLC0415
    except ImportError:
        return "the package playwright is not installed: pip install -e '.[dev]'"
    return None if os.access(CHROMIUM, os.X_OK) else f"{CHROMIUM} is not installed: make ci-deps"


needs_browser = pytest.mark.skipif(missing() is not None, reason=f"needs a browser, and {missing()}")


@contextmanager
def browser():
    """Chromium, for as many pages as wanted."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """An open page and what went wrong on it."""

    page: Any
    address: str
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def left(self):
        """Requests for anything but the page itself and what is written in it."""
        return [url for url in self.requests if url != self.address and not url.startswith("data:")]

    @property
    def wrong(self):
        return [*self.console, *self.errors, *self.left]


@contextmanager
def visit(chromium, path, *, size=DESK, scheme="light", **options):
    """Open a file and listen from the beginning."""
    context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, **options)
    page = context.new_page()
    found = Visit(page, Path(path).resolve().as_uri())
    page.on("console", lambda said: found.console.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(found.address, wait_until="load")
    page.wait_for_timeout(100)
    yield found
    context.close()


UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"

OVERFLOW = """() => {
  const wide = document.documentElement.scrollWidth - innerWidth;
  const out = [...document.querySelectorAll("body *")].filter((e) => {
    if (e.closest(".scroll, nav") && !e.matches(".scroll, nav")) return false;
    if (e.matches(".skip") || e.closest("svg svg")) return false;
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.right > innerWidth + 0.5;
  });
  return [wide, out.slice(0, 5).map((e) => e.outerHTML.slice(0, 120))];
}"""

# Contrast by WCAG 2.2 of every text that is seen, against what is painted behind it.
CONTRAST = """() => {
  const parse = (text) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    const paint = canvas.getContext("2d");
    paint.fillStyle = text; paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const known = new Map();
  const rgba = (text) => { if (!known.has(text)) known.set(text, parse(text)); return known.get(text); };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(rgba(getComputedStyle(e).backgroundColor));
    return layers.reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement, box = element.getBoundingClientRect();
    if (!walk.currentNode.data.trim() || !box.width || element.closest("script, style, .skip")) continue;
    const style = getComputedStyle(element), ground = behind(element);
    const colour = element.closest("svg") ? style.fill : style.color;
    const a = light(over(rgba(colour), ground)), b = light(ground);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio, walk.currentNode.data.trim().slice(0, 40)]);
  }
  return found;
}"""
