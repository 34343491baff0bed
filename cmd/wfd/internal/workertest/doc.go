// Package workertest proves a worker right: a program that does tasks by
// docs/workers.md.
//
// It runs a daemon on a directory of its own, starts the worker beside it, and looks at
// what the worker says while things go wrong: answers are lost, the daemon is away,
// leases pass, runs are cancelled, the worker is killed. What the worker has to offer is
// one handler, which does what its input says:
//
//	{"steps": 3, "seconds": 0.5, "echo": …, "fail": {"class": …, "message": …}}
//
// It takes steps of so many seconds, from the one that its checkpoint names, and leaves
// a checkpoint after each; then it fails if it is told to, else its result is
// {"echo": …, "began": the number of steps it found done}.
//
// Between the worker and the API stands the [bench]: it keeps what was said, and a check
// can have it answer otherwise. Whatever lease the worker asks for, it gets a short one.
package workertest
