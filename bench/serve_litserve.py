"""python -m bench.serve_litserve PORT: the same model behind LitServe, as its first page does it."""

from __future__ import annotations

import sys
from typing import Any

import litserve

from bench.serve_fastapi import NETWORK, answer
from claude_flow.model import load_for


class Api(litserve.LitAPI):
    def setup(self, device: Any) -> None:
        self.model = load_for(NETWORK)

    def predict(self, body: Any) -> Any:
        return answer(self.model, body["input"])


if __name__ == "__main__":
    litserve.server._MCP_AVAILABLE = False  # it takes mcp 2 for fastmcp, and does not start
    server = litserve.LitServer(Api(api_path=f"/infer/{NETWORK}"), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
