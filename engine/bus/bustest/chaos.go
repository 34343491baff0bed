// Package bustest has a bus that breaks what a bus may break, for tests of what
// relies on one.
package bustest

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/wfd-dev/wfd/engine/bus"
)

// Chaos returns b with a third of its rings lost and a third of its calls of
// listeners doubled, the second one after whatever came in between. What happens
// to the nth ring and to the nth call follows from seed.
func Chaos(b bus.Bus, seed uint64) bus.Bus {
	return &chaos{Bus: b, rings: newDice(seed, 1), calls: newDice(seed, 2)}
}

type chaos struct {
	bus.Bus
	rings, calls *dice
}

func (c *chaos) Ring(topic, message string) {
	if !c.rings.hit() {
		c.Bus.Ring(topic, message)
	}
}

func (c *chaos) Listen(ctx context.Context, topic string, f func(string)) error {
	var late *string // a message that comes a second time
	return c.Bus.Listen(ctx, topic, func(message string) {
		f(message)
		if late != nil && ctx.Err() == nil {
			again := *late
			late = nil
			f(again)
		}
		if c.calls.hit() {
			late = &message
			c.Bus.Ring(topic, message)
		}
	})
}

// dice says yes to one in three.
type dice struct {
	mu   sync.Mutex
	rand *rand.Rand
}

func newDice(seed, stream uint64) *dice { return &dice{rand: rand.New(rand.NewPCG(seed, stream))} }

func (d *dice) hit() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rand.IntN(3) == 0
}
