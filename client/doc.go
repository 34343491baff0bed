// Package client speaks to a wfd daemon over its HTTP API: it registers definitions,
// starts runs, waits for them, follows their events, and sends signals and answers.
// Programs that do the work of worker nodes use [github.com/wfd-dev/wfd/client/worker].
//
//	c, err := client.New("127.0.0.1:7117")
//	...
//	run, err := c.Start(ctx, "review-loop", client.Start{Input: map[string]any{"topic": "tides"}})
//	...
//	run, err = c.Wait(ctx, run.ID)
//	if err == nil {
//		err = run.Err() // what it failed with
//	}
//
// # What it promises
//
// A request that changes something carries an Idempotency-Key, and is sent again with
// the same one while the daemon cannot be reached, starts, or is busy, until the client
// has been patient for as long as [Patience] says. So it is done once, whatever happens
// to the daemon or to the connection; a program that may itself be started again passes
// a key of its own with [Key].
//
// [Client.Wait] and [Client.Events] go on over a restart of the daemon. No event of a
// stream is missed or shown twice.
//
// Giving up on a request, by its context, does not undo it.
//
// # Errors
//
// What the daemon refuses is a *[Problem], which says what is wrong and what to do.
// Use errors.Is with [ErrNotFound], [ErrRefused] and their like for what a program may
// want to tell apart, and with [ErrUnreachable] for a daemon that does not answer.
//
// Schedules and hooks are made and looked at with [Client.SetTrigger] and its like.
//
// What this package has no method for can be asked with [Client.Get]; /openapi.json of
// the daemon lists all there is. It imports nothing but the standard library.
package client
