"""Functions that workflows call; other than the steps of the tests, nothing here imports `awfe.steps`."""

import asyncio
import threading
from typing import Any

from awfe import Context, Sleep


async def count(ctx: Context, key: str, by: int = 1) -> None:
    """Count, and save what was counted so far."""
    ctx[key] = ctx.get(key, 0) + by
    await ctx.checkpoint()
    ctx.output(f"{key} is {ctx[key]}\n")


async def nap(ctx: Context, seconds: float) -> Sleep:
    """Wait as a step does."""
    ctx["napped"] = ctx.step.key
    return Sleep(seconds)


async def fail(ctx: Context, times: int) -> None:
    """Fail in the first attempts."""
    await asyncio.sleep(0)
    if ctx.step.attempt <= times:
        msg = f"attempt {ctx.step.attempt} fails"
        raise ValueError(msg)


def blocking(ctx: Context, text: str) -> None:
    """Work in a thread."""
    ctx["in_thread"] = threading.current_thread() is not threading.main_thread()
    ctx.output(f"{text}\n")


def until_stopped(ctx: Context, begun: Any) -> None:
    """Tell that it has begun, by way of a file, and go on until it is asked to end."""
    with open(begun, "x"):  # noqa: PTH123 - a thread's own
        pass
    while not ctx.stop_requested:
        threading.Event().wait(0.005)
    ctx.output("ended in order\n")
    msg = "stopped"
    raise RuntimeError(msg)
