// Package bus rings doorbells between the scheduler, the runners and the
// compactor. What is to be done stands in the log and its projections; a message
// says only that it may be worth looking. So a ring may be lost (nobody listens
// yet, the process dies) or doubled, and who listens must look by itself now and
// then, and find nothing gracefully.
//
//	b := bus.New(logger)
//	err := b.Listen(ctx, "tasks", func(queue string) { sweep() })
//	…
//	b.Ring("tasks", "default") // after the commit, once for all it brought
//	…
//	err = b.Close() // no listener runs any more
//
// Rings are coalesced twice: a topic that waits to be published is not published
// again, and a listener that is busy is called once for all that came meanwhile,
// with the newest message. Memory is therefore bounded by topics and listeners,
// whatever the number of rings, and a ringer never waits for a listener. A ring
// of a topic that nobody listens to leaves nothing behind.
//
// Inside one process messages travel over watermill's Go channel. A topic has at
// most one message under way: the one goroutine that publishes waits until every
// listener has acknowledged, which they do on receipt, before they act.
// Package bustest has a bus that loses and doubles messages.
package bus
