package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/wfd-dev/wfd/client"
)

const (
	// DefaultWait is how long a call waits for a run: less than the minute after
	// which many clients give up.
	DefaultWait = 45 * time.Second
	// MaxWait is the longest that a client may ask to wait.
	MaxWait = 10 * time.Minute

	// maxSessions bounds the clients over HTTP at once, maxGuests the tokens that they bring:
	// who has not come for longest is forgotten.
	maxSessions = 256
	maxGuests   = 64
	// sessionTime is how long a client over HTTP may be silent.
	sessionTime = time.Hour
	// maxBody is how large a request may be: the largest input, and its envelope.
	maxBody = 17 << 20
)

// Options of a Server.
type Options struct {
	Client  *client.Client
	Wait    time.Duration // of a call for a run; 0: DefaultWait
	Version string
	Logger  *slog.Logger
}

// Server is wfd as a server of tools. Its methods may be called at the same time.
type Server struct {
	o   Options
	sdk *sdk.Server

	commands map[string]bool // by name

	ctx  context.Context // of the follower
	end  context.CancelFunc
	done sync.WaitGroup

	// Of the follower alone.
	offered map[string]offer // by name of workflow
}

// New returns a server of the workflows that are registered. It follows what is
// registered until Close. It fails if the API does not answer.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	s := &Server{o: o, commands: map[string]bool{}, offered: map[string]offer{}}
	s.sdk = sdk.NewServer(&sdk.Implementation{Name: "wfd", Title: "wfd workflows", Version: o.Version}, &sdk.ServerOptions{
		Instructions: instructions,
		Capabilities: &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{ListChanged: true}, Resources: &sdk.ResourceCapabilities{}},
		Logger:       slog.New(slog.DiscardHandler), // it tells of every request
		SetCacheable: func(_ context.Context, _ sdk.Request, c *sdk.Cacheable) { c.CacheScope = "private" },
	})
	s.addCommands()
	s.addResources()
	head, err := s.head(ctx)
	if err == nil {
		err = s.offer(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.done.Go(func() { s.follow(head) })
	return s, nil
}

const instructions = `Each workflow of this wfd is a tool: calling it starts a durable run and waits for the result.
A run that takes longer is answered with its ID; wait for it with wfd_await. A run that asks a question waits for wfd_answer.
Runs survive everything: do not start one again because a call took long or broke off; look with wfd_runs.`

// Close ends the following. Sessions end with their connections.
func (s *Server) Close() {
	s.end()
	s.done.Wait()
}

// Stdio serves one client over a pair of streams until it closes them, or ctx ends.
func (s *Server) Stdio(ctx context.Context, in io.Reader, out io.Writer) error {
	w := &closing{Writer: out}
	err := s.sdk.Run(ctx, &sdk.IOTransport{Reader: io.NopCloser(in), Writer: w, MaxLineLength: maxBody})
	if errors.Is(err, io.EOF) || ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// closing is a writer that is not closed.
type closing struct{ io.Writer }

func (*closing) Close() error { return nil }

// head returns the last event of the log.
func (s *Server) head(ctx context.Context) (uint64, error) {
	var h struct{ Head uint64 }
	err := s.o.Client.Get(ctx, client.Request{Path: "/livez"}, &h)
	return h.Head, err
}

// retryTime is how long the follower waits for an API that does not answer.
const retryTime = 2 * time.Second

// follow changes the list of tools with what is registered after an event.
func (s *Server) follow(after uint64) {
	for s.ctx.Err() == nil {
		seq, err := s.registered(after)
		if err == nil {
			after = seq
			err = s.offer(s.ctx)
		}
		if err == nil || s.ctx.Err() != nil {
			continue
		}
		if statusOf(err) == http.StatusUnauthorized {
			return // the token was revoked; its requests are refused
		}
		s.o.Logger.Info("the workflows cannot be followed; trying again", "error", err)
		select {
		case <-time.After(retryTime):
		case <-s.ctx.Done():
		}
	}
}

// registered waits until a definition is registered after an event, and returns its
// event's seq.
func (s *Server) registered(after uint64) (uint64, error) {
	q := url.Values{"follow": {"always"}, "cursor": {strconv.FormatUint(after, 10)}, "kind": {"definition.registered"}}
	for raw, err := range s.o.Client.Lines(s.ctx, client.Request{Path: "/v1/events", Query: q}) {
		if err != nil {
			return 0, err
		}
		var e client.Event
		if err := json.Unmarshal(raw, &e); err != nil {
			return 0, err
		}
		return e.Seq, nil
	}
	return 0, fmt.Errorf("%w: the stream of events ended", client.ErrUnreachable)
}
