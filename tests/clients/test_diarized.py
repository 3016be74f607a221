"""OpenAI's client in Python, unmodified: who speaks in a call, in its own types."""

import wave
from array import array

import pytest
from openai.types.audio import (
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
)

CLIPS = "/usr/share/pocketsphinx/test/data"
FIRST, SECOND = "go forward ten meters", "go somewhere and do something"
RATE = 16000


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Two people, each on a channel. They speak at once for a second, and a tenth crosses over."""
    first, second = array("h"), array("h")
    for samples, name in (first, "goforward"), (second, "something"):
        with open(f"{CLIPS}/{name}.raw", "rb") as file:
            samples.frombytes(file.read())
    second = array("h", bytes(2 * (len(first) - RATE))) + second
    first += array("h", bytes(2 * (len(second) - len(first))))
    frames = array("h")
    for one, other in zip(first, second):
        frames.extend((int(0.9 * one + 0.09 * other), int(0.9 * other + 0.09 * one)))
    path = tmp_path_factory.mktemp("call") / "call.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", "NONE"))
        file.writeframes(frames.tobytes())
    return path


def create(client, call, **options):
    return client.audio.transcriptions.create(
        model="whisper-1", file=call, response_format="diarized_json", chunking_strategy="auto", **options
    )


def strictly(answer):
    """The answer, if its own type takes it as it is: the client itself takes anything."""
    return type(answer).model_validate(answer.model_dump(), strict=True)


def test_each_word_stands_under_its_speaker(client, call):
    answer = create(client, call)
    assert isinstance(strictly(answer), TranscriptionDiarized)
    assert [(one.speaker, one.text) for one in answer.segments] == [("A", FIRST), ("B", SECOND)]
    assert (answer.task, answer.text) == ("transcribe", f"{FIRST} {SECOND}")
    assert (answer.usage.type, answer.usage.seconds) == ("duration", -(-answer.duration // 1))
    first, second = answer.segments
    assert first.id != second.id and first.start < second.start
    assert {one.type for one in answer.segments} == {"transcript.text.segment"}
    pids = [channel["pid"] for channel in answer.stt["channels"]]
    assert len(set(pids)) == 2


def test_channels_have_the_names_of_known_speakers(client, call):
    answer = create(client, call, known_speaker_names=["agent", "customer"])
    assert [one.speaker for one in answer.segments] == ["agent", "customer"]


def test_a_stream_tells_each_segment_with_its_speaker(client, call):
    *events, done = [strictly(event) for event in create(client, call, stream=True)]
    assert isinstance(done, TranscriptionTextDoneEvent)
    deltas, segments = events[::2], events[1::2]
    assert all(isinstance(event, TranscriptionTextDeltaEvent) for event in deltas)
    assert all(isinstance(event, TranscriptionTextSegmentEvent) for event in segments)
    assert [event.segment_id for event in deltas] == [event.id for event in segments]
    assert "".join(event.delta for event in deltas) == done.text
    assert [(one.speaker, one.text) for one in segments] == [("A", FIRST), ("B", SECOND)]


def test_nobody_s_words_are_attributed_to_somebody_else(client, speech):
    answer = create(client, speech)
    assert [one.speaker for one in answer.segments] == ["unknown"]
    assert "one channel" in answer.stt["warnings"][0]
