package explain

// text is a cause and its remedy.
type text struct{ cause, remedy string }

var table = map[Kind]map[string]text{Problem: problems, Failure: failures, Definition: definitions, Exit: exitCodes}

var problems = map[string]text{
	"malformed": {
		"The body or a parameter is not what its form asks for: no JSON, a key twice, no UTF-8, nested too deeply.",
		"Look at the place that the answer names; /openapi.json has every request."},
	"unauthorized": {
		"The daemon asks who is there, and the request has no token, or one that it does not know, that has expired or was revoked.",
		"Give --token or WFD_TOKEN, or show a client certificate. Who may do so makes one with wfd token create."},
	"denied": {
		"A webhook does not prove who sent it: its signature is missing or wrong, of another secret, or too old.",
		"Give the sender the hook's secret, and set both clocks; docs/triggers.md says how each kind of hook is signed."},
	"forbidden": {
		"The request comes from a page of another site, or is addressed to a name that is not the daemon's. A browser could be made to send it without its user's knowledge.",
		"Use the daemon's own address; behind a proxy, name it with --host NAME."},
	"not-allowed": {
		"Whoever makes the request is known, and has not the scope that it needs.",
		"Use a token with that scope: wfd token create NAME --scope read,run,operate,worker,admin."},
	"not-found": {
		"There is no such run, workflow, agent, checkpoint, question or path.",
		"Look for it: wfd ls, wfd workflow ls, wfd inbox, wfd checkpoint ls RUN. Is it the right daemon or data directory?"},
	"method-not-allowed": {
		"The path is there, but not for this method.",
		"See /openapi.json, or the header Allow of the answer."},
	"not-acceptable": {
		"The answer is not to be had in a form that Accept allows.",
		"Accept application/json; events also come as text/event-stream and application/x-ndjson."},
	"timeout": {
		"The daemon, or whoever asked, gave up waiting. What was asked for may have been done.",
		"Repeat the request with the same Idempotency-Key: it is done once, whatever happened."},
	"refused": {
		"The run is in a state in which this cannot be done: it has ended, is not paused, or asks no such question.",
		"The detail names the present state; wfd show RUN says why it is in it. A run that has ended can be forked or retried."},
	"exists": {
		"The ID or Idempotency-Key was used before, with other content.",
		"Use another one. To repeat a request, repeat it unchanged."},
	"ambiguous": {
		"Several workflows are called like this but for letter case, - and _.",
		"Write the name as it was registered: wfd workflow ls."},
	"stale": {
		"The task is not the worker's any more: its lease has passed, the run has ended, or another attempt took its place.",
		"Stop working on it. Send heartbeats more often, or ask for a longer lease."},
	"too-large": {
		"The body, a payload or a result is larger than its limit.",
		"Keep large data outside and pass a reference to it. docs/operations.md lists the limits."},
	"media-type": {
		"The body is not JSON, by its Content-Type.",
		"Send Content-Type: application/json."},
	"invalid": {
		"The request can be read, and what it says cannot be: a value does not fit its schema, a cursor or position is none, an input is not as the workflow declares it.",
		"Each entry of errors names a place; wfd workflow show NAME has the schema of the input."},
	"invalid-definition": {
		"The definition has errors. All of them are listed, each with line and column.",
		"wfd workflow validate FILE shows them beside the lines; wfd explain CODE explains each."},
	"unsupported": {
		"This engine cannot do what is asked for, or not here: programs under --no-exec, a runner that is not there.",
		"The detail names it; leave it out, or run a daemon that has it."},
	"busy": {
		"More commands wait for this run, or more streams are open, than the daemon keeps.",
		"Wait a second, as Retry-After says, and repeat the request."},
	"internal": {
		"Something went wrong that has no other word. The daemon's log says what.",
		"Look into the daemon's log; wfd doctor and wfd check look for what may be behind it."},
	"corrupt": {
		"What is stored of this run is damaged: a checksum does not fit, or an event is missing. The run takes no commands, the others go on.",
		"Stop the daemon, wfd check, and restore a backup: wfd restore. Look at the disk."},
	"starting": {
		"The daemon takes up what it did before, and takes no commands yet.",
		"Wait until /readyz is green; reads are answered already."},
	"paused": {
		"The hook that a webhook came to is paused, and takes nothing.",
		"Resume the hook, and have the sender send it again: senders usually do so by themselves."},
	"provider-away": {
		"The identity provider whose token this may be does not answer, so that nobody can tell whether it is good.",
		"Repeat the request a little later; tokens of wfd token create are good meanwhile. Look whether the daemon reaches --jwt-issuer, or give it --jwt-keys."},
	"unwritable": {
		"The system refuses to read or write a file of the data directory: it is mounted read-only, belongs to somebody else, or the disk fails.",
		"wfd doctor looks at the disk and the directory. What was acknowledged is stored; repeat the request once it can be written again."},
	"outcome-unknown": {
		"The disk returned an error for a commit, so that nobody knows whether it is stored. The daemon ends; its next start decides.",
		"Start the daemon again and repeat the request with the same Idempotency-Key. Look at the disk."},
	"stopped": {
		"The daemon is ending, or its log has failed, and takes no commands.",
		"Repeat the request with the same Idempotency-Key once it is back."},
	"disk-full": {
		"There is no space for another commit. Nothing was stored, and reads go on.",
		"Make space: the daemon goes on by itself. wfd du, wfd compact and --retain help for longer."},
}

var failures = map[string]text{
	"timeout": {
		"No end within the timeout of the node, the question, the signal or the run.",
		"Raise timeout:, or say what follows with on_timeout:. Attempts that time out are repeated as retry: says."},
	"network": {
		"No connection, a name that is not known, or an answer that broke off.",
		"Look whether the other side can be reached from this machine. After the last attempt the run is paused: wfd resume RUN goes on, with new attempts."},
	"rate_limit": {
		"The other side answers 429: too many requests.",
		"It is tried again after the time that it names. Lower the queue's limit (--queue agent=4), or raise retry.max. After the last attempt the run is paused: wfd resume."},
	"unavailable": {
		"The other side answers 5xx or says that it is overloaded.",
		"It is tried again with backoff; after the last attempt the run is paused. wfd resume RUN once it is back."},
	"tool_failed": {
		"A program ended with another code than 0, a service answered 4xx, or a tool said that it failed.",
		"wfd events RUN shows what it wrote. It is repeated unless the runner says that this makes no sense."},
	"invalid_output": {
		"A result is not as it has to be: it does not fit expect:, is no JSON, is cut off, or no condition of the node's edges is met by it.",
		"wfd why RUN NODE shows what was read. Loosen expect:, say more in the prompt, or add a default edge."},
	"budget": {
		"A call costs more than is left of a budget, or the provider's account has no credit.",
		"wfd budget RUN --usd N (or --tokens) raises it, and a run that was paused for it goes on; wfd cost shows who spent it."},
	"auth": {
		"No key, a wrong key, or a secret that is not there; or a program that may not run here, or not in the sandbox that it is to have. It is not repeated by itself.",
		"Set what the message names (OPENAI_API_KEY, ANTHROPIC_API_KEY, WFD_SECRET_NAME, --secrets), restart the daemon if it is a key of the environment, and wfd retry RUN."},
	"not_found": {
		"The other side answers 404: there is no such model, path, program or tool.",
		"Correct the name in the definition or the agent file, and wfd fork RUN --at NODE --definition FILE, or wfd retry RUN for an agent file."},
	"cancelled": {
		"What it waited for was cancelled: a child run, a task that another failure made pointless, or a worker's task.",
		"wfd show of the child run names who cancelled it. wfd retry RUN does it again."},
	"internal": {
		"The definition asks for what cannot be done at this point: an expression that fails on what it reads, a loop beyond max_visits, too many child runs in each other; or a fault of wfd.",
		"The message names the place. Correct the definition, and wfd fork RUN --at NODE --definition FILE."},
	"end": {
		"The definition itself ends the run as failed, at a node with end: failed.",
		"Nothing is wrong with wfd. wfd why RUN NODE tells how the run came there."},
}

var definitions = map[string]text{
	"syntax": {
		"The text is no YAML, or no JSON.",
		"Look at the line and the column, and at the line before: a quote, a bracket or the indentation is missing there."},
	"limit": {
		"Something is larger than its limit: the file, a list, the depth, an expression.",
		"The message names the limit. Split the workflow, or keep data outside the definition."},
	"duplicate-key": {
		"A key or field is given twice in one object.",
		"Keep one of them: which one counts would depend on the reader."},
	"duplicate-id": {
		"Two nodes, or two agents, have the same id.",
		"Rename one of them."},
	"unknown-field": {
		"There is no such field here.",
		"Look for a typing error; wfd schema has every field."},
	"missing-field": {
		"A field is needed here and is not there.",
		"Add it; docs/definitions.md has the fields of each kind."},
	"type": {
		"A value has the wrong type, as a text where a number is needed.",
		"Write it as the message says; a text that YAML takes for something else goes into quotes."},
	"range": {
		"A number is too small or too large.",
		"The message names both ends."},
	"choice": {
		"A word is none of those that are allowed.",
		"Use one of those that the message lists."},
	"duration": {
		"This is no duration.",
		"Write it like 500ms, 30s, 5m or 48h."},
	"schema": {
		"A form, an input or an expect: is no JSON Schema that can be compiled.",
		"The message has the place within it. References to other files are not followed."},
	"name": {
		"This is no name for a workflow or an agent.",
		"Use letters, digits, - and _."},
	"id": {
		"This is no id of a node.",
		"Use letters, digits, - and _; the first is a letter."},
	"kind": {
		"A node does not say what it does, or says several things.",
		"Give it one of agent, http, exec, worker, tool, decision, human, workflow, parallel, converge, wait, foreach, chat, plan, end."},
	"contradiction": {
		"Two fields exclude each other.",
		"Keep the one that is meant."},
	"no-effect": {
		"A field does nothing here.",
		"Remove it, or move it to where it counts."},
	"foreach": {
		"The node that a foreach does is of a kind that it cannot do, or has a field that makes no sense for items.",
		"Use an action, or a workflow: for more than one node per item."},
	"template": {
		"The file is a template of the original engine, which has another form.",
		"wfd workflow import FILE makes a definition of it."},
	"state-key": {
		"This is no name for a state key.",
		"Use letters, digits and _; the first is a letter."},
	"reserved-key": {
		"A state key is called like a variable of expressions or a word of CEL.",
		"Rename it, and where it is read."},
	"default-type": {
		"The default of a state key has another type than the key.",
		"Change one of both."},
	"reduce": {
		"The reducer cannot work on a key of this type.",
		"append needs an array, sum and max a number, merge an object."},
	"undeclared-key": {
		"A condition or set names a state key that state: does not declare.",
		"Declare it under state:, or correct its name."},
	"undeclared-input": {
		"An expression reads a property that the schema of the input does not have.",
		"Add it to input:, or correct its name."},
	"unknown-node": {
		"A node is named that is not there.",
		"Correct its name; the message has those that are much like it."},
	"condition": {
		"A condition or ${…} cannot be compiled.",
		"It is CEL: the caret stands below the place. docs/definitions.md has the variables and functions."},
	"secret": {
		"A secret is read where its value could come into the log, as in a prompt of a person, a condition, or set.",
		"Read secrets in settings of agent, http, exec and tool nodes alone."},
	"too-early": {
		"An expression reads the result of a node that cannot have run at this point.",
		"Let an edge lead from there to here, or read something else."},
	"duplicate-edge": {
		"The same edge is there twice.",
		"Remove one; needs: makes edges, too."},
	"self-edge": {
		"A node leads to itself and has no bound.",
		"Give it max_visits."},
	"ambiguous-default": {
		"A node has several edges that could be its default.",
		"Mark one with default: true, or give the others conditions."},
	"no-edges": {
		"A decision or a parallel leads nowhere.",
		"Add edges, or remove the node."},
	"after-end": {
		"An edge leaves a node that ends the run or its branch.",
		"Remove the edge."},
	"unreachable": {
		"No path leads to this node.",
		"Add an edge to it, name it as entry:, or remove it."},
	"irreducible-loop": {
		"A loop can be entered at two places, so that nobody can say when its nodes have to wait for each other.",
		"Let all edges into the loop lead to one of its nodes."},
	"endless-loop": {
		"Nothing leads out of this loop.",
		"Add an edge with a condition that leads out of it."},
	"unbounded-loop": {
		"The loop is bounded by the default of max_visits alone.",
		"Say max_visits at one of its nodes, so that it is meant."},
	"spinning-loop": {
		"The loop goes on whatever happens in it: its conditions read nothing that it changes.",
		"Let the condition read what a node of the loop sets."},
	"entry": {
		"There is no node to start with.",
		"Name one as entry:, or leave one without edges that lead to it."},
	"parallel-writers": {
		"Nodes that run at the same time set one key, and the last in the order of branches wins.",
		"Give the key a reducer (reduce: append, sum, max, merge), or set different keys."},
	"overlap": {
		"Two conditions of a node can be met at once; the first one counts.",
		"If that is not meant, make them exclude each other."},
	"gap": {
		"There are values at which no condition of the node is met; the run fails there.",
		"Add an edge with default: true."},
	"never-taken": {
		"An edge stands behind one that is always taken.",
		"Change the order, or remove it."},
	"single-input": {
		"A converge joins a single branch.",
		"Let the other branches lead to it, or remove it."},
	"exclusive-converge": {
		"A converge is to wait for branches of which only one is ever taken.",
		"Use join: any, or an ordinary node: it starts when nothing else can reach it."},
	"key-is-node": {
		"A condition reads a state key that is called like a node.",
		"For the node's result write nodes.NAME.result; else rename one of both."},
	"import": {
		"What importing a template had to change or leave out.",
		"Read the definition that came of it, and see whether it is meant like this."},
	"next-nodes": {
		"A template says where a node leads in two places, and they differ.",
		"The edges count; correct next_nodes, or remove it."},
}

var exitCodes = map[string]text{
	"0": {
		"It is done.",
		"Nothing is to be done."},
	"1": {
		"The run that was waited for did not complete, or something failed that has no other code.",
		"Standard error says what. wfd show RUN says why the run stands where it does."},
	"2": {
		"The command, or what it was given, is wrong: a flag, a definition, an input, an answer, a token.",
		"Standard error names the place; wfd COMMAND --help has the usage."},
	"3": {
		"There is no such run, workflow, file or data directory.",
		"wfd ls, wfd workflow ls; --addr and --data say where is looked."},
	"4": {
		"The present state does not allow it, another process holds the data directory, or the address is taken.",
		"Standard error names the state, or who holds it. Use --addr to reach the daemon that has it."},
	"5": {
		"No daemon answers at the address, or it is still starting.",
		"Start one: wfd serve. --addr or WFD_ADDR says where it is."},
	"6": {
		"Storage: the disk is full, the log has failed, data is damaged or cannot be written.",
		"wfd doctor looks at the disk, wfd check at the data. Then free space, or restore a backup."},
	"7": {
		"The system lets the process have too little: open files, threads and processes, address space, or memory.",
		"Standard error names the limit and how it is raised: ulimit, the unit of the service, or the container. wfd doctor looks at files."},
	"124": {
		"--timeout has passed. The run goes on if a daemon has it.",
		"wfd show RUN says what it waits for; wfd watch RUN goes on watching."},
	"130": {
		"It was interrupted.",
		"What was acknowledged is stored. Repeat the command with its idempotency key if it was not."},
}
