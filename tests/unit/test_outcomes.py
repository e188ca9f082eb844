"""What went wrong can always be saved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awfe.domain.outcomes import MAX_MESSAGE, MAX_TRACEBACK, ErrorInfo, storable


class Unspeakable(Exception):
    """An exception that can't even tell what it is."""

    def __str__(self) -> str:
        """Fail."""
        raise KeyboardInterrupt

    __repr__ = __str__


class Untraceable(Exception):
    """An exception whose traceback can't be written."""

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]  # whoever writes this has no types
        """Fail."""
        raise KeyboardInterrupt


def caught(error: BaseException) -> ErrorInfo:
    """Return what is kept of an error that was raised."""
    try:
        raise error
    except type(error) as same:
        return ErrorInfo.of(same)


def test_an_error_is_kept_with_type_message_and_traceback() -> None:
    """Builtin ones by their short name, others with their module."""
    info = caught(ValueError("no such host"))
    assert (info.type, info.message) == ("ValueError", "no such host")
    assert info.traceback.startswith("Traceback (most recent call last):\n")
    assert info.traceback.endswith("ValueError: no such host\n")
    assert ErrorInfo.of(pytest.UsageError("x")).type == "pytest.UsageError"


def test_an_error_that_can_not_be_shown_is_kept_all_the_same() -> None:
    """Whatever its `__str__` does."""
    info = caught(Unspeakable())
    assert info.type.endswith("test_outcomes.Unspeakable")
    assert info.message == "<its __str__ raised KeyboardInterrupt>"
    assert info.traceback


def test_a_cause_that_can_not_be_shown_does_not_hide_the_error() -> None:
    """The message stays, and something stands for the traceback."""
    error = ValueError("no such host")
    error.__cause__ = Unspeakable()
    info = caught(error)
    assert (info.type, info.message) == ("ValueError", "no such host")
    assert info.traceback


def test_an_error_without_a_traceback_is_kept_all_the_same() -> None:
    """Its message stays."""
    info = caught(Untraceable("no such host"))
    assert (info.message, info.traceback) == ("no such host", "<its traceback raised KeyboardInterrupt>")


def test_long_messages_and_tracebacks_are_bounded() -> None:
    """Their beginning and end are kept."""
    info = caught(ValueError("begin" + "x" * 10 * MAX_TRACEBACK + "end"))
    assert len(info.message) <= MAX_MESSAGE
    assert len(info.traceback) <= MAX_TRACEBACK
    assert info.message.startswith("begin")
    assert info.message.endswith("end")


@pytest.mark.parametrize(
    ("message", "line"),
    [("one\ntwo", "OSError: one"), ("", "OSError"), ("\ntwo", "OSError"), ("one\r\ntwo", "OSError: one")],
)
def test_the_first_line_is_for_lists(message: str, line: str) -> None:
    """Type and message, whatever the message looks like."""
    assert ErrorInfo("OSError", message).first_line == line


@given(st.text(st.characters() | st.characters(categories=["Cs"]), max_size=50))
def test_every_text_can_be_made_storable(text: str) -> None:
    """No NUL, no lone surrogate; all else stays."""
    kept = storable(text, 1000)
    assert "\0" not in kept
    kept.encode()
    if "\0" not in text and text.encode(errors="ignore").decode() == text:
        assert kept == text


def test_what_can_not_be_stored_is_escaped() -> None:
    """So that it can still be seen."""
    assert storable("a\0b\ud800c", 100) == "a\\x00b\\ud800c"


@given(st.text(min_size=101, max_size=400), st.integers(100, 120))
def test_a_long_text_loses_its_middle(text: str, limit: int) -> None:
    """It tells how much is gone, and keeps both ends."""
    plain = text.replace("\0", "0").encode(errors="replace").decode()
    kept = storable(plain, limit)
    assert len(kept) <= limit or kept == plain
    if len(plain) > limit:
        half = limit // 2 - 20
        assert kept == f"{plain[:half]}\n… {len(plain) - 2 * half} characters …\n{plain[-half:]}"


@pytest.mark.parametrize("text", ["\0" * 255, "\ud800" * 255, "\0" * 10_000], ids=["NUL", "surrogate", "long"])
def test_escapes_are_within_the_bound(text: str) -> None:
    """A column that takes 255 characters takes what was made for it."""
    assert len(storable(text, 255)) <= 255
