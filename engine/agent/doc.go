// Package agent holds the runners: what does a node's task and says what became
// of it. A [Runner] gets a [Task], in which every setting is evaluated, and
// returns an [Answer]: a result, or a [Failure] with a class that tells the
// engine whether to try again.
//
// A task may be done more than once: the engine starts it again if it cannot
// know that it was done. [Task.Key] is the same each time, and every runner
// hands it on.
//
// # Results
//
// What a result looks like depends on who answers, in one way for all agents:
//
//	text                          {text: …}
//	text and an object            the object, with the text as its field text
//	text ending in ```json {…}    the same, and the object's keys are offered as state
//	any other value               the value
//
// [Result] and [FromText] make them. The engine drops state that the definition
// does not declare; keys below run. belong to the engine and are dropped here.
// What an agent answers is data: it is never evaluated.
//
// # Models
//
// [Models] asks the model of the task's agent through a [model.Provider]: the system
// prompt is the agent's, the message the node's prompt. An answer with a schema (of the
// node, of the agent, or of what the definition needs to know: see workflow.Asks) is one
// JSON object; any other is text. Pieces of text go to [Task.Show] as they come, usage and
// the whole text into the answer. docs/agents.md has the rules and the classes of errors.
//
// # Scripted answers
//
// [ParseReplies] reads a file that answers nodes instead of their runners, so
// that a definition can be tried without models, programs and services:
//
//	nodes:
//	  draft: A first draft.            # text, for every visit
//	  review:                          # by visit; the last one goes on
//	    - result: {score: 0.4}
//	    - - fail: rate_limit           # by attempt; the last one goes on
//	        message: slow down
//	      - text: Good.
//	        result: {score: 0.9}
//	        set: {score: 0.9}
//	        delay: 50ms
//	        usage: {input_tokens: 100, output_tokens: 20}
//	  each[2]: …                       # the third item of a foreach; the others share each
//	default: ok                        # every other node; without it they fail
//
// A text may end in a JSON object as an agent's may. The file is YAML or JSON,
// with the limits of definitions, and everything wrong with it is said at once.
//
// # Programs
//
// [Exec] runs a program with its arguments as they are; no shell sees them. The
// program is looked for in PATH or, if its name has a slash, in the node's dir,
// without one where the engine runs. It works in dir or in a fresh directory
// that is removed afterwards. Its environment is PATH, HOME and LANG, the node's
// env, and WFD_RUN, WFD_NODE, WFD_VISIT, WFD_ATTEMPT and WFD_IDEMPOTENCY_KEY.
// The result is {stdout, stderr, exit_code}, and json if all of standard output
// is one JSON value. Bytes that are not UTF-8 become U+FFFD.
//
// It leads a process group. When its time is over the group is told to end
// (SIGTERM), a second later it is killed; on Linux so is whatever is left of the
// group when the program itself has ended, and the program when the engine dies.
// Holes: a process that leaves the group lives on, and so do a program's
// children, and its fresh directory, when the engine is killed. Programs are not
// confined: they may read and write what the engine may.
//
//	exit code or signal, too much output     tool_failed
//	no such program, interpreter, directory  not_found
//	turned off                               auth
//
// # HTTP
//
// [HTTP] sends one request per attempt, with Task.Key as its Idempotency-Key. A
// body that is text is sent as it is, others as JSON. The result is {status,
// headers, body}, and json if the body is one JSON value of at most 7 MiB;
// headers have their usual spelling (Content-Type), and Set-Cookie is left out.
//
// Private, loopback and special addresses are refused unless the node says
// allow_private, those of cloud metadata and of the link always. What counts is
// the address connected to. Up to five redirects are followed; to another origin
// a request takes none of the node's own headers, Accept and Content-Type apart.
// Messages name the host, never the path or the query.
//
//	429                                      rate_limit, after Retry-After
//	408, no answer in time                   timeout
//	5xx                                      unavailable, after Retry-After
//	401, 403, an address that is refused     auth, not tried again
//	404                                      not_found, not tried again
//	other 4xx, too long, too many redirects  tool_failed, not tried again
//	anything between here and the answer     network
package agent
