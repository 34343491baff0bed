// Package engine runs workflows durably: append, then apply, then dispatch.
//
// A command (a start, a result, an answer, a timer that is due) goes to the run
// it is for. One goroutine at a time owns a run: it takes all commands that have
// come, has package machine decide them on the run's state as one append, waits
// until the log has it on disk, and only then answers the callers and dispatches
// what was decided. While an append is under way the next commands gather, so a
// busy run commits in batches and an idle one at once. A run that nothing happens
// to has no goroutine, and no memory but its place in a bounded cache.
//
// What follows an append leaves the engine only after it:
//
//   - a started attempt goes to its queue in the scheduler, from where a runner
//     takes it; its result comes back as a command,
//   - a timer goes to the alarm clock, which sends a command when it is due,
//   - a child run is started, or the parent told of its end, by a command to the
//     other run.
//
// All of these are repeated by a start after a crash, from the log alone
// (recover.go), and all are idempotent. The bus only carries doorbells.
//
// If an append has an unknown outcome the engine stops ([Engine.Failed]): reads
// go on, commands are refused, and the process is to be ended and started again.
package engine
