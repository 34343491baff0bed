// Package projection keeps the views: rows folded from the events of all runs,
// so that lists, look-ups and due timers need no fold of any run. Package
// projection/run folds the full state of one run; package projection/event is
// the vocabulary of both.
//
// # What it promises
//
// The log is the truth and the views are a cache of it: delete their directory
// and nothing is lost but the time to build them again. Every read sees all
// events that were durable when it was called (it folds them first, if need
// be), and rows of one moment only. A list is read in pages whose cursors stay
// right while runs are added: a run that stays in the list is neither repeated
// nor skipped.
//
//	v, err := projection.Open(dir, log, projection.Options{})
//	err = v.CatchUp(ctx, progress) // before the daemon says that it is ready
//	err = v.Start(ctx)             // follow the log in the background
//	v.Notify(seq)                  // after each commit of the log; never blocks
//	rows, next, err := v.Runs(ctx, projection.Filter{Status: run.Running}, "", 100)
//	err = v.Close()
//
// # The views
//
// There are five: runs (a [Row] per run, with indexes by status, workflow,
// both, label and parent), what is open (a [Timer] or [Input] each, with one
// index by time and one for the inbox), cost (what was spent by day, what is set
// aside, limits), definitions (names, versions and
// hashes; the text stays in the log) and triggers (a [Trigger] each). A further view is a type in a file of its
// own and a line in the list views. All share one cursor and one transaction. A
// view whose rows would come out differently raises its version, and everything
// is built anew.
//
// Events are read from the log in bounded pages, folded in memory and written
// in one transaction per batch: as much as there is, up to 8,192 events. A row
// is written once per batch, however many of the events are its run's. Nothing
// is held in memory between batches.
//
// # On disk
//
// The directory has views.db, a bbolt file, and state, which says how far it can
// be trusted. Every entry ends in a seal, eight bytes of a SHA-256 over bucket,
// key and value, and is checked each time it is read. The bucket meta has one
// entry: the signature (the format and the views' versions), the cursor, a
// fingerprint of the event there, and for each bucket the number of its entries
// and the sum of their seals.
//
// Commits are not synced, so that following the log never makes a transition
// wait for the disk. A crash of the process is harmless: the kernel has every
// write, in order. A crash of the machine may leave anything, and so state says
// "dirty" and names the boot of the kernel before the first write, and "clean"
// only after a sync: at Close, and when nothing has happened for ten seconds.
//
// Open throws the file away, says so in the log of the program, and begins a new
// one if it is dirty under another boot, of another signature, ahead of the log,
// or if the event at its cursor is another than the log's; and if it is damaged.
// A file below 64 MiB is read whole to find that out: every page, every seal,
// every sum. Of a larger one, only the head and the list of free pages are, so
// that it opens at once. Damage that a read or a fold meets later has the same
// consequence, once per call. The last file thrown away stays beside the new one
// as views.db.discarded.
//
// # Known holes
//
// In a file above 64 MiB, a damaged branch page can hide entries from a look-up
// until the file is verified. [Views.Verify] finds any difference from the log.
//
// A row keeps what it took from an event whose payload was erased afterwards,
// until the views are built anew.
package projection
