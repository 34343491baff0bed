// Package replay looks at the past of runs. It reads the log and definitions and
// nothing else: it never calls an agent, and it never appends.
//
// A position is a global seq, a version of the run, or the end of a visit:
//
//	pos, err := replay.Parse("412")       // after event 412 of the log
//	pos, err := replay.Parse("v12")       // after the run's own event 12
//	pos, err := replay.Parse("review#2")  // once visit 2 of node review had ended
//	s, err := replay.State(log, run, pos)
//
// Every position is a state that the run was in, as the fold that the engine
// itself uses gives it. The end of a visit includes what the visit set. [Tree] is
// a run and all runs under it as they stood after one event of the log, and
// [Frames] what each of their events changed.
//
// [Why] goes back from a visit over the tokens it consumed to the start of the
// run. What a restore went back behind is not part of it. [Compare] aligns two runs
// by node and visit.
//
// [Verify] and [WhatIf] decide again. The first event of a decision is the fact
// it was made on: a result, an answer, a signal, a timer. From the fact the command
// is built, package engine/machine decides, and what it gives is compared byte for
// byte ([Verify]), or the facts are given to another definition, and where the run
// goes is compared ([WhatIf]). An append may hold several decisions.
//
// What a runner says about a further attempt is not in the log; it is taken from
// what was decided for its failure. So a verified history proves that everything
// follows from the facts, and not that the facts are those that were recorded: that
// is proven by the log's tree.
//
// Known holes of WhatIf: a result that the definition of its time refused is not in
// the log, and stays refused. A result that came too late, and was ignored, is not
// in the log either. A fork is played from where it begins: what it took over from
// the other run is taken as it stood there. Child runs count with the result that
// they had.
package replay
