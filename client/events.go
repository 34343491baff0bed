package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
)

// Lines makes a request for a stream and returns its lines. A problem in the stream,
// and one that breaks off, ends it with an error.
func (c *Client) Lines(ctx context.Context, r Request) iter.Seq2[json.RawMessage, error] {
	r.Accept = "application/x-ndjson"
	return func(yield func(json.RawMessage, error) bool) {
		resp, err := c.Open(ctx, r)
		if err != nil {
			yield(nil, err)
			return
		}
		defer resp.Body.Close()
		lines := bufio.NewReaderSize(resp.Body, 64<<10)
		for {
			b, err := lines.ReadBytes('\n')
			b = bytes.TrimSpace(b)
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil && ctx.Err() != nil:
				err = ctx.Err()
			case err != nil:
				err = fmt.Errorf("%w: the stream broke off: %w", ErrUnreachable, err)
			case bytes.HasPrefix(b, []byte(`{"type":"`+typePrefix)):
				if p, ok := ParseProblem(b); ok {
					err = p
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if len(b) > 0 && !yield(b, nil) { // a beat is an empty line
				return
			}
		}
	}
}

// Follow is which events are followed.
type Follow struct {
	After uint64   // begin after this seq
	Kinds []string // only these; "node." stands for all that begin with it
	Stop  bool     // at the present end
}

// Events returns the events of a run until it has ended, or those of the whole log if
// run is empty. It goes on over a restart of the daemon, where it was. The sequence ends
// at the first error.
func (c *Client) Events(ctx context.Context, run string, f Follow) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := follower{c: c, run: run, after: f.After, kinds: f.Kinds, yield: yield}
		for stop := f.Stop; ; {
			err := c.insist(ctx, func() error {
				before := s.after
				err := s.read(ctx, !stop)
				if again, _ := Retryable(err); again && s.after > before {
					return nil // patience begins anew
				}
				return err
			})
			switch {
			case s.over:
				return
			case err == nil && stop && s.whole:
				return
			case err == nil && s.whole && run != "":
				// The stream ends with the run, and when the daemon does.
				var r *Run
				if r, err = c.Run(ctx, run); err == nil && r.Terminal() {
					stop = true // once more, for what came between
				}
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// follower reads one stream after the other.
type follower struct {
	c     *Client
	run   string
	after uint64 // the last seq that was shown
	kinds []string
	yield func(Event, error) bool
	over  bool // nobody looks any more
	whole bool // the last stream came to its end
}

func (s *follower) read(ctx context.Context, follow bool) error {
	path, how := "/v1/events", "always"
	if s.run != "" {
		path, how = runPath(s.run, "/events"), "true"
	}
	if !follow {
		how = "false"
	}
	s.whole = false
	q := url.Values{"follow": {how}, "cursor": {strconv.FormatUint(s.after, 10)}, "kind": s.kinds}
	for raw, err := range s.c.Lines(ctx, Request{Path: path, Query: q}) {
		var e Event
		if err == nil {
			err = json.Unmarshal(raw, &e)
		}
		if err != nil {
			return err
		}
		if !s.yield(e, nil) {
			s.over = true
			return nil
		}
		s.after = e.Seq
	}
	s.whole = true
	return nil
}
