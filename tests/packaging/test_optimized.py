"""Under `python -O`, which leaves asserts out, everything is written all the same."""

import subprocess
import sys
from pathlib import Path

_LIFE = """
import asyncio
from awfe import Engine
from awfe.steps import Approval

async def main() -> None:
    async with Engine("sqlite:///w.db") as engine:
        await engine.create_workflow("w", {}, [Approval("go on?")])
        await engine.update_context("w", {"seen": 1})
        await engine.replace_steps("w", [Approval("go on?"), Approval("really?")])
        handle = await engine.start("w")
        while (await engine.get("w")).state != "waiting":
            await asyncio.sleep(0.01)
        await engine.pause("w")
        await engine.skip("w")
        workflow = await engine.get("w")
        print(workflow.state, workflow.position, workflow.context, len(workflow.steps))
        print(*[event.cause for event in await engine.history("w")])

asyncio.run(main())
"""


def test_verbs_write_without_asserts(tmp_path: Path) -> None:
    """Each of these writes a row that it has locked."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-O", "-c", _LIFE], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told = "created update_context replace_steps run step_waiting pause step_stopped skip"
    assert done.stdout.splitlines() == ["paused 2 {'seen': 1} 2", told]
