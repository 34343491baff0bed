// A client of `wfd mcp`, written with the protocol's own SDK for TypeScript: what a
// program does that was made without a thought of wfd.
//
//   node mcp-client.mjs stdio wfd mcp --data ./data
//   node mcp-client.mjs http http://127.0.0.1:7118/mcp [TOKEN]
//
// It expects the workflows greet and slow. With REGISTER, the command line that
// registers a workflow called late, it waits to be told of that.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";

const [how, ...rest] = process.argv.slice(2);
const transport = how === "stdio"
  ? new StdioClientTransport({ command: rest[0], args: rest.slice(1), env: process.env, stderr: "inherit" })
  : new StreamableHTTPClientTransport(new URL(rest[0]), rest[1] && { requestInit: { headers: { Authorization: `Bearer ${rest[1]}` } } });
const client = new Client({ name: "foreign", version: "1" });
const changed = new Promise((resolve) => client.setNotificationHandler(ToolListChangedNotificationSchema, resolve));
await client.connect(transport);
console.log("connected to", client.getServerVersion().name);

const { tools } = await client.listTools();
const greet = tools.find((t) => t.name === "greet");
assert.deepEqual(greet.inputSchema.required, ["name"]);
assert.equal(greet.description, "Greets somebody.");

// A call starts a run, and says what it waits for.
const asked = await client.callTool({ name: "greet", arguments: { name: "you" } });
assert.equal(asked.structuredContent.status, "waiting");
assert.equal(asked.structuredContent.questions[0].prompt, "Greet you?");
const { run } = asked.structuredContent;

// What does not fit is refused with the reason, as a result that a model can read.
const wrong = await client.callTool({ name: "greet", arguments: { nme: "you" } });
assert.ok(wrong.isError);
assert.match(wrong.content[0].text, /lacks "name"/);
const misfit = await client.callTool({ name: "wfd_answer", arguments: { run, value: "perhaps" } });
assert.ok(misfit.isError);

const done = await client.callTool({ name: "wfd_answer", arguments: { run, value: true } });
assert.equal(done.content[0].text, "Hello you");
assert.deepEqual([done.structuredContent.status, done.structuredContent.output], ["completed", "Hello you"]);
console.log("greeted", run);

// What takes longer is answered with the run, to come back to.
// The client forgets progress that comes in one piece with the answer; here there is time.
const progress = [];
const long = await client.callTool({ name: "slow", arguments: {} }, undefined, { onprogress: (p) => progress.push(p.message) });
assert.ok(progress.length > 0, "no progress was told");
assert.equal(long.structuredContent.status, "waiting");
assert.match(long.content[0].text, new RegExp(long.structuredContent.run));
for (let r = long; ; ) {
  r = await client.callTool({ name: "wfd_await", arguments: { run: long.structuredContent.run, wait: 5 } });
  if (r.structuredContent.status === "completed") break;
  assert.ok(!r.isError, r.content[0].text);
}
console.log("came back");

// Runs are resources.
const { resources } = await client.listResources();
assert.ok(resources.some((r) => r.uri === `wfd://runs/${run}`));
const read = async (uri) => JSON.parse((await client.readResource({ uri })).contents[0].text);
assert.equal((await read(`wfd://runs/${run}`)).output, "Hello you");
assert.equal((await read(`wfd://runs/${run}/state`)).nodes.ok.visits, 1);
const events = (await read(`wfd://runs/${run}/events`)).items;
assert.equal(events.at(-1).kind, "run.completed");
assert.equal((await read(`wfd://runs/${run}/events?after=${events.at(-2).seq}`)).items.length, 1);
assert.equal((await read("wfd://workflows/greet")).name, "greet");
await assert.rejects(client.readResource({ uri: "wfd://runs/nonsense" }), /not found/i);
console.log("read", resources.length, "runs");

if (process.env.REGISTER) {
  const [program, ...args] = process.env.REGISTER.split(" ");
  execFileSync(program, args);
  await changed;
  for (let found = false; !found; ) found = (await client.listTools()).tools.some((t) => t.name === "late");
  console.log("told of late");
}
await client.close();
