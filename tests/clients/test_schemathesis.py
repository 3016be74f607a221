"""Schemathesis: what the daemon does is what its /openapi.json says, whatever is asked of it."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import CONFIG
from daemon import Daemon, free_port

HERE = Path(__file__).parent


def test_the_daemon_does_what_its_description_says(tmp_path):
    # It speaks to no Unix socket.
    port = free_port()
    # The engine that can be told everything.
    config = CONFIG.replace('default_model = "default"', 'default_model = "fault"')
    with Daemon(config, also=[("http", f"127.0.0.1:{port}")]) as daemon:
        run = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                "--config-file",
                HERE / "schemathesis.toml",
                "run",
                f"http://127.0.0.1:{port}/openapi.json",
                "--no-color",
            ],
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # Of a failure its first lines tell; the requests themselves can be long.
        assert run.returncode == 0, run.stdout[:8000]
        # No test of transcripts without any.
        assert daemon.endings()["ok"] > 20
