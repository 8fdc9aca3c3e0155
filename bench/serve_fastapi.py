"""python -m bench.serve_fastapi PORT: the same model behind plain FastAPI, as its first page does it."""

from __future__ import annotations

import sys
from typing import Any

from claude_flow import networks
from claude_flow.model import Model, load_for
from claude_flow.values import plain

NETWORK = "coordination"


def answer(model: Model, swarm: Any) -> Any:
    return plain(networks.get(NETWORK).answer.answer(model, swarm))


def main(port: int) -> None:
    import uvicorn
    from fastapi import FastAPI

    app, model = FastAPI(), load_for(NETWORK)

    @app.post(f"/infer/{NETWORK}")
    def infer(body: dict[str, Any]) -> Any:
        return answer(model, body["input"])

    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]))
