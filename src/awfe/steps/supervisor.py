"""A program that runs one command in a process group of its own, and ends the group when it is told to.

It is told by the end of a socket: so also when awfe is gone, however it ended. Run as `python -I -S supervisor.py`; it
imports little, since each command waits for that. It tells what happened in lines: `pid N`, then `exit N`, `signal N`
or `failed STAGE ERRNO`, and `left` before that where something of the group would not end.
"""

import os
import select
import signal
import sys
import time

_LOOK = 0.01
_PARENT = 1.0
_AFTER_KILL = 2.0
_TOLD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> None:
    """Run the command that the arguments tell."""
    control = int(sys.argv[1])
    os.set_inheritable(control, False)  # noqa: FBT003 - the function's own way
    grace, directory, command = float(sys.argv[2]), sys.argv[3], sys.argv[4:]
    parent = os.getppid()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for each in (signal.SIGCHLD, *_TOLD):
        signal.signal(each, lambda *_: None)
    ready, go = os.pipe()
    report, broken = os.pipe()
    group = os.fork()
    if group == 0:
        os.close(go)
        _become(command, directory, ready, broken)
    os.setpgid(group, group)
    os.close(broken)
    status, gone = None, False
    try:
        # The command begins when awfe knows whom to end if this program is killed, or never.
        os.write(control, f"pid {group}\n".encode())
        os.write(go, b"!")
        failed = os.read(report, 100)
        # From here on only the command holds its input and output, so that their end can be seen.
        nothing = os.open(os.devnull, os.O_RDWR)
        for each_fd in range(3):
            os.dup2(nothing, each_fd)
        status = _until_over(group, control, woken, parent)
    finally:
        os.close(go)
        status, gone = _end(group, grace, status)
    told = failed or b"signal %d" % -status if status < 0 else failed or b"exit %d" % status
    try:  # noqa: SIM105 - contextlib takes longer to import than it is worth
        os.write(control, (b"" if gone else b"left\n") + told + b"\n")
    except OSError:
        pass  # nobody is there to be told


def _become(command: list[str], directory: str, ready: int, broken: int) -> None:
    """Be the command; never returns."""
    stage = "command"
    try:
        if not os.read(ready, 1):
            return
        signal.set_wakeup_fd(-1)
        for each in (*_TOLD, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(each, signal.SIG_DFL)
        if directory:
            stage = "cwd"
            os.chdir(directory)
            stage = "command"
        os.execvp(command[0], command)  # noqa: S606 - no shell where none was asked for
    except OSError as error:
        os.write(broken, f"failed {stage} {error.errno}".encode())
    finally:
        os._exit(127)


def _until_over(group: int, control: int, woken: int, parent: int) -> int | None:
    """Return the command's status when it has ended, None when it is to be ended."""
    while True:
        if (status := _status(group)) is not None:
            return status
        ready, _, _ = select.select([control, woken], [], [], _PARENT)
        # A fork of awfe may hold the socket open.
        if control in ready or os.getppid() != parent:
            return None
        if woken in ready and set(os.read(woken, 100)) & set(_TOLD):
            return None


def _status(group: int) -> int | None:
    try:
        pid, status = os.waitpid(group, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None


def _end(group: int, grace: float, status: int | None) -> tuple[int, bool]:
    """End all of the group; return the command's status, and whether all is gone."""
    for how, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _AFTER_KILL)):
        _send(group, how)
        _send(group, signal.SIGCONT)  # what is stopped can't end
        until = time.monotonic() + patience
        while True:
            status = _status(group) if status is None else status
            if not _lives(group):
                return (0 if status is None else status), True
            if time.monotonic() >= until:
                break
            time.sleep(_LOOK)
    return (-signal.SIGKILL if status is None else status), False


def _send(group: int, how: signal.Signals) -> bool:
    try:
        os.killpg(group, how)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, as of sudo
    return True


def _lives(group: int) -> bool:
    """Tell whether somebody of the group is alive."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # Where nobody reaps orphans, as in a container without an init, the dead stay in the group.
    states = [state for state, member in map(_stat, _listed()) if member == group]
    return not states or any(state != "Z" for state in states)


def _listed() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - pathlib takes longer to import than the rest
    except OSError:
        return []


def _stat(pid: str) -> tuple[str, int]:
    """Return the state and the group of a process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - pathlib takes longer to import than the rest
            state, _, group = file.read().rpartition(b")")[2].split()[:3]
    except (OSError, ValueError):
        return "", 0
    return state.decode(), int(group)


if __name__ == "__main__":
    main()
