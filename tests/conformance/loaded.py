"""A service of FastAPI that runs what a test has created: `uvicorn tests.conformance.loaded:app`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

from awfe import Engine
from tests.conformance import worker  # noqa: F401 - the steps

GRACE = 8.0


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Engine]]:
    async with Engine(os.environ["DATABASE_URL"], recover_every=0.5, shutdown_grace=GRACE) as engine:
        yield {"engine": engine}


app = FastAPI(lifespan=_lifespan)


@app.post("/start", status_code=202)
async def start(names: list[str], request: Request) -> int:
    """Start workflows; returns how many."""
    for name in names:
        await request.state.engine.start(name)
    return len(names)
