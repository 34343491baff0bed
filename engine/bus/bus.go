package bus

import "context"

// Bus carries doorbells between the parts of the engine. A message only says
// that there may be something to look at: losing or doubling one changes when a
// part looks, never what it finds.
type Bus interface {
	// Ring tells the listeners of topic that there may be work. It never blocks
	// and never fails: a bell that is already ringing is not rung again.
	Ring(topic string, message string)

	// Listen calls f, one call at a time, after a Ring of topic, with the newest
	// message. Rings that arrive while f runs are one further call. It returns
	// once it listens; f is no longer called once ctx is done.
	Listen(ctx context.Context, topic string, f func(message string)) error

	// Close stops all listeners and waits for them. Rings that come later are
	// nothing.
	Close() error
}
