"""Albums of images, made by workflows that are created and steered over HTTP: uvicorn fastapi_service:app."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Body, Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from awfe import AwfeError, BaseStep, Context, Engine, InvalidInput, StoreUnavailable, WorkflowNotFound


class Resize(BaseStep, name="albums.Resize"):
    on_interrupt = "rerun"  # it begins with the image at which it was cut off

    async def work(self, ctx: Context) -> None:
        done = ctx.setdefault("done", [])
        for image in ctx["images"][len(done) :]:
            await asyncio.sleep(0.02)  # the work
            done.append(image)
            await ctx.checkpoint()


class Publish(BaseStep, name="albums.Publish"):
    async def work(self, ctx: Context) -> None:
        ctx["published_as"] = f"{ctx['title']}, {len(ctx['done'])} images"


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Engine]]:
    async with Engine(os.environ.get("DATABASE_URL", "sqlite:///albums.db"), recover_every=5) as engine:
        yield {"engine": engine}


app = FastAPI(lifespan=lifespan)


def engine_of(request: Request) -> Engine:
    engine: Engine = request.state.engine
    return engine


Here = Annotated[Engine, Depends(engine_of)]


@app.post("/albums/{name}", status_code=202)
async def create(name: str, context: Annotated[dict[str, Any], Body()], engine: Here) -> dict[str, Any]:
    # Should this process end before it has begun, the next one begins it: it is due.
    await engine.create_workflow(name, context, [Resize, Publish], at=datetime.now(UTC))
    await engine.start(name)
    return await show(name, engine)


@app.get("/albums/{name}")
async def show(name: str, engine: Here) -> dict[str, Any]:
    workflow = await engine.get(name)
    failed = next((step.error.message for step in workflow.steps if step.error is not None), None)
    return {"state": workflow.state, "context": workflow.context, "failed": failed}


@app.post("/albums/{name}/{verb}", status_code=202)
async def steer(
    name: str,
    verb: Literal["run", "pause", "stop", "restart"],
    engine: Here,
    context: Annotated[dict[str, Any] | None, Body()] = None,
) -> dict[str, Any]:
    match verb:
        case "run":
            await engine.start(name)
        case "pause":
            await engine.pause(name)
        case "stop":
            await engine.stop(name)
        case "restart":
            await engine.reset(name, context=context)
            await engine.start(name)
    return await show(name, engine)


@app.exception_handler(AwfeError)
async def refuse(_request: Request, error: AwfeError) -> JSONResponse:
    codes: dict[type[AwfeError], int] = {WorkflowNotFound: 404, InvalidInput: 422, StoreUnavailable: 503}
    code = next((code for kind, code in codes.items() if isinstance(error, kind)), 409)
    return JSONResponse({"error": str(error)}, code)
