#!/usr/bin/env python3
"""Runs one of other people's realtime clients in Python, as its users do, and prints the turns that it heard:

    realtime.py NAME RECORDING

The recording has 24,000 samples a second. Where the service is, each client finds as in others.py.
"""

import asyncio
import json
import os
import sys

from others import fields, samples

RATE, PIECE = 24000, 2400
CLIENTS = {}


def client(run):
    CLIENTS[run.__name__] = lambda speech: asyncio.run(run(speech))
    return run


def pieces(speech):
    """50 ms each."""
    data = samples(speech)
    return [data[start : start + PIECE] for start in range(0, len(data), PIECE)]


@client
async def openai(speech):
    import base64

    import openai
    from websockets import ConnectionClosed

    # A client that finds this in its environment connects to that Unix socket.
    path = os.environ.get("STT_SOCKET")
    options = {"unix": True, "path": path} if path else {}
    async with openai.AsyncOpenAI() as service:
        connect = service.realtime.connect(extra_query={"intent": "transcription"}, websocket_connection_options=options)
        async with connect as session:
            heard = [await session.recv()]
            for data in pieces(speech):
                await session.input_audio_buffer.append(audio=base64.b64encode(data).decode())
            while [event.type for event in heard].count("conversation.item.input_audio_transcription.completed") < 2:
                heard.append(await session.recv())
        try:
            await session.recv()
        except ConnectionClosed as closed:
            # The farewell of the service.
            code = closed.rcvd.code if closed.rcvd else None
    # Two turns may be heard at once, and come to their ends in any order.
    turns = {event.item_id: "" for event in heard if event.type == "input_audio_buffer.committed"}
    deltas = dict(turns)
    for event in heard:
        if event.type.endswith("transcription.completed"):
            turns[event.item_id] = event.transcript
        elif event.type.endswith("transcription.delta"):
            deltas[event.item_id] += event.delta
    assert turns == deltas, (turns, deltas)
    return {"turns": [*turns.values()], "events": [event.type for event in heard], "code": code}


@client
async def livekit(speech):
    from livekit import rtc
    from livekit.agents import stt, utils
    from livekit.plugins import openai

    turns, kinds = [], []
    async with utils.http_context.open():
        service = openai.STT(use_realtime=True)
        stream = service.stream()
        for data in pieces(speech):
            stream.push_frame(rtc.AudioFrame(data=data, sample_rate=RATE, num_channels=1, samples_per_channel=len(data) // 2))
        async for event in stream:
            kinds.append(event.type)
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                turns.append(event.alternatives[0].text)
            if kinds.count(stt.SpeechEventType.RECOGNITION_USAGE) == 2:
                break
        await stream.aclose()
        await service.aclose()
    return {"turns": turns, "starts": kinds.count(stt.SpeechEventType.START_OF_SPEECH)}


@client
async def pipecat(speech):
    from pipecat.frames.frames import EndFrame, ErrorFrame, InputAudioRawFrame, TranscriptionFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.runner import PipelineRunner
    from pipecat.pipeline.task import PipelineParams, PipelineTask
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.services.openai.stt import OpenAIRealtimeSTTService

    turns, errors = [], []

    class Ear(FrameProcessor):
        async def process_frame(self, frame, direction):
            await super().process_frame(frame, direction)
            if isinstance(frame, TranscriptionFrame):
                turns.append(frame.text)
            if isinstance(frame, ErrorFrame):
                errors.append(frame.error)
            if len(turns) == 2 or errors:
                await task.queue_frame(EndFrame())
            await self.push_frame(frame, direction)

    service = OpenAIRealtimeSTTService(
        turn_detection={"type": "server_vad"},
        settings=OpenAIRealtimeSTTService.Settings(model="whisper-1"),
        **fields(),
    )
    task = PipelineTask(Pipeline([service, Ear()]), params=PipelineParams(audio_in_sample_rate=RATE))

    async def speak():
        # Until it has told its settings, it drops what it is given.
        while not service._session_ready:
            await asyncio.sleep(0.02)
        for data in pieces(speech):
            await task.queue_frame(InputAudioRawFrame(data, RATE, 1))

    speaking = asyncio.create_task(speak())
    await PipelineRunner(handle_sigint=False).run(task)
    await speaking
    return {"turns": turns, "errors": errors}


@client
async def agents(speech):
    import numpy
    from agents.voice import OpenAIVoiceModelProvider, StreamedAudioInput, STTModelSettings

    model = OpenAIVoiceModelProvider().get_stt_model(None)
    audio = StreamedAudioInput()
    session = await model.create_session(audio, STTModelSettings(), False, False)
    for data in pieces(speech):
        await audio.add_audio(numpy.frombuffer(data, dtype=numpy.int16))
    turns = []
    async for turn in session.transcribe_turns():
        turns.append(turn)
        if len(turns) == 2:
            # The speaker hangs up: the session must come to its end.
            await audio.add_audio(None)
    await session.close()
    return {"turns": turns, "model": model.model_name}


if __name__ == "__main__":
    sys.stdout, out = sys.stderr, sys.stdout
    json.dump(CLIENTS[sys.argv[1]](sys.argv[2]), out, default=str)
