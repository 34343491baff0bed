#!/usr/bin/env node
// A worker for wfd that needs nothing but Node 20. See docs/workers.md for the protocol.
import {setTimeout as sleep} from 'node:timers/promises';

const {WFD_ADDR = 'http://127.0.0.1:7117', WFD_TOKEN = '', WFD_QUEUE = 'worker', WFD_HANDLER = 'steps'} = process.env;
const headers = {'Content-Type': 'application/json', Authorization: `Bearer ${WFD_TOKEN}`};
const stop = new AbortController(); // by SIGTERM
process.on('SIGTERM', () => stop.abort());

// call makes a request and returns its status and answer; 0 if there is no answer.
async function call(path, body, signal) {
  try {
    const r = await fetch(`${WFD_ADDR}/v1/tasks/${path}`, {method: 'POST', headers, body: JSON.stringify(body), signal});
    return {status: r.status, answer: await r.json()};
  } catch { return {status: 0}; }
}

async function work(task) {
  const {id, token} = task, gone = new AbortController();
  const beats = setInterval(async () => { // renews the lease
    const {status, answer} = await call(`${id}/heartbeat`, {token, checkpoint: task.checkpoint});
    if (status === 404 || status === 409 || answer?.status === 'cancelled') gone.abort();
  }, task.lease / 3 * 1000);
  let verb = 'complete', body;
  try {
    body = {result: await handlers[task.handler](task, AbortSignal.any([gone.signal, stop.signal]))};
  } catch (e) {
    verb = stop.signal.aborted ? 'release' : 'fail';
    body = verb === 'release' ? {reason: 'the worker ends'} : {class: e.class ?? 'internal', message: String(e.message).slice(0, 1000)};
    body.checkpoint = task.checkpoint;
  }
  for (let open = !gone.signal.aborted; open;) {
    const {status} = await call(`${id}/${verb}`, {token, ...body});
    if (verb === 'complete' && [400, 413, 422].includes(status)) // the result is refused for what it is
      [verb, body] = ['fail', {class: 'invalid_output', message: 'the result was refused'}];
    else if (open = [0, 408, 429, 500, 503, 507].includes(status)) await sleep(1000); // and the same again: that is safe
  }
  clearInterval(beats);
}

// The handler that wfd worker-test asks for. Yours go beside it.
const handlers = {
  async [WFD_HANDLER](task, signal) {
    const {steps, seconds, echo, fail} = task.input, began = task.checkpoint ?? 0;
    for (let i = began; i < steps; i++) {
      await sleep(seconds * 1000, null, {signal});
      task.checkpoint = i + 1;
    }
    if (fail) throw Object.assign(new Error(fail.message), {class: fail.class});
    return {echo, began};
  },
};

const poll = {worker: process.env.WFD_WORKER ?? `node-${process.pid}`, queues: [WFD_QUEUE], handlers: Object.keys(handlers), wait: '20s'};
while (!stop.signal.aborted) {
  const {status, answer} = await call('poll', poll, stop.signal);
  if ([400, 401, 403, 404, 422].includes(status)) throw new Error(`the daemon refuses this worker: ${status}`);
  for (const task of answer?.tasks ?? []) await work(task);
  if (status !== 200) await sleep(1000, null, {signal: stop.signal}).catch(() => {});
}
process.exit(0);
