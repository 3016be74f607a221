#!/usr/bin/env python3
"""Other people's clients that the tests run, and how each is told where the service is.

    tests/clients/known.py      write the tables of docs/CLIENTS.md
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/CLIENTS.md"
# These addresses are those of the examples in systemd/ and docs/WYOMING.md.
URL, WYOMING = "http://localhost:8178", "localhost:10300"
WS = URL.replace("http", "ws")
OPENAI = f"OPENAI_BASE_URL={URL}/v1\nOPENAI_API_KEY=any"


@dataclass(frozen=True)
class Client:
    """`lines` is what a user writes, in the environment unless `where` says otherwise; `asks` are the ways in which the
    test has it ask; `pinned` is the list with its version, and `package` its name there; `way` is the kind of program or
    the test that runs it, and `run` its function in others.py."""

    name: str
    package: str
    pinned: str
    asks: str
    lines: str = OPENAI
    where: str = "environment"
    way: str = "python"
    run: str = ""

    def setting(self, url, wyoming):
        """The lines, with the addresses of a daemon."""
        host, port = wyoming.split(":")
        lines = self.lines.replace(URL, url).replace(WS, url.replace("http", "ws")).replace(WYOMING, wyoming)
        return lines.replace("host: localhost", f"host: {host}").replace("port: 10300", f"port: {port}")

    def environment(self, setting):
        """What those lines are in the environment of a program."""
        if self.where != "environment":
            return {"STT_SETTING": setting}
        return dict(line.split("=", 1) for line in setting.splitlines())

    def version(self):
        text = (HERE / self.pinned).read_text()
        if self.pinned.endswith(".txt"):
            return re.search(rf"^{re.escape(self.package)}==(\S+)", text, re.MULTILINE | re.IGNORECASE)[1]
        if self.pinned.endswith("package.json"):
            return json.loads(text)["dependencies"][self.package]
        if self.pinned.endswith("Cargo.toml"):
            return re.search(rf'^{self.package} = .*?"=([^"]+)"', text, re.MULTILINE)[1]
        return json.loads(text)["version"]


CLIENTS = [
    Client("openai (Python)", "openai", "requirements.txt", "json text srt vtt verbose_json stream", way="test_openai.py"),
    Client("openai (Node)", "openai", "package.json", "json text srt vtt verbose_json stream", way="openai.test.mjs"),
    Client(
        "openai 0.28 (Python)",
        "openai",
        "apart.txt",
        "json text srt vtt verbose_json",
        f"OPENAI_API_BASE={URL}/v1\nOPENAI_API_KEY=any",
        run="openai_0",
    ),
    Client("async-openai (Rust)", "async-openai", "async-openai/Cargo.toml", "json text srt vtt verbose_json stream", way="rust"),
    Client("ai with @ai-sdk/openai (Node)", "ai", "package.json", "json verbose_json", way="node"),
    Client("LiteLLM (Python)", "litellm", "others.txt", "json text srt vtt verbose_json stream", run="litellm"),
    Client(
        "LiteLLM, the proxy",
        "litellm",
        "others.txt",
        "json text srt vtt verbose_json stream",
        f"litellm_params: {{model: openai/whisper-1, api_base: {URL}/v1, api_key: any}}\n"
        "model_info: {mode: audio_transcription}",
        "an entry of `model_list`",
        run="litellm_proxy",
    ),
    Client("LiveKit Agents (Python)", "livekit-plugins-openai", "others.txt", "json", run="livekit"),
    Client("Pipecat", "pipecat-ai", "others.txt", "json", run="pipecat"),
    Client("OpenAI Agents (Python)", "openai-agents", "others.txt", "json", run="agents"),
    Client(
        "LangChain",
        "langchain-community",
        "others.txt",
        "json text srt vtt",
        f"OPENAI_API_BASE={URL}/v1\nOPENAI_API_KEY=any",
        run="langchain",
    ),
    Client("LlamaIndex", "llama-index-readers-whisper", "others.txt", "text", run="llama_index"),
    Client("Haystack", "whisper-haystack", "others.txt", "json", run="haystack"),
    Client("SpeechRecognition", "SpeechRecognition", "others.txt", "json", run="speech_recognition"),
    Client(
        "wyoming-openai",
        "wyoming-openai",
        "others.txt",
        "json",
        f"STT_OPENAI_URL={URL}/v1\nSTT_OPENAI_KEY=any\nSTT_MODELS=whisper-1",
        run="wyoming_openai",
    ),
    Client("Wyoming (Python)", "wyoming", "requirements.txt", "json", "unix:///run/stt-isolated/wyoming.sock", "URI", way="test_wyoming.py"),
    Client(
        "Home Assistant, Wyoming",
        "homeassistant",
        "apart.txt",
        "json",
        "host: {}\nport: {}".format(*WYOMING.split(":")),
        "Add integration, Wyoming Protocol",
        run="home_assistant_wyoming",
    ),
    Client(
        "Home Assistant, LiteLLM",
        "homeassistant",
        "apart.txt",
        "json",
        f"url: {URL}/v1\napi_key: any",
        "Add integration, LiteLLM",
        run="home_assistant_litellm",
    ),
    Client("openai (Python), realtime", "openai", "others.txt", "turns", way="realtime.py", run="openai"),
    Client("openai (Node), realtime", "openai", "package.json", "turns", way="realtime.mjs"),
    Client("LiveKit Agents (Python), realtime", "livekit-plugins-openai", "others.txt", "turns", way="realtime.py", run="livekit"),
    Client(
        "Pipecat, realtime",
        "pipecat-ai",
        "others.txt",
        "turns",
        f"base_url: {WS}/v1/realtime\napi_key: any",
        "`OpenAIRealtimeSTTService`",
        "realtime.py",
        "pipecat",
    ),
    Client("OpenAI Agents (Python), realtime", "openai-agents", "others.txt", "turns", way="realtime.py", run="agents"),
]


def row(*cells):
    return f"| {' | '.join(cells)} |\n"


def code(lines):
    return "<br>".join(f"`{line}`" for line in lines.splitlines())


def run():
    """The clients that were run as they come."""
    table = row("client", "version", "where", "lines", "asked for") + "|---|---|---|---|---|\n"
    for client in CLIENTS:
        package = "" if client.package in client.name else f"`{client.package}` "
        asks = ", ".join(client.asks.split())
        table += row(client.name, f"{package}{client.version()}", client.where, code(client.lines), asks)
    return table


def recorded():
    """The programs whose requests were sent again."""
    table = row("program", "request recorded from", "where", "lines") + "|---|---|---|---|\n"
    rows = (
        row(one["name"], one["source"], one["where"], code(one["lines"]))
        for one in json.loads((HERE / "recorded.json").read_text())
    )
    return table + "".join(dict.fromkeys(rows))


def page():
    """The page with its tables made anew."""
    text = PAGE.read_text()
    for name, table in (("run", run()), ("recorded", recorded())):
        begin, end = f"<!-- {name}: made by tests/clients/known.py -->\n", f"<!-- end of {name} -->\n"
        before, rest = text.split(begin)
        text = before + begin + table + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
