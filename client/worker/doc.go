// Package worker does the work of worker nodes: it asks a wfd daemon for tasks, calls
// handlers, and hands in what comes of it.
//
//	w := worker.New(c, worker.Options{Queues: []string{"images"}, Tasks: 4})
//	w.Handle("resize", func(ctx context.Context, t *worker.Task) (any, error) {
//		var in struct{ URL string; Width int }
//		if err := t.Decode(&in); err != nil {
//			return nil, err
//		}
//		return resize(ctx, in.URL, in.Width)
//	})
//	err := w.Run(ctx) // until ctx ends
//
// # What it promises
//
// A task may be handed out more than once, after a worker or a daemon died, and one
// result of it is recorded: what a handler does outside should be safe to do again, with
// [Task.Key] for services that take such a key.
//
// While a handler is at work its lease is renewed, whatever the handler does, also while
// the daemon is restarted. When the task is not this worker's any more the handler's
// context ends, with [ErrStale] or [ErrCancelled] as its cause, and what it returns is
// dropped. When the time of the node is over its context ends with [ErrDeadline].
//
// A result is sent until it is answered. If the daemon refuses it for what it is, as one
// that is too large, the task fails and says so.
//
// When Run's context ends, no more tasks are taken; what is under way may come to its
// end for [Options.Grace], then the contexts of the handlers end, with [ErrStopping] as
// their cause, and the tasks are released with their last checkpoint, for others to do
// at once. A handler that does not return when its context ends is waited for: a
// worker has to end its process if it cannot be sure of its handlers.
//
// A handler that panics fails its task.
//
// The protocol beneath is in docs/workers.md.
package worker
