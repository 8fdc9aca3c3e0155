"""Connections that cost little whatever the other side does: uvicorn's protocol with limits that it has not.

A connection beyond the most is told 503 and closed. A head is at most 64 KiB. A request must arrive within ten seconds
of its first byte, and an answer be taken within thirty: a client that is slower, or never reads, loses its connection
and delays nobody.
"""

from __future__ import annotations

from typing import Any

from claude_flow.errors import require

__all__ = ["protocol"]

_HEAD_BYTES = 64 << 10
_ARRIVES_S, _TAKEN_S, _LEAVES_S = 10.0, 30.0, 1.0


def _short(status: str, message: str) -> bytes:
    body = f'{{"error": "{message}"}}'
    retry = "retry-after: 1\r\n" if status.startswith("503") else ""
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{retry}"
        f"connection: close\r\n\r\n{body}"
    ).encode()


def protocol(most: int) -> Any:
    """The protocol's class, for up to ``most`` connections."""
    base: Any = require("uvicorn.protocols.http.httptools_impl", "serve").HttpToolsProtocol

    class Protocol(base):  # type: ignore[misc]
        _timer: Any = None
        _head = 0  # bytes of a request that is not yet known to be whole
        _in_head = True

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > most:
                self._end(_short("503 Service Unavailable", f"{most} connections are open, which is as many as may"))
            else:
                self._start(_ARRIVES_S)

        def connection_lost(self, exc: Any) -> None:
            self._stop()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            if self._in_head:
                self._head += len(data)
                if self._timer is None:
                    self._start(_ARRIVES_S)
            super().data_received(data)
            if self._in_head and self._head > _HEAD_BYTES and not self.transport.is_closing():
                self._end(_short("431 Request Header Fields Too Large", "the head of a request has at most 64 KiB"))

        def on_headers_complete(self) -> None:
            self._in_head, self._head = False, 0
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_head = True
            self._stop()
            super().on_message_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._start(_TAKEN_S)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop()

        def shutdown(self) -> None:
            super().shutdown()
            if self.transport.is_closing():  # over TLS it waits for the other side's word, which need not come
                self.loop.call_later(_LEAVES_S, self.transport.abort)

        def _start(self, seconds: float) -> None:
            self._stop()
            self._timer = self.loop.call_later(seconds, self.transport.abort)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _end(self, answer: bytes) -> None:
            self.transport.write(answer)
            self.transport.close()

    return Protocol
