"""Opens every page of the built book in Chromium, wide and light, and narrow and dark.

Pages are found in the build, so that a new chapter is tested like the others. What a page shows
must work without Python behind it: a slider that needs a kernel has no place on it.
"""

import dataclasses
import functools
import http.server
import io
import os
import re
import shutil
import threading
from pathlib import Path

import fetch_static
import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "_build" / "html"
SOURCES = [
    ROOT / "_config.yml",
    ROOT / "_toc.yml",
    *ROOT.glob("book/[!.]*.*"),
    *ROOT.glob("book/_static/[!.]*.*"),
]
PAGES = [
    path.relative_to(BUILD).as_posix()
    for path in sorted(BUILD.rglob("*.html"))
    if "_static" not in path.parts and path != BUILD / "index.html"  # which only points on
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
VIEWS = {
    "wide": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MOST_BYTES = 2_000_000
READY = """
document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]').length
    == document.querySelectorAll('.widget-subarea').length
&& (!document.querySelector('.math') || document.querySelector('mjx-container'))
"""


def missing():
    """Returns why the book cannot be looked at here, or None."""
    if not PAGES:
        return "the book is not built: make book"
    newest = max(SOURCES, key=lambda path: path.stat().st_mtime)
    if newest.stat().st_mtime > max((BUILD / page).stat().st_mtime for page in PAGES):
        return f"the book was built before {newest.relative_to(ROOT)} changed: make book"
    if CHROMIUM is None:
        return "needs Chromium, which this machine does not have: apt-get install chromium"
    return None


# Where the book was built just now and there is a browser, nothing may be skipped.
pytestmark = pytest.mark.skipif(
    missing() is not None and not (os.environ.get("CI") and CHROMIUM), reason=str(missing())
)


def test_the_book_is_built_and_up_to_date():
    assert missing() is None


@dataclasses.dataclass
class Visit:
    """An open page and what went wrong on it."""

    page: object
    address: str
    errors: list = dataclasses.field(default_factory=list)
    outside: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self.page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("response", self._see_response)
        self.page.on("requestfailed", lambda r: self.errors.append(f"failed: {r.url[:100]}"))
        self.page.on("request", self._see_request)

    def _see_response(self, response):
        if response.status >= 400:
            self.errors.append(f"{response.status}: {response.url[:100]}")

    def _see_request(self, request):
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.outside.append(request.url)

    def open(self, path):
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("networkidle")
        return self


@pytest.fixture(scope="module")
def address():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=BUILD)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def contexts():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield {name: browser.new_context(**options) for name, options in VIEWS.items()}
        browser.close()


@pytest.fixture(scope="module", params=PAGES)
def path(request):
    return request.param


@pytest.fixture(scope="module", params=VIEWS)
def visit(request, path, contexts, address):
    with contexts[request.param].new_page() as page:
        yield Visit(page, address).open(path)


@pytest.fixture(scope="module")
def own_scripts():
    if not any("_static/vendor/" in (BUILD / page).read_text("utf-8") for page in PAGES):
        pytest.skip("the book was built without the npm registry: its pages need public CDNs")


@pytest.fixture(scope="module")
def axe():
    try:
        source = fetch_static.read(fetch_static.AXE)["axe.min.js"].decode()
    except fetch_static.FetchError as error:
        pytest.skip(str(error))
    # Else it would register itself with require.js, where there is one.
    return f"(() => {{ const define = undefined; {source} }})()"


def test_every_page_stays_small(path):
    assert (BUILD / path).stat().st_size < MOST_BYTES


def test_every_table_is_one(path):
    assert not re.search(r"<p>\s*\|", (BUILD / path).read_text()), "Markdown that was not read"


def test_a_notebook_has_a_button_that_opens_it_in_colab(path):
    notebook = Path(path).with_suffix(".ipynb").as_posix()
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    repository = config["repository"]["url"].removeprefix("https://github.com/")
    folder = f"{config['launch_buttons']['colab_url']}/github/{repository}/blob/main"
    links = re.findall('href="(https://colab[^"]*)"', (BUILD / path).read_text("utf-8"))
    is_notebook = (ROOT / notebook).exists()
    assert links == [f"{folder}/{notebook}"] * is_notebook


def test_nothing_fails(visit, own_scripts):
    visit.page.wait_for_function(READY)
    assert visit.errors == []
    assert visit.page.locator("mjx-merror").count() == 0


def test_no_request_leaves_the_site(visit, own_scripts):
    assert visit.outside == []


def test_nothing_overflows(visit):
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert visit.page.evaluate(wider) == 0


def test_axe_finds_nothing(visit, axe):
    if not visit.page.locator("article").count():
        pytest.skip("a page without an article")
    visit.page.evaluate(axe)
    found = visit.page.evaluate("axe.run('article')")["violations"]
    assert [f"{v['help']}: {v['nodes'][0]['html'][:200]}" for v in found] == []


def test_every_slider_changes_the_picture(visit, own_scripts):
    visit.page.wait_for_function(READY)
    # The edge of a wipe would be a change in itself.
    visit.page.add_style_tag(content=".colorseg-wipe .edge { visibility: hidden }")
    for slider in visit.page.locator("article").locator("[role=slider], [type=range]").all():
        name = slider.get_attribute("aria-label")
        assert slider.evaluate("element => element.tabIndex") == 0, f"{name}: not in tab order"
        output = slider.locator("xpath=ancestor::*[contains(@class, 'cell_output')][1]")
        slider.focus()
        first, last = (press(slider, key, output) for key in ("Home", "End"))
        assert first.shape == last.shape, name
        changed = np.abs(first.astype(int) - last).max(axis=-1) > 8
        assert changed.mean() > 0.005, f"{name}: the same picture at both ends"


def press(slider, key, output):
    """Returns what is seen of the output's pictures after a key, uint8 RGB."""
    slider.press(key)
    slider.page.wait_for_timeout(150)
    pictures = output.locator(".widget-html-content:visible, .pictures, img:visible").first
    image = Image.open(io.BytesIO(pictures.screenshot(animations="disabled")))
    return np.asarray(image.convert("RGB"))


def test_search_finds_chroma(contexts, address):
    with contexts["wide"].new_page() as page:
        visit = Visit(page, address).open("search.html?q=chroma")
        results = page.locator("#search-results li a")
        results.first.wait_for()
        assert any("01_color_without_color" in link.get_attribute("href") for link in results.all())
        assert visit.errors == []
