"""What Home Assistant does, by the protocol's own library: client.py URI FILE-OF-SAMPLES."""

import asyncio
import json
import sys

from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

FORMAT = {"rate": 16000, "width": 2, "channels": 1}


async def describe(uri):
    async with AsyncClient.from_uri(uri) as client:
        await client.write_event(Ping(text="hello").event())
        pong = Pong.from_event(await client.read_event())
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
        return {"pong": pong.text, "info": info.to_dict()}


async def transcribe(uri, samples, **wish):
    async with AsyncClient.from_uri(uri) as client:
        await client.write_event(Transcribe(**wish).event())
        await client.write_event(AudioStart(**FORMAT).event())
        for at in range(0, len(samples), 2048):
            await client.write_event(AudioChunk(audio=samples[at : at + 2048], **FORMAT).event())
        await client.write_event(AudioStop().event())
        kinds, chunks, result = [], "", None
        while True:
            event = await client.read_event()
            if event is None:
                break
            kinds.append(event.type)
            if Transcript.is_type(event.type):
                transcript = Transcript.from_event(event)
                result = {"text": transcript.text, "language": transcript.language}
            elif TranscriptStart.is_type(event.type):
                TranscriptStart.from_event(event)
            elif TranscriptChunk.is_type(event.type):
                chunks += TranscriptChunk.from_event(event).text
            elif TranscriptStop.is_type(event.type):
                break
            elif Error.is_type(event.type):
                error = Error.from_event(event)
                result = {"error": error.text, "code": error.code}
        return {"kinds": kinds, "chunks": chunks, **(result or {})}


async def main():
    uri, path = sys.argv[1:]
    with open(path, "rb") as file:
        samples = file.read()
    good, other, wrong = await asyncio.gather(
        transcribe(uri, samples, language="en"),
        transcribe(uri, samples, name="whisper-1", context={"a": 1}, transcript_names=["meters"]),
        transcribe(uri, samples, name="nobody"),
    )
    described = await describe(uri)
    print(json.dumps({**described, "good": good, "other": other, "wrong": wrong}))


asyncio.run(main())
