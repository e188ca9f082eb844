"""The links of the built site, and to elsewhere.

No network is asked: of a link to elsewhere only its form is checked, and that it is in one place.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, prose

_ELSEWHERE = re.compile(r"\]\((\w+://[^)\s]+)\)")


class Page(HTMLParser):
    """A page of the site: where it links to, and what in it can be linked to."""

    def __init__(self, file: Path) -> None:
        """Read it."""
        super().__init__()
        self.file = file
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the signature is the parser's
        """Note what an element links to, and its name."""
        named = dict(attrs)
        self.anchors |= {str(named[name]) for name in ("id", "name") if named.get(name)}
        self.links |= {str(named[name]) for name in ("href", "src") if named.get(name)}


class Site:
    """The built site."""

    def __init__(self, directory: Path) -> None:
        """Read it when it is asked for something."""
        self.directory = directory

    @cached_property
    def pages(self) -> dict[Path, Page]:
        """All pages by their files."""
        return {file: Page(file) for file in sorted(self.directory.rglob("*.html"))}

    def broken(self, page: Page) -> list[str]:
        """Return the links of a page within the site that lead to nothing."""
        return [link for link in sorted(page.links) if not urlsplit(link).scheme and not self._leads(page, link)]

    def _leads(self, page: Page, link: str) -> bool:
        parts = urlsplit(link)
        if parts.path.startswith("/"):
            target = self.directory / parts.path.removeprefix("/")
        else:
            target = (page.file.parent / unquote(parts.path)).resolve() if parts.path else page.file
        if target.is_dir():
            target /= "index.html"
        if not target.is_file() or self.directory not in target.parents:
            return False
        return not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in self.pages[target].anchors


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return the site, as it is built for its readers."""
    directory = tmp_path_factory.mktemp("site").resolve()
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)  # noqa: S603 - our own site
    assert done.returncode == 0, done.stderr
    return Site(directory)


def test_links_within_the_site_lead_somewhere(site: Site) -> None:
    """With their anchors, also those that mkdocs does not look at: of the navigation, the API and llms.txt."""
    assert len(site.pages) > len(list(DOCS.rglob("*.md")))
    linked = [link for page in site.pages.values() for link in page.links]
    assert len(linked) > 1_000
    found = {
        str(page.file.relative_to(site.directory)): broken
        for page in site.pages.values()
        if (broken := site.broken(page))
    }
    assert found == {}


def test_a_broken_link_would_be_seen(site: Site, tmp_path: Path) -> None:
    copy = Site(Path(shutil.copytree(site.directory, tmp_path / "site")))
    index = copy.directory / "index.html"
    links = ("no/such/page/", "#no-such-anchor", "errors/#no-such-error", "../outside.html")
    index.write_text(index.read_text() + "".join(f'<a href="{link}">x</a>' for link in links))
    assert copy.broken(copy.pages[index]) == sorted(links)


def test_llms_txt_of_the_site_leads_to_pages(site: Site) -> None:
    text = (site.directory / "llms.txt").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert [link for link in links if not (site.directory / link / "index.html").is_file()] == []


ELSEWHERE = [(page, address) for page in PAGES for address in _ELSEWHERE.findall(prose(page))]


def test_links_to_elsewhere_are_well_formed() -> None:
    """They are not followed: a test has no network."""
    assert len(ELSEWHERE) > 10
    for page, address in ELSEWHERE:
        parts = urlsplit(address)
        assert parts.scheme == "https", (page, address)
        assert re.fullmatch(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), (page, address)


def test_each_link_to_elsewhere_is_in_one_place() -> None:
    """One that moves is mended there."""
    times = Counter(address.partition("://")[2].rstrip("/") for _, address in ELSEWHERE)
    assert [address for address, number in times.items() if number > 1] == []
