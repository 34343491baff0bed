package mcpserver

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/wfd-dev/wfd/client"
)

const (
	// maxText is how much of an output is in an answer; the whole of it is in the
	// run's resource.
	maxText = 256 << 10
	// pollTime is how long one request waits for a run.
	pollTime = 20 * time.Second
	// returnTime is how long a daemon that went away has to come back.
	returnTime = 10 * time.Second
	againTime  = 200 * time.Millisecond
	// beatTime is how often a client is told that a run is still under way, though
	// nothing happens: some give up on a call that shows no progress.
	beatTime = 5 * time.Second
	// progressTime is the least time between two tellings.
	progressTime = 50 * time.Millisecond
)

// command makes a request that changes something, once: a daemon that goes away
// meanwhile is asked again with the same key.
func (s *Server) command(ctx context.Context, path string, body any) (*client.Run, error) {
	req := client.Request{Path: path, In: body, Key: "mcp-" + rand.Text()}
	var r client.Run
	var err error
	for end := time.Now().Add(returnTime); ; {
		if err = s.o.Client.Get(ctx, req, &r); !away(err) || time.Now().After(end) || !sleep(ctx, againTime) {
			return &r, err
		}
	}
}

// away reports whether an error says that the daemon is not there at the moment.
func away(err error) bool {
	var p *client.Problem
	return errors.Is(err, client.ErrUnreachable) || errors.As(err, &p) && p.Status == http.StatusServiceUnavailable
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// await waits until a run has ended, or only somebody outside can move it, or the time
// is up, and tells the client meanwhile what happens if it asked for that.
func (s *Server) await(ctx context.Context, req *sdk.CallToolRequest, r *client.Run, limit time.Duration) *sdk.CallToolResult {
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if token := req.Params.GetProgressToken(); token != nil {
		p := &progress{session: req.Session, token: token}
		p.tell(ctx, "run "+r.ID+" is "+r.Status)
		told := make(chan struct{})
		go func(id string, seq uint64) {
			defer close(told)
			p.follow(waiting, s.o.Client, id, seq)
		}(r.ID, r.Seq)
		defer func() {
			cancel()
			<-told
		}()
	}
	id, gone := r.ID, time.Time{}
	for !settled(r) && waiting.Err() == nil {
		q := url.Values{"wait": {min(limit, pollTime).String()}, "until": {"idle"}}
		var now client.Run
		err := s.o.Client.Get(waiting, client.Request{Path: runPath(id), Query: q}, &now)
		switch {
		case err == nil:
			*r, gone = now, time.Time{}
		case waiting.Err() != nil:
		case away(err) && (gone.IsZero() || time.Since(gone) < returnTime):
			if gone.IsZero() {
				gone = time.Now()
			}
			sleep(waiting, againTime)
		default:
			return failed(fmt.Errorf("run %s: %w", id, err))
		}
	}
	return s.told(ctx, r)
}

// settled reports whether nothing is to be expected from a run by itself.
func settled(r *client.Run) bool { return r.Terminal() || r.Status == "paused" || r.Idle }

// report is a run as answers have it.
type report struct {
	Run       string          `json:"run"`
	Workflow  string          `json:"workflow"`
	Status    string          `json:"status"`
	Output    json.RawMessage `json:"output,omitempty"`
	Error     *client.Failure `json:"error,omitempty"`
	Why       string          `json:"why,omitempty"`
	Questions []question      `json:"questions,omitempty"`
}

// question is what a run asks.
type question struct {
	Node   string          `json:"node"`
	Visit  int             `json:"visit"`
	Prompt string          `json:"prompt,omitempty"`
	Form   json.RawMessage `json:"form,omitempty"`
}

// told returns how a run stands, as an answer.
func (s *Server) told(ctx context.Context, r *client.Run) *sdk.CallToolResult {
	rep := report{Run: r.ID, Workflow: r.Workflow, Status: r.Status, Error: r.Error}
	var say []string
	switch {
	case r.Status == "completed":
		if rep.Output = r.Output; len(r.Output) > maxText {
			rep.Output = nil
			say = append(say, fmt.Sprintf("The output has %d bytes: read the resource %s.", len(r.Output), runURI(r.ID)))
		} else {
			say = append(say, plain(r.Output))
		}
		say = append(say, fmt.Sprintf("(run %s is completed)", r.ID))
	case r.Terminal():
		why := r.Why
		if r.Error != nil {
			why = r.Error.Class + ": " + r.Error.Message
		}
		say = append(say, fmt.Sprintf("Run %s is %s: %s", r.ID, r.Status, why))
	default:
		rep.Why = r.Why
		say = append(say, fmt.Sprintf("Run %s is %s. %s", r.ID, r.Status, r.Why))
		if len(r.Waits) > 0 {
			rep.Questions = s.questions(ctx, r.ID)
		}
		for _, q := range rep.Questions {
			say = append(say, fmt.Sprintf("Node %s asks: %s", q.Node, q.Prompt))
		}
		switch {
		case len(rep.Questions) > 0:
			say = append(say, "Answer it with wfd_answer.")
		case r.Status == "paused":
			say = append(say, "It goes on when somebody resumes it.")
		case r.Idle:
			say = append(say, "It goes on when somebody outside moves it.")
		default:
			say = append(say, "It goes on by itself: wait for it with wfd_await, and do not start it again.")
		}
	}
	result := &sdk.CallToolResult{StructuredContent: rep, IsError: r.Terminal() && r.Status != "completed"}
	for _, text := range say {
		result.Content = append(result.Content, &sdk.TextContent{Text: text})
	}
	return result
}

// plain is a value as text: a string is itself.
func plain(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil && s != "" {
		return s
	}
	return string(v)
}

// questions returns the open questions of a run. That they cannot be read is no reason
// not to tell how it stands.
func (s *Server) questions(ctx context.Context, id string) []question {
	var list client.List[question]
	if err := s.o.Client.Get(ctx, client.Request{Path: "/v1/inbox", Query: url.Values{"run": {id}}}, &list); err != nil {
		s.o.Logger.Info("the questions of a run cannot be read", "run", id, "error", err)
	}
	return list.Items
}

// failed is an answer that tells the client, and its model, what was wrong.
func failed(err error) *sdk.CallToolResult {
	text := err.Error()
	var p *client.Problem
	if errors.As(err, &p) {
		if p.Hint != "" {
			text += "\nhint: " + p.Hint
		}
	}
	return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: text}}}
}

func runPath(id string) string { return "/v1/runs/" + url.PathEscape(id) }

// progress tells a client what happens in the run that it waits for.
type progress struct {
	session *sdk.ServerSession
	token   any
	n       float64
	last    time.Time
}

// follow tells of a run's events after one, until ctx ends.
func (p *progress) follow(ctx context.Context, c *client.Client, id string, seq uint64) {
	events := make(chan string)
	go func() {
		defer close(events)
		q := url.Values{"follow": {"true"}, "cursor": {strconv.FormatUint(seq, 10)}, "kind": {"node.", "run.", "child.", "input.requested", "tool.called"}}
		for raw, err := range c.Lines(ctx, client.Request{Path: runPath(id) + "/events", Query: q}) {
			var e client.Event
			if err != nil || json.Unmarshal(raw, &e) != nil {
				return // what is missed is not told
			}
			select {
			case events <- saying(&e):
			case <-ctx.Done():
				return
			}
		}
	}()
	beat := time.NewTicker(beatTime)
	defer beat.Stop()
	for {
		select {
		case text, ok := <-events:
			if !ok {
				events = nil // the beat goes on
				continue
			}
			if time.Since(p.last) >= progressTime {
				p.tell(ctx, text)
			}
		case <-beat.C:
			p.tell(ctx, "run "+id+" is under way")
		case <-ctx.Done():
			if events != nil {
				for range events {
				}
			}
			return
		}
	}
}

func (p *progress) tell(ctx context.Context, text string) {
	p.n++
	p.last = time.Now()
	p.session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: p.token, Progress: p.n, Message: text}) // a client that has gone need not know
}

// saying is an event in a few words.
func saying(e *client.Event) string {
	var d struct {
		Node  string
		Visit int
		Tool  string
	}
	if json.Unmarshal(e.Data, &d) != nil || d.Node == "" {
		return e.Kind
	}
	text := e.Kind + " " + d.Node
	if d.Visit > 1 {
		text += "#" + strconv.Itoa(d.Visit)
	}
	if d.Tool != "" {
		text += " " + d.Tool
	}
	return text
}
