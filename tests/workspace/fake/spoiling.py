"""What a fault does to the answer of a request."""

from __future__ import annotations

import socket
import ssl
import struct
import time

from fake.common import Answer
from fake.faults import ANSWERS, Fault
from fake.server import Handler, has_gone

# What is cut if no work was done.
UNDONE = Answer(200, {"cluster_id": "0101-000000-undone00", "state": "UNKNOWN"})


def sent_status(fault: Fault, answer: Answer) -> int | None:
    """The status that the client sees, if it gets a whole answer."""
    if fault.kind in ANSWERS:
        return fault.answer("").status
    return answer.status if fault.kind == "delay" else None


def spoil(handler: Handler, fault: Fault, answer: Answer, request_id: str) -> None:
    """Answers as the fault wants. `answer` is that of the work."""
    if fault.kind in ANSWERS:
        handler.say(fault.answer(handler.workspace.host), request_id)
        return
    if fault.kind in ("delay", "hang") and has_gone(handler.connection, fault.seconds):
        handler.close_connection = True
        return
    if fault.kind == "delay":
        handler.say(answer, request_id)
        return
    handler.close_connection = True
    if fault.kind == "reset":
        _reset(handler.connection)
    elif fault.kind == "cut":
        content = handler.render(answer, request_id)
        body = len(answer.content())
        handler.wfile.write(content[:len(content) - (body + 1) // 2])
    elif fault.kind == "slow":
        _trickle(handler, handler.render(answer, request_id), fault.seconds)
    # The end is without TLS's farewell, so that it is not taken for the end of the answer.


def _reset(connection: socket.socket) -> None:
    """Closes it so that the client gets a reset, and not an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(connection, ssl.SSLSocket):
        socket.socket.close(connection)


def _trickle(handler: Handler, content: bytes, seconds: float) -> None:
    until = time.monotonic() + seconds
    for byte in content:
        handler.wfile.write(bytes([byte]))
        left = until - time.monotonic()
        if left <= 0 or has_gone(handler.connection, min(left, 1.0)):
            return
