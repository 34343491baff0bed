// Package run folds the events of one run into its state: status, variables,
// visits under way, tokens, timers, signals. The same [State.Apply] serves the
// engine live, at start-up and in replay, so the three cannot differ.
//
// A run moves tokens over the edges of its workflow. A node that holds tokens is
// scheduled (a visit begins and consumes them), is done in one or more attempts,
// completes or fails, and puts a token on the edges that are taken. Which events
// follow which is decided by package engine/machine; this package only folds
// them, and needs no definition to do it: an event says all that the fold needs.
//
// Every prefix of a history is a state from which a run can go on: what is still
// owed (edges not yet taken, state not yet set, a timer, a question) can be read
// off the state.
package run
