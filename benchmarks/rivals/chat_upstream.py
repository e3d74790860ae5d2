"""A chat completions server that answers at once: what is measured in front of it is only what stands in front of it.

    python benchmarks/rivals/chat_upstream.py PORT

``/v1/chat/completions`` gives a whole answer of 50 tokens, or a stream of 50 chunks, ``temperature`` tenths of a second apart.
"""

import asyncio
import json
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

CHUNKS = 50
USAGE = {"prompt_tokens": 20, "completion_tokens": CHUNKS, "total_tokens": 20 + CHUNKS}


async def complete(request: Request) -> Response:
    body = await request.json()
    head = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": "word " * CHUNKS}, "finish_reason": "stop"}
        return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})
    gap_s = float(body.get("temperature") or 0) / 10

    def chunk(choices: list[object], **more: object) -> bytes:
        return event({**head, "object": "chat.completion.chunk", "choices": choices, **more})

    async def stream():
        for number in range(CHUNKS):
            delta = {"role": "assistant", "content": "word "} if number == 0 else {"content": "word "}
            yield chunk([{"index": 0, "delta": delta, "finish_reason": None}])
            if gap_s:
                await asyncio.sleep(gap_s)
        yield chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        yield chunk([], usage=USAGE)
        yield b"data: [DONE]\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


async def models(_: Request) -> Response:
    return JSONResponse({"object": "list", "data": [{"id": "bench", "object": "model"}]})


if __name__ == "__main__":
    routes = [Route("/v1/chat/completions", complete, methods=["POST"]), Route("/v1/models", models)]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
