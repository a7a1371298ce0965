"""The documentation: `make docs` checks links between pages, these what it passes over."""

import re
import runpy

import pytest
import yaml

from tests import ROOT

PAGES = sorted((ROOT / "docs").rglob("*.md"))
READ_IN_THE_CHECKOUT = [*PAGES, *ROOT.glob("*.md")]
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("page", READ_IN_THE_CHECKOUT, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_lead_to_files(page):
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_site_has_every_page():
    def pages(nav):
        for entry in nav:
            yield from [entry] if isinstance(entry, str) else pages(next(iter(entry.values())))

    nav = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(nav) == [str(page.relative_to(ROOT / "docs")) for page in PAGES]


def test_the_first_page_leads_to_every_other():
    docs = ROOT / "docs"
    leads = {docs / link for link in _LINK.findall((docs / "index.md").read_text())}
    assert {page for page in PAGES if page not in leads} == {docs / "index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_of_the_site_links_nothing_outside_it(page):
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).resolve().is_relative_to(ROOT / "docs")] == []


def test_the_picture_of_the_imports_is_not_stale(capsys):
    main = runpy.run_path(str(ROOT / "docs" / "architecture.py"))["main"]
    assert main(["--check"]) == 0, capsys.readouterr().out
