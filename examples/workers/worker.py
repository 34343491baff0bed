#!/usr/bin/env python3
"""A worker for wfd that needs nothing but Python 3. See docs/workers.md for the protocol."""
import http.client, json, os, signal, sys, threading, time, urllib.error, urllib.request

URL = os.environ.get("WFD_ADDR", "http://127.0.0.1:7117")
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ.get("WFD_TOKEN", "")}
stop = threading.Event()  # set by SIGTERM
polling = False


class Failure(Exception):
    """What a handler fails with."""

    def __init__(self, klass, message):
        super().__init__(message)
        self.klass = klass


class Over(Exception):
    """The task is not this worker's any more, or the worker is to stop."""


def call(path, body):
    """Makes a request. Returns status and answer; the status is 0 if there is no answer."""
    request = urllib.request.Request(URL + "/v1/tasks/" + path, json.dumps(body).encode(), HEADERS)
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        return e.code, {}
    except (OSError, ValueError, http.client.HTTPException):
        return 0, {}


def insist(path, body):
    """Says the last word about a task until it is answered."""
    while True:
        status, _ = call(path, body)
        if status not in (0, 408, 429, 500, 503, 507):
            return status
        time.sleep(1)


class Task:
    def __init__(self, task):
        self.path, self.input, self.before = task["id"] + "/", task["input"], task["checkpoint"]
        self.word = {"token": task["token"]}  # what goes with every request
        self.every, self.checkpoint, self.news = task["lease"] / 3, None, threading.Event()
        self.gone, self.over = False, threading.Event()
        threading.Thread(target=self.beat, daemon=True).start()

    def beat(self):
        """Renews the lease until the task is over, sooner if there is a checkpoint to send."""
        while not self.over.is_set():
            self.news.wait(self.every)
            self.news.clear()
            status, answer = call(self.path + "heartbeat", self.word | {"checkpoint": self.checkpoint})
            if status in (404, 409) or answer.get("status") == "cancelled":
                self.gone = True
                self.over.set()
            self.over.wait(0.2)

    def sleep(self, seconds):
        """Sleeps, and raises Over as soon as the handler is to stop."""
        until = time.monotonic() + seconds
        while not (self.gone or stop.is_set()):
            if time.monotonic() >= until:
                return
            self.over.wait(min(0.05, seconds))  # set as soon as the task is gone
        raise Over

    def do(self, handler):
        try:
            verb, what = "complete", {"result": handler(self)}
        except Over:
            verb, what = "release", {"reason": "the worker ends", "checkpoint": self.checkpoint}
        except Failure as e:
            verb, what = "fail", {"class": e.klass, "message": str(e)[:1000], "checkpoint": self.checkpoint}
        except Exception as e:
            verb, what = "fail", {"class": "internal", "message": repr(e)[:1000], "checkpoint": self.checkpoint}
        if not self.gone and insist(self.path + verb, self.word | what) in (400, 413, 422):
            insist(self.path + "fail", self.word | {"class": "invalid_output", "message": "the result was refused"})
        self.over.set()
        self.news.set()


def steps(task):
    """The handler that wfd worker-test asks for. Yours go beside it, in HANDLERS."""
    began = task.before or 0
    for done in range(began, task.input["steps"]):
        task.sleep(task.input["seconds"])
        task.checkpoint = done + 1
        task.news.set()
    if task.input["fail"]:
        raise Failure(task.input["fail"]["class"], task.input["fail"]["message"])
    return {"echo": task.input["echo"], "began": began}


HANDLERS = {os.environ.get("WFD_HANDLER", "steps"): steps}


def terminate(*_):
    stop.set()
    if polling:
        sys.exit(0)


signal.signal(signal.SIGTERM, terminate)
poll = {"worker": os.environ.get("WFD_WORKER", f"python-{os.getpid()}"), "handlers": list(HANDLERS), "wait": "20s",
        "queues": [os.environ.get("WFD_QUEUE", "worker")]}
while not stop.is_set():
    polling = True
    status, answer = call("poll", poll)
    polling = False
    if status in (400, 401, 403, 404, 422):
        sys.exit(f"the daemon refuses this worker: {status}")
    if status != 200:
        stop.wait(1)
    for task in answer.get("tasks", []):
        Task(task).do(HANDLERS[task["handler"]])
