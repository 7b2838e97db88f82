"""Asks what the OpenAPI document allows, and holds the answers to what it promises: statuses, types and fields.

    python openapi_conformance.py HTTP_ADDRESS SECONDS

Random requests are made for so many seconds; the seed stands in schemathesis.toml.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

HTTP, SECONDS = sys.argv[1:3]
CLIENTS = Path(__file__).parent


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{HTTP}/api/{path}", data=data, method=method)
    request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def main():
    # What the names in schemathesis.toml stand for.
    ask("PUT", "vhosts/v")
    ask("PUT", "users/somebody", {"password": "x", "tags": "management"})
    ask("PUT", "queues/v/q", {"durable": True})
    ask("PUT", "exchanges/v/q", {"type": "topic"})
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "openapi.json"
        document.write_bytes(ask("GET", "openapi.json"))
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", CLIENTS / "schemathesis.toml", "run", document]
        options = ["--url", f"http://{HTTP}", "--auth", "guest:guest", "--max-time", SECONDS, "--warnings", "off"]
        # It leaves files where it runs.
        environment = {**os.environ, "PYTHONPATH": str(CLIENTS), "PYTHONDONTWRITEBYTECODE": "1"}
        ended = subprocess.run([*command, *options], cwd=folder, env=environment)
    failed = 0 if ended.returncode == 0 else 1
    print(f"{1 - failed} passed, {failed} failed", flush=True)
    sys.exit(failed)


main()
