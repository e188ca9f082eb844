"""Where the output of steps goes, and what happens when it can't."""

import io
import logging
from typing import Any

import pytest

from awfe.errors import ConfigError
from awfe.execution.output import writer_to

LOG = logging.getLogger("awfe.test_output")


def test_output_goes_to_a_function() -> None:
    """Of one string."""
    written: list[str] = []
    writer_to(written.append, LOG)("text")
    assert written == ["text"]


def test_output_goes_to_an_object_with_write() -> None:
    """Such as a file."""
    file = io.StringIO()
    write = writer_to(file, LOG)
    write("one\n")
    write("two\n")
    assert file.getvalue() == "one\ntwo\n"


def test_output_goes_nowhere_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Not to the program's own output either."""
    writer_to(None, LOG)("text")
    assert capsys.readouterr() == ("", "")


def test_a_failing_redirect_is_logged_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """It fails no step."""
    tried: list[str] = []

    def fail(text: str) -> None:
        tried.append(text)
        msg = "disk full"
        raise OSError(msg)

    write = writer_to(fail, LOG)
    for text in ("one", "two", "three"):
        write(text)
    assert tried == ["one", "two", "three"]
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("redirect failed, which is not said again")
    assert "disk full" in caplog.text


@pytest.mark.parametrize("redirect", [5, "file.log"], ids=repr)
def test_what_can_not_be_written_to_is_refused(redirect: Any) -> None:
    """At once, not at the first output."""
    with pytest.raises(ConfigError, match=rf"^redirect={redirect!r}: give a function of one string"):
        writer_to(redirect, LOG)
