"""A workflow that is run by hand or by a timer: python script.py NAME. Ended in the middle, the next call goes on."""

import asyncio
import signal
import sys
from contextlib import suppress

from awfe import AwfeError, BaseStep, Context, Engine, WorkflowExists


class Copy(BaseStep, name="script.Copy"):
    on_interrupt = "rerun"  # it begins with what it has not copied yet

    async def work(self, ctx: Context) -> None:
        for number in range(ctx.get("copied", 0), 50):
            await asyncio.sleep(0.02)  # the work
            ctx["copied"] = number + 1
            await ctx.checkpoint()


class Report(BaseStep, name="script.Report"):
    async def work(self, ctx: Context) -> None:
        ctx.output(f"{ctx['copied']} copied")


async def main(name: str) -> int:
    async with Engine("sqlite:///script.db", redirect=print) as engine:
        loop, closing = asyncio.get_running_loop(), list[asyncio.Task[None]]()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, lambda: closing.append(loop.create_task(engine.close())))
        with suppress(WorkflowExists):
            await engine.create_workflow(name, {}, [Copy, Report])
        try:
            workflow = await engine.run(name)
        except AwfeError as error:
            print(error, file=sys.stderr)
            return 1
    print(workflow.state)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
