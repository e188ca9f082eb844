import asyncio
import shutil
import time

from awfe import BaseStep, Context, Engine, step


class Measure(BaseStep, name="quickstart.Measure"):
    async def work(self, ctx: Context) -> None:
        ctx["free_gb"] = shutil.disk_usage(ctx["path"]).free // 10**9


@step(name="quickstart.require")
async def require(ctx: Context, gb: int) -> None:  # gb: the step's argument, saved with the workflow
    ctx["enough"] = ctx["free_gb"] >= gb


async def main() -> None:
    async with Engine("sqlite:///quickstart.db") as engine:
        created = await engine.create_workflow(f"disk {time.time()}", {"path": "."}, [Measure, require(gb=0)])
        workflow = await engine.run(created.name)
        print(workflow.state, workflow.context)


asyncio.run(main())
