#!/usr/bin/env python3
"""The naive designs: a process per transcription in Python, behind a small HTTP server.

usage: server.py inline|fork|forkserver|spawn|pebble|futures SOCKET

Whatever the way, the work is the same, and is that of the engine `null`: the recording's samples are read and nothing
is recognised. `inline` does it in the server itself, which is what the others are compared with.
"""

import array
import asyncio
import concurrent.futures
import io
import json
import multiprocessing
import os
import sys
import wave


def transcribe(recording):
    """The work: reads every sample."""
    with wave.open(io.BytesIO(recording)) as file:
        samples = array.array("h", file.readframes(file.getnframes()))
    return {"text": "", "usage": {"type": "duration", "seconds": len(samples) // file.getframerate()}}


def child(recording, queue):
    queue.put(transcribe(recording))


class ProcessEach:
    """multiprocessing as in its manual: process, queue, join. A thread waits, because asyncio must not."""

    def __init__(self, method):
        self.context = multiprocessing.get_context(method)
        self.waiters = concurrent.futures.ThreadPoolExecutor(os.cpu_count())

    def run(self, recording):
        queue = self.context.Queue()
        process = self.context.Process(target=child, args=(recording, queue))
        process.start()
        result = queue.get()
        process.join()
        queue.close()
        return result

    async def serve(self, recording):
        return await asyncio.get_running_loop().run_in_executor(self.waiters, self.run, recording)


class Pebble:
    """pebble.ProcessPool, whose workers end after one task."""

    def __init__(self):
        import pebble

        self.pool = pebble.ProcessPool(max_workers=os.cpu_count(), max_tasks=1)

    async def serve(self, recording):
        return await asyncio.wrap_future(self.pool.schedule(transcribe, args=[recording]))


class Futures:
    """ProcessPoolExecutor, whose workers end after one task: spawned, because fork cannot do that."""

    def __init__(self):
        self.pool = concurrent.futures.ProcessPoolExecutor(os.cpu_count(), max_tasks_per_child=1)

    async def serve(self, recording):
        return await asyncio.get_running_loop().run_in_executor(self.pool, transcribe, recording)


class Inline:
    """Transcribes without another process."""

    async def serve(self, recording):
        return transcribe(recording)


def way(mode):
    match mode:
        case "inline":
            return Inline()
        case "pebble":
            return Pebble()
        case "futures":
            return Futures()
        case _:
            return ProcessEach(mode)


def recording_in(form, boundary):
    """Content of the part of a multipart form that has a file name."""
    for part in form.split(b"--" + boundary):
        head, _, content = part.partition(b"\r\n\r\n")
        if b"filename=" in head:
            return content[:-2]
    raise ValueError("no recording")


async def connection(serve, reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            fields = {name.lower(): value for name, value in fields.items()}
            body = await reader.readexactly(int(fields[b"content-length"]))
            boundary = fields[b"content-type"].split(b"boundary=")[1]
            answer = json.dumps(await serve(recording_in(body, boundary))).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(b"content-length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(mode, socket):
    serve = way(mode).serve
    server = await asyncio.start_unix_server(lambda *streams: connection(serve, *streams), socket, limit=1 << 24)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
