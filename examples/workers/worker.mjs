#!/usr/bin/env node
// A worker for wfd that needs nothing but Node 20. See docs/workers.md for the protocol.
import {setTimeout as sleep} from 'node:timers/promises';

const {WFD_ADDR = 'http://127.0.0.1:7117', WFD_TOKEN = '', WFD_QUEUE = 'worker', WFD_HANDLER = 'steps'} = process.env;
const WORKER = process.env.WFD_WORKER ?? `node-${process.pid}`;
const stop = new AbortController(); // by SIGTERM

class Failure extends Error { constructor(cls, message) { super(message); this.class = cls; } }

// call makes a request and returns its status and answer; 0 if there is no answer.
async function call(path, body, signal) {
  try {
    const headers = {'Content-Type': 'application/json', Authorization: `Bearer ${WFD_TOKEN}`};
    const r = await fetch(`${WFD_ADDR}/v1/tasks/${path}`, {method: 'POST', headers, body: JSON.stringify(body), signal});
    return {status: r.status, ...(r.ok ? {answer: await r.json()} : await r.text() && {})};
  } catch { return {status: 0}; }
}

// insist says the last word about a task until it is answered.
async function insist(path, body) {
  for (;; await sleep(1000)) {
    const {status} = await call(path, body);
    if (![0, 408, 429, 500, 503, 507].includes(status)) return status;
  }
}

async function work(task) {
  const token = task.token, gone = new AbortController(), over = new AbortController();
  const signal = AbortSignal.any([gone.signal, stop.signal]); // the handler is to stop
  const beats = (async () => {
    for (let sent; ; sent = task.done) {
      await sleep(Math.min(task.lease / 3, task.done === sent ? Infinity : 0.5) * 1000, null, {signal: over.signal});
      const {status, answer} = await call(`${task.id}/heartbeat`, {token, checkpoint: task.done});
      if (status === 404 || status === 409 || answer?.status === 'cancelled') return gone.abort();
    }
  })().catch(() => {});
  let verb = 'complete', body;
  try {
    body = {result: await handlers[task.handler](task, signal)};
  } catch (e) {
    verb = stop.signal.aborted ? 'release' : 'fail';
    body = verb === 'release' ? {reason: 'the worker ends'} : {class: e.class ?? 'internal', message: String(e.message).slice(0, 1000)};
    body.checkpoint = task.done;
  }
  if (!gone.signal.aborted && [400, 413, 422].includes(await insist(`${task.id}/${verb}`, {token, ...body})))
    await insist(`${task.id}/fail`, {token, class: 'invalid_output', message: 'the result was refused'});
  over.abort();
  await beats;
}

// The handler that wfd worker-test asks for. Yours go beside it.
const handlers = {
  async [WFD_HANDLER](task, signal) {
    const {steps, seconds, echo, fail} = task.input, began = task.checkpoint ?? 0;
    for (let i = began; i < steps; i++) {
      await sleep(seconds * 1000, null, {signal});
      task.done = i + 1; // the checkpoint
    }
    if (fail) throw new Failure(fail.class, fail.message);
    return {echo, began};
  },
};

process.on('SIGTERM', () => stop.abort(new Error('the worker ends')));
while (!stop.signal.aborted) {
  const poll = {worker: WORKER, queues: [WFD_QUEUE], handlers: Object.keys(handlers), wait: '20s'};
  const {status, answer} = await call('poll', poll, stop.signal);
  if ([400, 401, 403, 404, 422].includes(status)) throw new Error(`the daemon refuses this worker: ${status}`);
  if (status !== 200) await sleep(1000, null, {signal: stop.signal}).catch(() => {});
  for (const task of answer?.tasks ?? []) await work(task);
}
process.exit(0);
