"""The step that runs a command, without an engine."""

import asyncio
import os
import random
from typing import Any

import pytest

from awfe import Context, ContextError, InvalidInput
from awfe.domain.registry import find
from awfe.domain.step import save
from awfe.steps import Shell, ShellError
from awfe.steps.process import Lines


class Printing(Context):
    """Keeps what is printed."""

    printed: list[str]

    def output(self, text: str) -> None:
        """Keep it."""
        self.__dict__.setdefault("printed", []).append(text)


async def run(shell: Shell, **values: Any) -> Printing:
    """Run a command, and return its context."""
    ctx = Printing(values)
    ctx.printed = []
    await shell.work(ctx)
    return ctx


async def test_a_string_goes_through_sh_and_a_list_does_not() -> None:
    name = "it's *; $(exit 1)"
    assert (await run(Shell("echo {name} | cat"), name=name)).printed == [f"{name}\n"]
    assert (await run(Shell(["echo", "$HOME", "{name}"]), name=name)).printed == [f"$HOME {name}\n"]
    assert (await run(Shell(("printf", "%s|", "{l}", 5)), l=["a b", True])).printed == ["a b|true|5|"]


async def test_output_and_errors_come_line_by_line_in_their_order() -> None:
    assert (await run(Shell("echo 1; echo 2 >&2; echo 3; printf 4"))).printed == ["1\n", "2\n", "3\n", "4"]


async def test_what_it_prints_is_saved_without_its_last_newline() -> None:
    ctx = await run(Shell("echo one; echo two; echo no >&2", save_as="got"))
    assert ctx["got"] == "one\ntwo"
    assert sorted(ctx.printed) == ["no\n", "one\n", "two\n"]
    assert (await run(Shell("printf 'a\\n\\n'", save_as="got")))["got"] == "a\n"
    assert (await run(Shell("true", save_as="got")))["got"] == ""


async def test_what_can_not_be_saved_is_an_error() -> None:
    with pytest.raises(ContextError, match=r"save_as='x': it printed 1048577 bytes, more than 1048576"):
        await run(Shell("head -c 1048577 /dev/zero", save_as="x"))
    with pytest.raises(ContextError, match="save_as='x': what it printed is not UTF-8: invalid start byte at byte 1"):
        await run(Shell("printf 'a\\377'", save_as="x"))
    assert len((await run(Shell("head -c 1048576 /dev/zero", save_as="x")))["x"]) == 1 << 20


async def test_input_directory_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONE", "there")
    shell = Shell(
        "cat; pwd; echo $V $W ${{GONE-none}}", input="{d}\n", cwd="{dir}", env={"V": "{n}!", "W": 5, "GONE": None}
    )
    ctx = await run(shell, d={"a": [1]}, n="it's", dir="/")
    assert ctx.printed == ['{"a": [1]}\n', "/\n", "it's! 5 none\n"]
    assert (await run(Shell("wc -c", input="x" * 3_000_000))).printed[0].strip() == "3000000"
    await run(Shell("true", input="x" * 3_000_000))
    assert (await run(Shell("cat"))).printed == []


LAST = "Its last output:\n"


@pytest.mark.parametrize(
    ("shell", "message", "code", "signal"),
    [
        (Shell("echo oh; exit 3"), "'echo oh; exit 3' ended with exit code 3: oh", 3, None),
        (Shell("echo a; echo b; exit 3"), f"'echo a; echo b; exit 3' ended with exit code 3: b\n{LAST}a\nb\n", 3, None),
        (Shell("exit 0", ok_codes=[1]), "'exit 0' ended with exit code 0; it printed nothing", 0, None),
        (Shell("kill -9 $$"), "'kill -9 $$' was ended by SIGKILL; it printed nothing", None, 9),
        (Shell(["no-such", "{n}"]), "['no-such', '{n}'] can't be started: No such file or directory", None, None),
        (Shell("true", cwd="/nowhere"), "cwd='/nowhere' can't be started: No such file or directory", None, None),
        (Shell(["/"]), "['/'] can't be started: Permission denied", None, None),
    ],
)  # fmt: skip
async def test_a_failure_tells_how_and_what_was_printed(
    shell: Shell, message: str, code: int | None, signal: int | None
) -> None:
    with pytest.raises(ShellError) as caught:
        await run(shell, n=1)
    assert str(caught.value) == message
    assert (caught.value.code, caught.value.signal) == (code, signal)


async def test_other_codes_may_be_fine() -> None:
    await run(Shell("exit 3", ok_codes=(0, 3)))
    assert Shell("x", ok_codes=range(2)).ok_codes == [0, 1]


async def test_the_end_of_a_long_output_is_in_the_error() -> None:
    with pytest.raises(ShellError) as caught:
        await run(Shell("seq 100000; exit 1"))
    assert caught.value.output.endswith("\n99999\n100000\n")
    assert len(caught.value.output) < 5000


async def test_what_is_missing_is_missed_before_anything_runs(tmp_path: Any) -> None:
    with pytest.raises(ContextError, match="the context has no 'nope'"):
        await run(Shell("touch {f}; echo {nope}"), f=str(tmp_path / "f"))
    with pytest.raises(ContextError, match="the context has no 'nope'"):
        await run(Shell("touch {f}", env={"A": "{nope}"}), f=str(tmp_path / "f"))
    with pytest.raises(ContextError, match="has a NUL"):
        await run(Shell("echo {f}"), f="a\0b")
    with pytest.raises(ContextError, match="there is no program to start"):
        await run(Shell(["{l}"]), l=[])
    with pytest.raises(InvalidInput, match="can't be started: Argument list too long; give what is long as input="):
        await run(Shell("echo {f}"), f="x" * 200_000)
    assert list(tmp_path.iterdir()) == []


async def test_what_it_leaves_behind_in_its_group_is_ended() -> None:
    async with asyncio.timeout(60):
        ctx = await run(Shell("sleep 1000 & (trap '' TERM; echo $$; exec sleep 1000) & echo done", kill_after=0.2))
    assert "done\n" in ctx.printed


async def test_who_has_left_the_group_does_not_keep_the_step() -> None:
    async with asyncio.timeout(60):
        ctx = await run(Shell("setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.3"))
    os.kill(int(ctx.printed[0]), 9)


async def test_a_killed_supervisor_takes_the_command_along() -> None:
    with pytest.raises(ShellError, match="was ended by SIGKILL"):
        await run(Shell("kill -9 $PPID; sleep 1000"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"command": ""}, "give a str for sh, or a list of words"),
        ({"command": " \n"}, "give a str for sh"),
        ({"command": []}, "give a str for sh"),
        ({"command": 5}, "give a str for sh"),
        ({"command": [b"x"]}, "command\\[0\\]=b'x': give a str"),
        ({"command": "echo {"}, "write '{{' for a brace"),
        ({"command": "echo '{x}'"}, "stands inside single quotes"),
        ({"command": "a", "cwd": 5.5j}, "cwd=5.5j: give a str"),
        ({"command": "a", "input": b"x"}, "input=b'x': give a str"),
        ({"command": "a", "env": ["x"]}, "give a dict of names to values"),
        ({"command": "a", "env": {"a=b": "c"}}, "can't be the name of a variable"),
        ({"command": "a", "env": {5: "c"}}, "is not a str"),
        ({"command": "a", "env": {"A": ["c"]}}, "give a str"),
        ({"command": "a", "ok_codes": 0}, "give a list of exit codes"),
        ({"command": "a", "ok_codes": [256]}, "give a list of exit codes"),
        ({"command": "a", "ok_codes": [True]}, "give a list of exit codes"),
        ({"command": "a", "save_as": 5}, "is not a str"),
        ({"command": "a", "kill_after": -1}, "kill_after=-1: give seconds"),
        ({"command": "a", "kill_after": "1"}, "kill_after='1': give seconds"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        Shell(**arguments)


def test_it_is_saved_under_its_name() -> None:
    shell = Shell(["echo", "{a}"], env={"A": None}, ok_codes=(0, 1), save_as="x", kill_after=1).using(timeout=5)
    spec = save(1, shell)
    assert spec.impl == "awfe.Shell"
    assert spec.load() == shell
    assert find("awfe.Shell") is Shell


def test_lines_are_made_of_any_bytes(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - a test, which can be repeated
    for _ in range(200):
        data = bytes(
            source.choices([0, 10, 10, 13, 65, 66, 0xC3, 0xA9, 0xE2, 0x98, 0x83, 0xFF], k=source.randint(0, 60))
        )
        lines: list[str] = []
        maker = Lines(lines.append)
        at = 0
        while at < len(data):
            size = source.randint(1, 9)
            maker.feed(data[at : at + size])
            at += size
        maker.feed(b"")
        assert "".join(lines) == data.decode(errors="replace")
        assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines[:-1])


def test_a_very_long_line_comes_in_pieces() -> None:
    lines: list[str] = []
    maker = Lines(lines.append)
    for _ in range(10):
        maker.feed(b"x" * 100_000)
    maker.feed(b"\n")
    maker.feed(b"")
    assert "".join(lines) == "x" * 1_000_000 + "\n"
    assert max(map(len, lines)) == 8192
