"""Runs one of other people's clients in Python, as its users do, and prints what it came to:

    others.py NAME RECORDING

Where the service is, each client finds in its environment. The interpreter is that of the client's own packages.
"""

import asyncio
import contextlib
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import older

CLIENTS = {}


def client(run):
    CLIENTS[run.__name__] = run
    return run


def fields():
    """What a user writes into a form."""
    return dict(line.split(": ") for line in os.environ["STT_SETTING"].splitlines())


def samples(speech):
    with wave.open(speech) as file:
        return file.readframes(file.getnframes())


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for_port(port, program):
    """Wait until a program listens, which the caller's own deadline bounds."""
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        if program.poll() is not None:
            raise ChildProcessError(f"it ended with {program.returncode}")
        time.sleep(0.05)


@client
def litellm(speech):
    from litellm import transcription

    def ask(**options):
        with open(speech, "rb") as file:
            return transcription(model="openai/whisper-1", file=file, **options)

    return {
        "json": ask().text,
        "verbose_json": ask(response_format="verbose_json", timestamp_granularities=["word"]).model_dump(),
        "text": ask(response_format="text").text,
        "srt": ask(response_format="srt").text,
        "vtt": ask(response_format="vtt").text,
        "stream": [event.model_dump() for event in ask(stream=True)],
    }


@client
def livekit(speech):
    from livekit import rtc
    from livekit.plugins import openai

    async def ask():
        stt = openai.STT()
        data = samples(speech)
        frame = rtc.AudioFrame(data=data, sample_rate=16000, num_channels=1, samples_per_channel=len(data) // 2)
        event = await stt.recognize(frame)
        await stt.aclose()
        return {"json": event.alternatives[0].text, "model": stt.model}

    return asyncio.run(ask())


@client
def pipecat(speech):
    from pipecat.frames.frames import TranscriptionFrame
    from pipecat.services.openai.stt import OpenAISTTService

    async def ask():
        service = OpenAISTTService()
        with open(speech, "rb") as file:
            frames = [frame async for frame in service.run_stt(file.read())]
        (frame,) = frames
        assert isinstance(frame, TranscriptionFrame), frame
        return {"json": frame.text, "model": service._settings.model}

    return asyncio.run(ask())


@client
def agents(speech):
    import numpy
    from agents.voice import AudioInput, OpenAIVoiceModelProvider, STTModelSettings

    async def ask():
        model = OpenAIVoiceModelProvider().get_stt_model(None)
        audio = AudioInput(numpy.frombuffer(samples(speech), dtype=numpy.int16), frame_rate=16000)
        return {"json": await model.transcribe(audio, STTModelSettings(), False, False), "model": model.model_name}

    return asyncio.run(ask())


@client
def langchain(speech):
    from langchain_community.document_loaders.blob_loaders import Blob
    from langchain_community.document_loaders.parsers.audio import OpenAIWhisperParser

    def ask(**options):
        (document,) = OpenAIWhisperParser(**options).lazy_parse(Blob.from_path(speech))
        return document.page_content

    return {"json": ask(), **{kind: ask(response_format=kind) for kind in ("text", "srt", "vtt")}}


@client
def llama_index(speech):
    from llama_index.readers.whisper import WhisperReader

    (document,) = WhisperReader(prompt="Meters.").load_data(speech)
    return {"text": document.text}


@client
def haystack(speech):
    from haystack_integrations.components.audio.whisper import RemoteWhisperTranscriber

    (document,) = RemoteWhisperTranscriber().run(sources=[speech])["documents"]
    return {"json": document.content}


@client
def speech_recognition(speech):
    import speech_recognition

    recognizer = speech_recognition.Recognizer()
    with speech_recognition.AudioFile(speech) as source:
        audio = recognizer.record(source)
    return {"json": recognizer.recognize_openai(audio)}


@client
def openai_0(speech):
    import openai

    def ask(**options):
        with open(speech, "rb") as file:
            return openai.Audio.transcribe("whisper-1", file, **options)

    return {
        "json": ask().text,
        "verbose_json": ask(response_format="verbose_json"),
        "text": ask(response_format="text"),
        "srt": ask(response_format="srt"),
        "vtt": ask(response_format="vtt"),
    }


@client
def litellm_proxy(speech):
    """The proxy as a program of its own, asked by OpenAI's client."""
    import openai

    folder = tempfile.mkdtemp()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        file = Path(folder, "config.yaml")
        lines = os.environ["STT_SETTING"].replace("\n", "\n    ")
        file.write_text(f"model_list:\n  - model_name: whisper-1\n    {lines}\n")
        port, key = free_port(), "sk-" + "0123456789abcdef" * 4
        command = [Path(sys.executable).with_name("litellm"), "--config", file, "--host", "127.0.0.1", "--port", port]
        environment = {**os.environ, "LITELLM_MASTER_KEY": key}
        proxy = subprocess.Popen([*map(str, command)], env=environment, stdout=sys.stderr)
        stack.callback(proxy.wait)
        stack.callback(proxy.kill)
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0)
        wait_for_port(port, proxy)

        def ask(**options):
            with open(speech, "rb") as file:
                return client.audio.transcriptions.create(model="whisper-1", file=file, **options)

        return {
            "json": ask().text,
            "verbose_json": ask(response_format="verbose_json", timestamp_granularities=["word"]).model_dump(),
            # The proxy itself puts each text into an object.
            **{kind: json.loads(str(ask(response_format=kind)))["text"] for kind in ("text", "srt", "vtt")},
            "stream": [event.model_dump() for event in ask(stream=True)],
        }


async def hear(uri, speech):
    """What Wyoming's own client hears, as soon as something listens."""
    from wyoming.asr import Transcribe, Transcript
    from wyoming.audio import wav_to_chunks
    from wyoming.client import AsyncClient

    async with AsyncClient.from_uri(uri) as client:
        await client.write_event(Transcribe().event())
        with wave.open(speech) as file:
            for piece in wav_to_chunks(file, 1024, start_event=True, stop_event=True):
                await client.write_event(piece.event())
        while event := await client.read_event():
            if Transcript.is_type(event.type):
                return Transcript.from_event(event).text
        raise ConnectionError("the gateway hung up")


@client
def wyoming_openai(speech):
    """The gateway as a program, asked by Wyoming's client."""
    older.load("wyoming_openai")
    from wyoming_openai import __main__ as program

    port = free_port()
    sys.argv = ["wyoming-openai", "--uri", f"tcp://127.0.0.1:{port}"]

    async def ask():
        serving = asyncio.ensure_future(program.main())
        while True:
            try:
                return {"json": await hear(f"tcp://127.0.0.1:{port}", speech)}
            except ConnectionRefusedError:
                if serving.done():
                    serving.result()
                await asyncio.sleep(0.05)

    return asyncio.run(ask())


PARTS = ("", ".const", ".models")


def home_assistant():
    """Home Assistant's own code, without the rest of it."""
    older.load_part(Path(os.environ["STT_HOME_ASSISTANT"]), "homeassistant", "probatio")
    stt, const, models = (importlib.import_module(f"homeassistant.components.stt{part}") for part in PARTS)
    for module in (const, models):
        vars(stt).update({name: value for name, value in vars(module).items() if name[0] != "_"})
    return lambda tag: models.SpeechMetadata(
        tag,
        const.AudioFormats.WAV,
        const.AudioCodecs.PCM,
        const.AudioBitRates.BITRATE_16,
        const.AudioSampleRates.SAMPLERATE_16000,
        const.AudioChannels.CHANNEL_MONO,
    )


async def pieces(speech):
    data = samples(speech)
    for start in range(0, len(data), 4096):
        yield data[start : start + 4096]


@client
def home_assistant_wyoming(speech):
    metadata = home_assistant()
    from homeassistant.components.wyoming.data import WyomingService
    from homeassistant.components.wyoming.stt import WyomingSttProvider
    from homeassistant.config_entries import ConfigEntry

    async def ask():
        place = fields()
        service = await WyomingService.create(place["host"], int(place["port"]))
        entry = ConfigEntry()
        entry.entry_id = "none"
        provider = WyomingSttProvider(entry, service)
        good = await provider.async_process_audio_stream(metadata("en"), pieces(speech))
        bad = await provider.async_process_audio_stream(metadata("de"), pieces(speech))
        assert provider.supported_languages == ["en"]
        return {"json": good.text, "refused": bad.result}

    return asyncio.run(ask())


@client
def home_assistant_litellm(speech):
    metadata = home_assistant()
    coordinator = importlib.import_module("homeassistant.components.litellm.coordinator")
    from homeassistant.components.litellm.stt import LiteLLMSTTEntity
    from homeassistant.config_entries import ConfigEntry
    from homeassistant.const import CONF_API_KEY, CONF_MODEL, CONF_URL

    # The rest of Home Assistant has one transport for all, and shows the state.
    coordinator.get_async_client = lambda hass: None
    coordinator.DataUpdateCoordinator.async_set_updated_data = lambda self, data: None

    async def ask():
        entry, subentry = ConfigEntry(), ConfigEntry()
        entry.title = "LiteLLM"
        place = fields()
        entry.data = {CONF_URL: place["url"], CONF_API_KEY: place["api_key"]}
        entry.runtime_data = coordinator.LiteLLMDataUpdateCoordinator(None, entry)
        await entry.runtime_data._async_update_data()
        subentry.data, subentry.subentry_id, subentry.title = {CONF_MODEL: "whisper-1"}, "none", "Speech"
        entity = LiteLLMSTTEntity(entry, subentry)
        answer = await entity.async_process_audio_stream(metadata("en-US"), pieces(speech))
        return {"json": answer.text}

    return asyncio.run(ask())


if __name__ == "__main__":
    sys.stdout, out = sys.stderr, sys.stdout
    json.dump(CLIENTS[sys.argv[1]](sys.argv[2]), out, default=str)
