"""OpenAI's client for Node: its tests are in openai.test.mjs, and fail here."""

import os
import subprocess
from pathlib import Path

from daemon import LONG

TESTS = Path(__file__).with_name("openai.test.mjs")


def test_openai_for_node(shared, speech):
    environment = {**os.environ, "STT_SOCKET": str(shared.socket), "STT_SPEECH": str(speech)}
    command = ["node", "--test", "--test-reporter=tap", TESTS]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=5 * LONG)
    assert run.returncode == 0, run.stdout + run.stderr
