package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

// ErrClosed is what Listen returns on a bus that is closed.
var ErrClosed = errors.New("bus: closed")

// channel is a Bus on watermill's Go channel. It is the only code that knows
// watermill.
//
// Publish of the Go channel never waits by itself, but starts goroutines that
// stay until every subscriber has taken the message and acknowledged it. So it
// is told to wait for the acknowledgements, one goroutine publishes, and
// subscribers acknowledge on receipt: there are never more messages under way
// than one.
type channel struct {
	pubsub *gochannel.GoChannel
	slog   *slog.Logger

	ctx       context.Context // ends when Close begins
	stop      context.CancelFunc
	publisher sync.WaitGroup
	listeners sync.WaitGroup
	kick      chan struct{} // holds one: something is pending

	mu      sync.Mutex
	heard   map[string]int    // by topic: how many listen
	pending map[string]string // by topic with listeners: the newest message that is not published
}

// New returns a Bus inside this process. Panics of listeners go to logger.
func New(logger *slog.Logger) Bus {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &channel{
		// Watermill tells of every subscription and every message to nobody at
		// level Info, which are details here.
		pubsub: gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true},
			watermill.NewSlogLoggerWithLevelMapping(logger, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})),
		slog: logger, ctx: ctx, stop: stop,
		kick:  make(chan struct{}, 1),
		heard: map[string]int{}, pending: map[string]string{},
	}
	b.publisher.Go(b.publish)
	return b
}

func (b *channel) Ring(topic, msg string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heard[topic] == 0 {
		return
	}
	b.pending[topic] = msg
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// publish carries what is pending to the listeners until the bus is closed.
func (b *channel) publish() {
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.kick:
		}
		b.mu.Lock()
		pending := b.pending
		b.pending = make(map[string]string, len(pending))
		b.mu.Unlock()
		for topic, msg := range pending {
			if err := b.pubsub.Publish(topic, message.NewMessage(watermill.NewUUID(), message.Payload(msg))); err != nil {
				b.slog.Error("a ring was lost", "topic", topic, "error", err)
			}
		}
	}
}

func (b *channel) Listen(ctx context.Context, topic string, f func(message string)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	messages, err := b.pubsub.Subscribe(ctx, topic)
	if err != nil {
		cancel()
		return fmt.Errorf("bus: listen to %s: %w", topic, err)
	}
	unhook := context.AfterFunc(b.ctx, cancel)
	b.heard[topic]++

	newest := make(chan string, 1) // what f is called with next
	b.listeners.Go(func() {
		defer cancel()
		defer unhook()
		defer close(newest)
		defer b.leave(topic)
		for m := range messages {
			m.Ack()
			select {
			case <-newest: // f is busy: it will get m instead
			default:
			}
			newest <- string(m.Payload)
		}
	})
	b.listeners.Go(func() {
		for msg := range newest {
			if ctx.Err() == nil {
				b.call(topic, f, msg)
			}
		}
	})
	return nil
}

func (b *channel) leave(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heard[topic]--; b.heard[topic] == 0 {
		delete(b.heard, topic)
		delete(b.pending, topic)
	}
}

// call calls f. A panic in it costs this one call.
func (b *channel) call(topic string, f func(string), msg string) {
	defer func() {
		if p := recover(); p != nil {
			b.slog.Error("a listener panicked", "topic", topic, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f(msg)
}

// Close may be called more than once, but not by a listener: it waits for them.
func (b *channel) Close() error {
	b.mu.Lock()
	b.stop()
	b.mu.Unlock()
	b.publisher.Wait()
	b.listeners.Wait()
	return b.pubsub.Close()
}
