"""The page in a real browser: nothing loads, nothing complains, and a phone can show it.

Needs Debian's chromium and chromium-driver (or the like) on the PATH; skipped where they are not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mfubench.report.build import build_report
from mfubench.results.collect import collect
from mfubench.show.page import as_html
from tests.unit.report.example_results import fill

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
wait = pytest.importorskip("selenium.webdriver.support.wait", reason="selenium is not installed")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver here"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    path = folder / "report.html"
    report = build_report(collect([fill(folder / "results")]))
    path.write_text(as_html(report), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(300)  # axe takes its time where every core is busy
    yield driver
    driver.quit()


WIDTHS = (360, 768, 1280)
LOOKS = [(width, scheme) for width in WIDTHS for scheme in ("light", "dark")]
"""What the page must look well at."""
OPEN_ALL = 'document.querySelectorAll("details").forEach(d => { d.open = true; })'


def show(browser: Any, page: Path, *, width: int = 1000, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})
    browser.get(page.as_uri())
    # On a busy machine `get` has come back from a page that was read in part.
    wait.WebDriverWait(browser, 20).until(
        lambda b: b.execute_script("return document.readyState") == "complete"
    )


def test_nothing_is_asked_of_a_network_and_nothing_complains(browser: Any, page: Path) -> None:
    browser.get_log("performance")
    browser.get_log("browser")
    show(browser, page)
    asked = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert page.as_uri() in asked, "the log saw the page itself"
    # The browser's own new tab may still be loading its icons.
    local = ("file:", "data:", "chrome:", "chrome-untrusted:")
    assert [url for url in asked if not url.startswith(local)] == []
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [360, 640, 800, 1400])
def test_the_page_does_not_scroll_sideways(browser: Any, page: Path, width: int) -> None:
    show(browser, page, width=width)
    script = "const d = document.documentElement; return [d.scrollWidth, d.clientWidth]"
    scroll, client = browser.execute_script(script)
    assert scroll <= client <= width  # the client is a scroll bar narrower
    assert client >= width - 20


@pytest.mark.parametrize("width", [360, 1000])
def test_every_picture_is_there_once_and_its_texts_are_inside(
    browser: Any, page: Path, width: int
) -> None:
    show(browser, page, width=width)
    script = """
    const shown = [...document.querySelectorAll("figure")].map(f =>
      [...f.querySelectorAll("svg")].filter(s => s.getBoundingClientRect().width > 0));
    const outside = [];
    for (const svg of shown.flat()) {
      const box = svg.getBoundingClientRect();
      for (const text of svg.querySelectorAll("text")) {
        const t = text.getBoundingClientRect();
        if (t.left < box.left - 3 || t.right > box.right + 3 || t.bottom > box.bottom + 3)
          outside.push(`${svg.querySelector("title").textContent}: ${text.textContent}`);
      }
    }
    return [shown.map(s => s.length), outside];
    """
    counts, outside = browser.execute_script(script)
    assert len(counts) >= 20
    assert set(counts) == {1}
    assert outside == []


@pytest.mark.parametrize("width", [360, 1000])
def test_labels_of_a_picture_do_not_cover_each_other(browser: Any, page: Path, width: int) -> None:
    show(browser, page, width=width)
    script = """
    const found = [];
    for (const svg of document.querySelectorAll("figure svg")) {
      const boxes = [...svg.querySelectorAll("text")].map(t => [t.textContent,
        t.getBoundingClientRect()]).filter(b => b[1].width > 0);
      for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
        const [a, b] = [boxes[i][1], boxes[j][1]];
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 2 && high > 5) found.push(`${boxes[i][0]} | ${boxes[j][0]}`);
      }
    }
    return found;
    """
    assert browser.execute_script(script) == []


OVERLAPS = """
// Every line of every text, in pictures too, cut to what its scrolling ancestors show.
const boxes = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const clipped = new Map();
const clip = (element) => {
  if (!element || element === document.documentElement) return [-1e9, -1e9, 1e9, 1e9];
  if (clipped.has(element)) return clipped.get(element);
  const above = clip(element.parentElement);
  const style = getComputedStyle(element);
  let own = above;
  if (style.overflowX !== "visible" || style.clipPath !== "none") {
    const r = element.getBoundingClientRect();
    const shown = style.clipPath === "none" ? [r.left, r.top, r.right, r.bottom] : [0, 0, 0, 0];
    own = [Math.max(above[0], shown[0]), Math.max(above[1], shown[1]),
           Math.min(above[2], shown[2]), Math.min(above[3], shown[3])];
  }
  clipped.set(element, own);
  return own;
};
while (walker.nextNode()) {
  const node = walker.currentNode;
  const parent = node.parentElement;
  if (!node.textContent.trim() || parent.closest("script, style, title, desc, #tip")) continue;
  if (!parent.checkVisibility()) continue;  // in a closed fold
  const [left, top, right, bottom] = clip(parent);
  const range = document.createRange();
  range.selectNodeContents(node);
  for (const r of range.getClientRects()) {
    const b = [Math.max(r.left, left), Math.max(r.top, top),
               Math.min(r.right, right), Math.min(r.bottom, bottom)];
    if (b[2] - b[0] > 1 && b[3] - b[1] > 1) boxes.push([...b, node.textContent.trim()]);
  }
}
boxes.sort((a, b) => a[1] - b[1]);
const found = [];
for (let i = 0; i < boxes.length; i++) {
  for (let j = i + 1; j < boxes.length && boxes[j][1] < boxes[i][3]; j++) {
    const [a, b] = [boxes[i], boxes[j]];
    const wide = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
    const high = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
    // Lines that are set close touch by a hair; letters are covered from a third of the line on.
    if (wide > 2 && high > 0.34 * Math.min(a[3] - a[1], b[3] - b[1]))
      found.push(`${a[4].slice(0, 40)} | ${b[4].slice(0, 40)}`);
  }
}
const wide = innerWidth;
const out = boxes.filter(b => b[0] < -1 || b[2] > wide + 1)
  .map(b => `outside: ${b[4].slice(0, 60)}`);
return [boxes.length, [...found, ...out].slice(0, 20)];
"""


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_covers_another_or_leaves_the_page(
    browser: Any, page: Path, width: int, is_open: bool
) -> None:
    show(browser, page, width=width)
    if is_open:
        browser.execute_script(OPEN_ALL)
    count, found = browser.execute_script(OVERLAPS)
    assert count > (900 if is_open else 300), "the texts were seen"
    assert found == []


def test_no_text_covers_another_on_paper(browser: Any, page: Path) -> None:
    show(browser, page, width=718)  # A4 with Chromium's margins
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    browser.execute_script(OPEN_ALL)
    count, found = browser.execute_script(OVERLAPS)
    assert count > 900
    assert found == []
    shown = "return getComputedStyle(document.querySelector(arguments[0])).display"
    assert browser.execute_script(shown, "nav") == "none"


def test_texts_that_cover_each_other_would_be_found(browser: Any, tmp_path: Path) -> None:
    """The test above can fail."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><p style='margin:0'>one</p><p style='margin:-1em 0 0'>two</p>"
        "<svg width=90 height=30><text x=0 y=20>alpha</text><text x=9 y=22>beta</text></svg>",
        encoding="utf-8",
    )
    show(browser, bad)
    _, found = browser.execute_script(OVERLAPS)
    assert found == ["one | two", "alpha | beta"]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_number_stands_on_the_first_screen(browser: Any, page: Path, width: int) -> None:
    show(browser, page, width=width)
    script = """
    const head = document.querySelector("h1");
    const tile = document.querySelector(".numbers-first strong");
    const gauge = [...document.querySelectorAll("#gauge-0 svg")].find(
      s => s.getBoundingClientRect().height > 0);
    return [head.textContent, ...[head, tile, gauge].map(e => e.getBoundingClientRect().bottom)];
    """
    text, *bottoms = browser.execute_script(script)
    assert "47\N{NO-BREAK SPACE}%" in text
    assert max(bottoms) < 600


def test_the_navigation_stays_and_says_where_one_is(browser: Any, page: Path) -> None:
    show(browser, page, width=360)
    script = """
    const done = arguments[0];
    document.querySelector("#knobs").scrollIntoView();
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const nav = document.querySelector("nav").getBoundingClientRect();
      const head = document.querySelector("#knobs h2").getBoundingClientRect();
      const now = document.querySelector("nav [aria-current]").textContent;
      done([nav.top, nav.bottom <= head.top, now]);
    }));
    """
    assert browser.execute_async_script(script) == [0, True, "Settings"]


def test_commands_can_be_copied(browser: Any, page: Path) -> None:
    show(browser, page)
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.execute_cdp_cmd("Browser.grantPermissions", {"permissions": permissions})
    browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    script = """
    const done = arguments[0];
    const commands = document.querySelector("pre");
    const wanted = [...commands.childNodes].filter(n => n.nodeType === 3)
      .map(n => n.textContent).join("").trim();
    commands.closest("details").open = true;
    commands.querySelector(".copy").click();
    setTimeout(() => navigator.clipboard.readText().then(
      got => done([wanted, got]), error => done([wanted, String(error)])), 200);
    """
    wanted, copied = browser.execute_async_script(script)
    assert copied == wanted
    assert "train.py" in copied


def test_a_table_sorts_both_ways_by_number_and_keeps_the_unknown_last(
    browser: Any, page: Path
) -> None:
    show(browser, page)
    script = """
    const table = document.querySelector('table[aria-label="Training cases"]');
    const head = [...table.querySelectorAll("thead th")].find(h => h.textContent === "ms/step");
    const read = () => [...table.tBodies[0].rows].map(r => Number(r.cells[1].dataset.value));
    const before = read();
    head.querySelector("button").click();
    const down = [read(), head.getAttribute("aria-sort")];
    head.querySelector("button").click();
    return [before, down, [read(), head.getAttribute("aria-sort")]];
    """
    before, (down, way_down), (up, way_up) = browser.execute_script(script)
    assert (way_down, way_up) == ("descending", "ascending")
    assert down == sorted(before, reverse=True) != before
    assert up == sorted(before)


def test_cases_can_be_filtered(browser: Any, page: Path) -> None:
    show(browser, page)
    script = """
    const table = document.querySelector('table[aria-label="Training cases"]');
    const input = table.parentElement.previousElementSibling.querySelector("input");
    input.value = "batch 48 cuda";
    input.dispatchEvent(new Event("input"));
    return [...table.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[0].textContent);
    """
    shown = browser.execute_script(script)
    assert len(shown) == 2
    assert all("batch 48" in name and "cuda" in name for name in shown)


def test_a_point_tells_its_numbers(browser: Any, page: Path) -> None:
    show(browser, page)
    script = """
    const mark = document.querySelector("#waterfall-0 .wide .mark");
    mark.scrollIntoView();
    const box = mark.querySelector("rect").getBoundingClientRect();
    mark.querySelector("rect").dispatchEvent(new PointerEvent("pointermove",
      {bubbles: true, clientX: box.left + 4, clientY: box.top + 4}));
    const tip = document.getElementById("tip");
    return [tip.hidden, tip.textContent];
    """
    hidden, text = browser.execute_script(script)
    assert not hidden
    assert text.startswith("time at spec peak: 18.4 ms, 46.28 % of the step")


def test_without_script_everything_is_there(browser: Any, page: Path) -> None:
    script = "return [document.querySelectorAll('svg').length, document.body.innerText.length]"
    show(browser, page)
    with_script = browser.execute_script(script)
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, page)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    pictures, characters = browser.execute_script(script)
    assert pictures == with_script[0] > 20
    assert characters >= 0.95 * with_script[1]


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_axe_has_no_finding(browser: Any, page: Path, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_selenium_python", reason="axe is not installed")
    show(browser, page, width=width, scheme=scheme)
    if scheme == "light":
        browser.execute_script(OPEN_ALL)
    source = Path(axe.__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
    browser.execute_script(source.read_text(encoding="utf-8"))
    script = "const done = arguments[0]; axe.run(document).then(r => done(r.violations))"
    violations = browser.execute_async_script(script)
    told = [(v["id"], v["impact"], [n["html"][:120] for n in v["nodes"][:3]]) for v in violations]
    assert told == []


def test_every_text_of_a_picture_has_contrast(browser: Any, page: Path) -> None:
    """axe does not look into pictures: WCAG's 4.5 to 1 for each text on paper and on every cell."""
    script = """
    const light = c => { const [r, g, b] = c.map(v => { v /= 255;
      return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
      return .2126 * r + .7152 * g + .0722 * b; };
    const parse = s => s.match(/[\\d.]+/g).map(Number);
    const paper = parse(getComputedStyle(document.documentElement).backgroundColor).slice(0, 3);
    const over = (c, under) => { const a = c.length > 3 ? c[3] : 1;
      return c.slice(0, 3).map((v, i) => a * v + (1 - a) * under[i]); };
    const low = new Set();
    for (const text of document.querySelectorAll("svg text")) {
      const cell = text.closest("g.mark")?.querySelector(".cell");
      const fill = cell ? parse(getComputedStyle(cell).fill) : null;
      const under = fill ? over(fill, paper) : paper;
      const [a, b] = [light(parse(getComputedStyle(text).fill)), light(under)];
      const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
      if (ratio < 4.5) low.add(`${text.textContent} ${ratio.toFixed(2)}`);
    }
    return [...low];
    """
    for scheme in ("light", "dark"):
        show(browser, page, scheme=scheme)
        assert browser.execute_script(script) == [], scheme
