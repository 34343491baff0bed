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
package agent
