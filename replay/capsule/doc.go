// Package capsule takes a run out of a log, with all that it stands on, in one file
// that proves itself, and reads such files: to look at a run where its log is not,
// and to put it into another.
//
// A capsule has the events of the run, of the runs that it started, of theirs, and
// of those that it, or one of them, was forked from, up to where they were; and the
// events that registered the definitions of all these. One proof shows that they
// are in the log that they are said to be of, each at its place: see
// [audit.CheckSet]. Who has the public key of that log from elsewhere knows that
// nobody has changed them. Who has not knows that they belong together, and no
// more.
//
//	x, err := capsule.Prepare(ctx, capsule.Source{Log: log, ...}, run)
//	err = x.Write(ctx, w)
//	c, err := capsule.Read(r, keys)
//	s, err := replay.State(c.Log(), c.Run, at)
//
// Secrets are in no event, and so in no capsule. An erased payload is in it as its
// salted hash, as it is in the log: what follows from it cannot be rebuilt.
//
// [Read] is safe on a file from anyone: it bounds lines, events, runs and bytes
// before it keeps them. What events say is decoded by whoever looks at it.
// docs/format.md has the bytes.
package capsule
