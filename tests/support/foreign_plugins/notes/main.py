"""A stdio-json plugin to the original's contract. `notes.trouble` does whatever a bad plugin might, when told to."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

LOCK = threading.Lock()


def say(document):
    with LOCK:
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()


def fail(identity, code, message):
    say({"id": identity, "ok": False, "error": {"code": code, "message": message}})


def add(identity, given):
    text = given.get("text")
    if not isinstance(text, str) or not text.strip():
        fail(identity, "invalid_request", "text must be a string")
        return
    time.sleep(float(given.get("delay_s", 0)))
    with LOCK, Path(os.environ["NOTES_FILE"]).open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    if given.get("then") == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if given.get("then") == "answer and leave":
        say({"id": identity, "ok": True, "result": {"noted": text, "pid": os.getpid()}})
        os._exit(0)
    if given.get("then") != "say nothing":
        environment = sorted(os.environ)
        say({"id": identity, "ok": True, "result": {"noted": text, "pid": os.getpid(), "environment": environment}})


def trouble(identity, given):
    kind = given["kind"]
    if kind == "error":
        fail(identity, given["code"], "as you wished")
    elif kind == "stranger":
        for _ in range(given["times"]):
            say({"id": "nobody", "ok": True, "result": {}})
        say({"id": identity, "ok": True, "result": {}})
    elif kind == "raw":
        sys.stdout.write(given["text"])
        sys.stdout.flush()
    elif kind == "flood":
        while True:
            sys.stdout.write("x" * 65536)
    elif kind == "twice":
        say({"id": identity, "ok": True, "result": {"time": 1}})
        say({"id": identity, "ok": True, "result": {"time": 2}})
    elif kind == "close":
        sys.stdout.close()
        os.close(1)
        time.sleep(600)


def handle(line):
    try:
        request = json.loads(line)
    except ValueError:
        fail(None, "invalid_json", "not JSON")
        return
    identity = request.get("id")
    if request.get("type") == "probe":
        result = {"name": "notes", "version": "1.0.0", "capabilities": ["notes.add", "notes.trouble"]}
        say({"id": identity, "ok": True, "result": result})
    elif request.get("type") != "invoke":
        fail(identity, "invalid_type", "unknown type")
    else:
        handler = {"notes.add": add, "notes.trouble": trouble}.get(request.get("capability"))
        if handler is None:
            fail(identity, "unsupported_capability", "no such capability")
        else:
            threading.Thread(target=handler, args=(identity, request.get("input") or {}), daemon=True).start()


sys.stderr.write("notes is up\n")
for line in sys.stdin:
    if line.strip():
        handle(line)
