"""Albums of images, made by workflows: uvicorn litestar_service:app."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State

from awfe import AwfeError, BaseStep, Context, Engine, WorkflowNotFound


class Resize(BaseStep, name="albums.Resize"):
    on_interrupt = "rerun"  # it begins with the image at which it was cut off

    async def work(self, ctx: Context) -> None:
        done = ctx.setdefault("done", [])
        for image in ctx["images"][len(done) :]:
            await asyncio.sleep(0.02)  # the work
            done.append(image)
            await ctx.checkpoint()


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    async with Engine(os.environ.get("DATABASE_URL", "sqlite:///albums.db"), recover_every=5) as engine:
        app.state.engine = engine
        yield


@post("/albums/{name:str}", status_code=202)
async def create(name: str, data: dict[str, Any], state: State) -> dict[str, Any]:
    # Should this process end before it has begun, the next one begins it: it is due.
    await state.engine.create_workflow(name, data, [Resize], at=datetime.now(UTC))
    await state.engine.start(name)
    return {"state": "running"}


@get("/albums/{name:str}")
async def show(name: str, state: State) -> dict[str, Any]:
    workflow = await state.engine.get(name)
    return {"state": workflow.state, "context": workflow.context}


def refuse(_request: Request[Any, Any, Any], error: AwfeError) -> Response[dict[str, str]]:
    return Response({"error": str(error)}, status_code=404 if isinstance(error, WorkflowNotFound) else 409)


app = Litestar([create, show], lifespan=[lifespan], exception_handlers={AwfeError: refuse})
