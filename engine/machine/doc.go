// Package machine decides what happens in a run: given the state of a run and a
// command, which events follow. It does no I/O and reads no clock, no randomness,
// no environment and no map order; times and names arrive in the command. The
// same state and command always give the same events, which is what makes replay
// and verification possible.
//
// [Decide] first turns the command into the fact it stands for (a result came, a
// person answered, a timer fired), then advances the run as far as it goes
// without the outside world: conditions are evaluated, edges taken, joins fired,
// nodes scheduled and started. Each event is applied to the state as soon as it
// is decided, through the one fold of package projection/run.
//
// Everything that is owed is read off the state, never remembered between calls.
// So any prefix of a history is a legal starting point, and deciding [Continue]
// on it gives exactly the events that are still missing.
//
// Advancing works through the visits that changed, in the order of the
// definition, in three steps until nothing is left to do: settle what has ended
// (set state, take edges, pass on failures), start nodes whose tokens are
// complete (the join rule), and carry what was started as far as it goes.
package machine
