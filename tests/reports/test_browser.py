"""The report in a real browser: quiet, sortable, readable on a phone and in the dark, inert whatever a name says."""

from dataclasses import replace
from itertools import pairwise

import pytest

from clip_robustness.reports import html
from clip_robustness.reports.picture import BROWSERS, QUIET, browser, picture
from clip_robustness.results.result import Baseline, Figure, in_order
from tests.reports.test_reports import EVIL, PICTURE, everything

pytestmark = pytest.mark.skipif(browser() is None, reason=f"no browser: none of {', '.join(BROWSERS)} is installed")


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser(), args=list(QUIET))
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """All figures, pictures, two candidates, and names that would do harm."""
    results = everything()
    other = [replace(cell, model=f"other {EVIL}") for cell in results.cells if cell.role == "candidate"]
    some = replace(other[0], accuracy=0.123, ci95=(0.1, 0.15), supervised=Baseline("b", 0.5, (0.4, 0.6)),
                   difference=Figure(-0.377, (-0.4, -0.3)), reason="<img src=x onerror=alert(1)>")  # fmt: skip
    hostile = [replace(cell, unreadable=(EVIL, "<script>document.title = 'harmed'</script>.jpg")) for cell in other[1:]]
    results = replace(results, cells=in_order([*results.cells, some, *hostile]), suite=EVIL)
    file = tmp_path_factory.mktemp("browser") / "report.html"
    file.write_text(html.render(results, {"key": [PICTURE, replace(PICTURE, clean="", difference="")]}))
    return file


@pytest.fixture
def page(chromium, report):
    """Opens the report; at the end nothing may have been said on the console or asked of a network."""
    contexts, said, asked = [], [], []

    def opened(**options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    # the pictures of these tests are no whole JPEGs, which Chromium does not mention
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}


def rows(page):
    return page.locator("#cells tbody tr:visible")


def test_nothing_is_said_and_nothing_asked_for_and_names_are_inert(page):
    opened = page(viewport={"width": 1240, "height": 900})
    assert "harmed" not in opened.title()
    assert opened.evaluate("document.scripts.length") == 1
    assert opened.evaluate("document.querySelectorAll('img:not([src^=data])').length") == 0
    assert "<script>" in opened.inner_text("h1")


def test_the_table_sorts_by_figures(page):
    opened = page()
    button = opened.get_by_role("button", name="Accuracy").first

    def shown():
        texts = opened.locator("#cells tbody tr td:nth-child(5)").all_inner_texts()
        return [float(text.split()[0]) for text in texts if text.strip() != "-"]

    before = shown()
    button.click()
    assert shown() == sorted(before) != before
    assert "-" in opened.locator("#cells tbody tr").last.locator("td").nth(3).inner_text()
    button.click()
    assert shown() == sorted(before, reverse=True)
    assert opened.locator("#cells th[aria-sort=descending]").count() == 1


def test_the_keyboard_sorts_too(page):
    opened = page()
    opened.get_by_role("button", name="Accuracy").first.focus()
    opened.keyboard.press("Enter")
    assert opened.locator("#cells th[aria-sort=ascending]").inner_text().startswith("Accuracy")


def test_the_table_filters_by_words_and_by_choice(page):
    opened = page()
    everyone = rows(opened).count()
    opened.get_by_label("Words", exact=True).fill("imagenet-c FOG 3")
    assert rows(opened).count() == 2
    assert f"2 of {everyone} rows" in opened.inner_text("form output")
    opened.get_by_label("Words", exact=True).fill("")
    opened.get_by_role("combobox", name="Family").select_option("natural")
    opened.get_by_role("combobox", name="Verdict").select_option("not run")
    assert rows(opened).count() == 2
    opened.get_by_role("combobox", name="Verdict").select_option("all")
    opened.get_by_role("combobox", name="Candidate").select_option(f"other {EVIL}".replace("\x00", "\ufffd"))
    assert 1 <= rows(opened).count() < everyone


def test_it_is_complete_without_scripts(page):
    opened = page(java_script_enabled=False)
    assert rows(opened).count() == opened.locator("#cells tbody tr").count() > 20
    assert not opened.locator("form.filter").is_visible()
    assert opened.locator("h2").count() > 10


def test_colours_follow_the_dark_mode(page):
    def luminance(opened, element, of):
        script = f"getComputedStyle(document.querySelector('{element}')).{of}.match(/[\\d.]+/g).slice(0, 3).map(Number)"
        return sum(opened.evaluate(script)) / 3

    light, dark = page(color_scheme="light"), page(color_scheme="dark")
    assert luminance(light, "body", "backgroundColor") > 200 > 60 > luminance(dark, "body", "backgroundColor")
    for text in (".panels svg text", "td", ".lead strong"):
        of = "fill" if "svg" in text else "color"
        contrast = luminance(dark, text, of) - luminance(dark, "body", "backgroundColor")
        assert contrast > 100, f"{text} can't be read in the dark"
        assert luminance(light, text, of) < 140


@pytest.mark.parametrize("width", [1280, 1180, 1105, 1057, 1000, 400, 320])
def test_nothing_is_cut_at_any_width(page, width):
    """Rows that do not fit are cards; a matrix of all candidates may scroll."""
    opened = page(viewport={"width": width, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    wide = "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1)"
    assert opened.evaluate(f"{wide}.filter(one => one.querySelector('.cards')).length") == 0
    assert opened.locator("#cells tbody tr td:first-child").first.is_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_axe_finds_nothing(page, scheme, width):
    """WCAG 2 A and AA and axe-core's best practices, with all that can be unfolded unfolded."""
    from axe_playwright_python.sync_playwright import Axe

    opened = page(color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True)
    opened.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    violations = Axe().run(opened).response["violations"]
    assert [(v["id"], [node["html"][:120] for node in v["nodes"][:3]]) for v in violations] == []


def test_verdicts_differ_without_colour(page):
    opened = page()
    signs = {}
    for name in opened.locator("#cells .verdict").all_inner_texts():
        sign, _, verdict = name.partition(" ")
        signs.setdefault(sign, set()).add(verdict)
    assert len(signs) >= 3
    assert all(len(verdicts) == 1 for verdicts in signs.values())


def test_everything_has_a_name_for_a_screen_reader(page):
    opened = page()
    assert opened.locator("svg:not([aria-label])").count() == 0
    assert opened.locator("img:not([alt]), img[alt='']").count() == 0
    assert opened.locator("thead th:not([scope]), tbody th:not([scope])").count() == 0
    assert opened.locator("h1").count() == 1
    levels = [int(name[1]) for name in opened.eval_on_selector_all("h1, h2, h3", "all => all.map(e => e.tagName)")]
    assert all(deeper <= level + 1 for level, deeper in pairwise(levels))


def test_it_prints(page, tmp_path):
    opened = page()
    opened.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 10_000
    opened.emulate_media(media="print", color_scheme="dark")
    assert not opened.locator("nav").is_visible()
    assert opened.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def test_the_command_makes_a_picture(report, tmp_path):
    file = picture(report, tmp_path / "report.png")
    assert file.read_bytes().startswith(b"\x89PNG")
