"""What the steps of this package raise, when what they did came to no good end."""


class Failed(Exception):
    """The work of a step failed; the message says all that is known."""

    __module__ = "awfe.steps"  # from where it is imported


class HttpFailed(Failed):
    """A request could not be made, or its answer was not expected; `status` is the answer's, or None."""

    __module__ = "awfe.steps"  # from where it is imported

    def __init__(self, message: str, status: int | None = None) -> None:
        """Keep the status beside the message."""
        super().__init__(message)
        self.status = status


class HostFailed(Failed):
    """A host could not be reached, or the command failed there; `result` is what is known of it."""

    __module__ = "awfe.steps"  # from where it is imported

    def __init__(self, message: str, status: int | None = None, stdout: str = "") -> None:
        """Keep the exit status and the end of the output beside the message."""
        super().__init__(message)
        self.result = {"status": status, "stdout": stdout, "error": message}


def needs(error: ModuleNotFoundError, extra: str) -> Failed:
    """Return what to say when a module is missing that an extra brings."""
    return Failed(f"{error.name} is not installed: pip install 'awfe[{extra}]'")
