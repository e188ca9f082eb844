"""The how-to pages about services: each example, served by its real server, does what its page says."""

import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from awfe.testing import violations
from tests.docs.pages import DOCS
from tests.docs.services import Service, command_of, example

IMAGES = [f"{number}.jpg" for number in range(200)]
Serve = Callable[[str, str], Service]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return a function that serves the example of a page as the page says."""
    started: list[Service] = []

    def serve(page: str, file: str) -> Service:
        example(file, tmp_path)
        started.append(Service(command_of(page), tmp_path, {"AWFE_MAX_RUNNING": "1"}))
        return started[-1]

    yield serve
    for service in started:
        service.end()


async def goes_on_after_a_deploy(serve: Serve, page: str, file: str, directory: Path) -> None:
    """End the server in the middle of one album, while another stands in line; both are completed without a request."""
    old = serve(page, file)
    for name in ("summer", "autumn"):
        old.post(f"/albums/{name}", {"images": IMAGES, "title": name})
    old.until("/albums/summer", "running", done=2)
    assert old.get("/albums/autumn")["state"] == "pending"
    assert "summer" in old.post("/albums/summer", {"images": []}, status=409)["error"]
    old.terminate()
    assert "Traceback" not in old.ended()
    new = serve(page, file)
    for name in ("summer", "autumn"):
        assert new.until(f"/albums/{name}", "completed")["context"]["done"] == IMAGES
    assert "winter" in new.get("/albums/winter", status=404)["error"]
    new.terminate()
    assert "Traceback" not in new.ended()
    assert await violations(f"sqlite:///{directory}/albums.db") == []


async def test_fastapi(serve: Serve, tmp_path: Path) -> None:
    await goes_on_after_a_deploy(serve, "fastapi.md", "fastapi_service.py", tmp_path)


async def test_litestar(serve: Serve, tmp_path: Path) -> None:
    await goes_on_after_a_deploy(serve, "litestar.md", "litestar_service.py", tmp_path)


async def test_aiohttp(serve: Serve, tmp_path: Path) -> None:
    await goes_on_after_a_deploy(serve, "aiohttp.md", "aiohttp_service.py", tmp_path)


def test_fastapi_steers(serve: Serve) -> None:
    service = serve("fastapi.md", "fastapi_service.py")
    service.post("/albums/paused", {"images": IMAGES, "title": "P"})
    service.until("/albums/paused", "running", done=1)
    service.post("/albums/paused/pause")
    album = service.until("/albums/paused", "paused")
    assert album["context"] == {"images": IMAGES, "title": "P", "done": IMAGES}
    service.post("/albums/paused/run")
    assert service.until("/albums/paused", "completed")["context"]["published_as"] == "P, 200 images"

    service.post("/albums/stopped", {"images": IMAGES, "title": "S"})
    service.until("/albums/stopped", "running", done=1)
    service.post("/albums/stopped/stop")
    done = service.until("/albums/stopped", "stopped")["context"]["done"]
    assert 0 < len(done) < len(IMAGES)
    service.post("/albums/stopped/restart")
    assert service.until("/albums/stopped", "completed")["context"]["done"] == IMAGES


def test_fastapi_mends_and_refuses(serve: Serve) -> None:
    service = serve("fastapi.md", "fastapi_service.py")
    service.post("/albums/untitled", {"images": ["1.jpg"]})
    assert service.until("/albums/untitled", "error")["failed"] == "'title'"
    assert service.post("/albums/untitled/run", status=409)["error"].startswith("'untitled' ")
    service.post("/albums/untitled/restart", {"title": "Mended"})
    assert service.until("/albums/untitled", "completed")["context"]["published_as"] == "Mended, 1 images"
    assert service.post("/albums/untitled/pause", status=409)["error"]
    assert service.post("/albums/nobody/stop", status=404)["error"]
    assert service.post("/albums/%20%0A", {"images": []}, status=422)["error"]
    assert service.post("/albums/untitled/delete", status=422)["detail"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_script(how: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(example("script.py", tmp_path)), "nightly"]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own program
    while first.poll() is None and not _has_copied(tmp_path / "script.db"):
        time.sleep(0.01)
    first.send_signal(how)
    out, err = first.communicate(timeout=60)
    if how is signal.SIGKILL:
        assert first.returncode == -how
    else:
        assert (first.returncode, out, err) == (1, "", "'nightly' is paused\n")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own program
    assert (done.returncode, done.stdout) == (0, "50 copied\ncompleted\n"), done.stderr
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own program
    assert (again.returncode, again.stdout) == (0, "completed\n"), again.stderr


def _has_copied(file: Path) -> bool:
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return any(rev > 1 for (rev,) in database.execute("SELECT rev FROM awfe_workflow"))
    return False


def test_each_page_has_a_test() -> None:
    pages = {page.stem.replace("-", "_") for page in (DOCS / "howto").glob("*.md")}
    files = [file.read_text() for file in Path(__file__).parent.glob("test_howto*.py")]
    tested = set(re.findall(r"^(?:async )?def test_(\w+)\(", "\n".join(files), re.MULTILINE))
    assert pages <= tested
