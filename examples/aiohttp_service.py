"""Albums of images, made by workflows: python -m aiohttp.web aiohttp_service:make_app."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

from awfe import AwfeError, BaseStep, Context, Engine, WorkflowNotFound

ENGINE = web.AppKey("engine", Engine)


class Resize(BaseStep, name="albums.Resize"):
    on_interrupt = "rerun"  # it begins with the image at which it was cut off

    async def work(self, ctx: Context) -> None:
        done = ctx.setdefault("done", [])
        for image in ctx["images"][len(done) :]:
            await asyncio.sleep(0.02)  # the work
            done.append(image)
            await ctx.checkpoint()


async def workflows(app: web.Application) -> AsyncIterator[None]:
    async with Engine(os.environ.get("DATABASE_URL", "sqlite:///albums.db"), recover_every=5) as engine:
        app[ENGINE] = engine
        yield


async def create(request: web.Request) -> web.Response:
    name, engine = request.match_info["name"], request.app[ENGINE]
    # Should this process end before it has begun, the next one begins it: it is due.
    await engine.create_workflow(name, await request.json(), [Resize], at=datetime.now(UTC))
    await engine.start(name)
    return web.json_response({"state": "running"}, status=202)


async def show(request: web.Request) -> web.Response:
    workflow = await request.app[ENGINE].get(request.match_info["name"])
    return web.json_response({"state": workflow.state, "context": workflow.context})


@web.middleware
async def refuse(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except AwfeError as error:
        return web.json_response({"error": str(error)}, status=404 if isinstance(error, WorkflowNotFound) else 409)


def make_app(_argv: list[str] | None = None) -> web.Application:
    app = web.Application(middlewares=[refuse])
    app.cleanup_ctx.append(workflows)
    app.add_routes([web.post("/albums/{name}", create), web.get("/albums/{name}", show)])
    return app
