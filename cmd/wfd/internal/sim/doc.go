// Package sim plays the whole engine in one goroutine, in virtual time, on a
// virtual disk, with faults that come from a seed: the same seed gives the same
// events, byte for byte, on any machine.
//
// What decides is the real thing: package machine decides, package ledger grants, package
// run folds, rows are folded by package projection, and every run that has ended is decided
// again by package replay. What surrounds them is a model of what packages engine
// and eventlog do with goroutines, system calls and clocks: owners of runs, one
// writer that commits what has collected, a scheduler with doorbells, alarms, the
// tending of child runs, who keeps the ledger of budgets that runs share, and recovery.
// The models are small enough to be read beside what they stand for; they follow it in
// order, in what is kept in memory and in what is found again in the log.
//
// A world is one data directory, its clients and its processes, one after the
// other. In each tick one of the things that could happen next does, chosen by the
// seed: a client gives a command or repeats one, an owner decides, the writer
// commits, a runner ends, time passes. In between, from the same seed:
//
//   - the process is killed, before, in the middle of or after a write, or the power
//     is cut, and what was not synced is gone, torn or there;
//   - a sync fails: the outcome is unknown, the engine stops, and the kernel holds
//     pages that it takes for written;
//   - the disk is full for a while;
//   - a doorbell is lost, a result comes twice, or late, from a former process;
//   - calls use more than was reserved for them, or nobody ever tells what they used;
//   - the clock goes back an hour, or forward a year;
//   - runs are dropped from memory, and the views are.
//
// After every tick the rules of package invariant hold of the events it stored, the
// row of the run is as its state, what is under way is known to somebody, no budget is
// overspent by what was reserved, and the ledger is the fold of the log's events with what
// was granted for appends under way. After
// every start nothing that was acknowledged is missing. At the end of a world faults
// end too, and then every run must come to its end, nothing may be set aside, every acknowledged command must
// be in the log once, every state must be the fold of its events, the rows those of
// the log, and every history must be decided again to the same bytes.
package sim
