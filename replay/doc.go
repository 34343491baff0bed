// Package replay rebuilds runs at any position of their history. It reads the
// log and nothing else: it never calls an agent, and it never appends.
//
// A position is a global seq, a version of the run, or the end of a visit:
//
//	pos, err := replay.Parse("412")       // after event 412 of the log
//	pos, err := replay.Parse("v12")       // after the run's own event 12
//	pos, err := replay.Parse("review#2")  // once visit 2 of node review had ended
//	s, err := replay.State(log, run, pos)
//
// Every position is a state that the run was in, as the fold that the engine
// itself uses gives it. The end of a visit includes what the visit set.
package replay
