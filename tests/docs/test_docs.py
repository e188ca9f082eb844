"""What the README and the pages say is true: their code runs, their links lead somewhere, nothing in them is stale."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import awfe
from awfe import errors, steps
from tests.docs.pages import DOCS, GENERATED, PAGES, ROOT, Reader, blocks, prose

QUICKSTART = ROOT / "examples" / "quickstart.py"
WITH_CODE = [
    page for page in PAGES if page != GENERATED and any(b.language in ("python", "console") for b in blocks(page))
]

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"(?<![\w/.-])(?:bin|docs|examples|src|tests)/[\w./-]*\w")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def slug(heading: str) -> str:
    """Return the anchor of a heading, as Markdown makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def named(page: Path) -> str:
    """Name a page in the id of a test."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_CODE, ids=named)
def test_code_on_a_page_does_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Reader(page, tmp_path).read()


def test_readme_shows_the_quickstart_as_it_is() -> None:
    source = QUICKSTART.read_text()
    assert source in [block.text for block in blocks(ROOT / "README.md") if block.language == "python"]
    assert len(source.splitlines()) <= 25


@pytest.mark.parametrize("program", sorted(DOCS.glob("make_*.py")), ids=named)
def test_generated_pages_are_not_stale(program: Path, tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, program, "--check"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_every_error_is_shown_once() -> None:
    public = [name for name, value in vars(errors).items() if isinstance(value, type)]
    assert _HEADING.findall(prose(GENERATED)) == ["Errors", *public]
    assert set(public) <= set(awfe.__all__)


def test_every_public_name_is_in_the_reference() -> None:
    shown = re.findall(r"^::: awfe\.(\w+)$", (DOCS / "reference.md").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(set(awfe.__all__) - vars(errors).keys())


def test_every_step_has_a_page_with_an_example() -> None:
    shown = {
        name: page
        for page in (DOCS / "steps").glob("*.md")
        for name in re.findall(r"^::: awfe\.steps\.(\w+)$", page.read_text(), re.MULTILINE)
    }
    public = {name: getattr(steps, name) for name in steps.__all__}
    assert shown.keys() == {name for name, value in public.items() if not issubclass(value, Exception)}
    assert set(shown.values()) <= set(WITH_CODE)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        if anchor:
            assert anchor in map(slug, _HEADING.findall(prose(target))), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_that_are_named_exist(page: Path) -> None:
    for path in _PATH.findall(page.read_text()):
        assert (ROOT / path).exists(), path


def test_every_module_has_its_floor_in_the_architecture() -> None:
    page = (DOCS / "architecture.md").read_text()
    found = [path for path in (ROOT / "src").rglob("*.py") if path.name != "__init__.py"]
    modules = [path.name for path in found if path.parent.name != "chaos"]
    assert [name for name in modules if not re.search(rf"\b{re.escape(name)}", page)] == []


def test_no_page_is_missing_in_the_navigation() -> None:
    listed = re.findall(r"- (?:\w+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_llms_txt_leads_to_every_page() -> None:
    links = _LINK.findall((DOCS / "llms.txt").read_text())
    pages = sorted(f"{link.removesuffix('/')}.md" for link in links if link != "./")
    ours = (str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    assert pages == sorted(page for page in ours if page != "index.md" and not page.startswith("decisions/"))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_merge_is_left_half_done(page: Path) -> None:
    assert not re.search("^(<<<<<<<|>>>>>>>) ", page.read_text(), re.MULTILINE)
