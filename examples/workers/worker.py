#!/usr/bin/env python3
"""A worker for wfd that needs nothing but Python 3. See docs/workers.md for the protocol."""
import http.client, json, os, signal, sys, threading, time, urllib.error, urllib.request

URL = os.environ.get("WFD_ADDR", "http://127.0.0.1:7117") + "/v1/tasks/"
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ.get("WFD_TOKEN", "")}
stopping, current = False, None  # told to end; the task under way

class Failure(Exception): """What a handler fails with: class and message."""
class Over(Exception): """The task is to be left as it is."""

def call(path, body):
    """Makes a request. Returns status and answer; the status is 0 if there is no answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(URL + path, json.dumps(body).encode(), HEADERS), timeout=90) as r:
            return r.status, json.load(r)
    except urllib.error.HTTPError as e:
        return e.code, {}
    except (OSError, ValueError, http.client.HTTPException):
        return 0, {}

def beat(task):
    """Renews the lease until the task is over."""
    while not task["over"].wait(task["lease"] / 3):
        status, answer = call(task["id"] + "/heartbeat", {"token": task["token"], "checkpoint": task["checkpoint"]})
        if status in (404, 409) or answer.get("status") == "cancelled":
            task["gone"] = True
            task["over"].set()

def do(task):
    task["over"], task["gone"] = threading.Event(), False
    threading.Thread(target=beat, args=(task,), daemon=True).start()
    verb, body = "fail", {"checkpoint": task["checkpoint"]}
    try:
        verb, body = "complete", {"result": HANDLERS[task["handler"]](task)}
    except Over:
        verb, body = "release", {"reason": "the worker ends", "checkpoint": task["checkpoint"]}
    except Failure as e:
        body |= {"class": e.args[0], "message": e.args[1][:1000]}
    except Exception as e:
        body |= {"class": "internal", "message": repr(e)[:1000]}
    open = not task["gone"]
    while open:
        status, _ = call(f'{task["id"]}/{verb}', {"token": task["token"]} | body)
        if status in (400, 413, 422) and verb == "complete":  # the result is refused for what it is
            verb, body = "fail", {"class": "invalid_output", "message": "the result was refused"}
        elif open := status in (0, 408, 429, 500, 503, 507):
            time.sleep(1)  # and the same again: that is safe
    task["over"].set()

def steps(task):
    """The handler that wfd worker-test asks for. Yours go beside it, in HANDLERS."""
    began = task["checkpoint"] or 0
    for done in range(began, task["input"]["steps"]):
        if task["over"].wait(task["input"]["seconds"]):
            raise Over
        task["checkpoint"] = done + 1
    if task["input"]["fail"]:
        raise Failure(task["input"]["fail"]["class"], task["input"]["fail"]["message"])
    return {"echo": task["input"]["echo"], "began": began}

HANDLERS = {os.environ.get("WFD_HANDLER", "steps"): steps}

def terminate(*_):
    global stopping
    stopping = True
    current["over"].set() if current else sys.exit(0)

signal.signal(signal.SIGTERM, terminate)
poll = {"worker": os.environ.get("WFD_WORKER", f"python-{os.getpid()}"), "handlers": list(HANDLERS), "wait": "20s",
        "queues": [os.environ.get("WFD_QUEUE", "worker")]}
while not stopping:
    status, answer = call("poll", poll)
    if status in (400, 401, 403, 404, 422):
        sys.exit(f"the daemon refuses this worker: {status}")
    for current in answer.get("tasks", []):
        do(current)
    current = None
    if status != 200:
        time.sleep(1)
