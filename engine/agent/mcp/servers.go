package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/projection/event"
)

const (
	connectTime = 30 * time.Second
	firstWait   = time.Second
	longestWait = time.Minute
	// quietTime is how long a server has to have lived for its end to be no failure
	// to start.
	quietTime  = time.Minute
	maxTools   = 1000
	maxMessage = 8 << 20
	maxContent = 4 << 20 // of one result
)

// Servers implements agent.Tools with the servers of a file.
type Servers struct {
	names   []string
	policy  sandbox.Policy
	by      map[string]*server
	secrets *secret.Store
	slog    *slog.Logger
	version string

	ctx  context.Context // of every server
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Open returns the tools of servers, which are not connected to yet. Their programs are held
// to a policy.
func Open(list []Server, policy sandbox.Policy, secrets *secret.Store, logger *slog.Logger, version string) *Servers {
	s := &Servers{names: sorted(list), by: map[string]*server{}, policy: policy, secrets: secrets, slog: logger, version: version}
	s.ctx, s.stop = context.WithCancel(context.Background())
	for _, c := range list {
		s.by[c.Name] = &server{all: s, config: c}
	}
	return s
}

// Close ends every server and waits for it.
func (s *Servers) Close() {
	s.stop()
	for _, v := range s.by {
		v.disconnect()
	}
	s.wg.Wait()
}

// server is one server.
type server struct {
	all    *Servers
	config Server

	connecting sync.Mutex // held while somebody connects

	mu      sync.Mutex
	session *sdk.ClientSession // nil: not connected
	tools   []agent.ToolInfo   // nil: to be asked for
	level   sandbox.Level      // of the program; "": there is none
	began   time.Time          // of session
	wait    time.Duration      // after the next failure
	after   time.Time          // not before then
	why     error              // the last failure
}

// Find implements agent.Tools.
func (s *Servers) Find(ctx context.Context, patterns []string) ([]agent.ToolInfo, error) {
	var found []agent.ToolInfo
	for _, name := range s.names {
		if !mayHave(patterns, name) {
			continue
		}
		v := s.by[name]
		tools, err := v.list(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range tools {
			if stands(patterns, name, t.Name) {
				found = append(found, t)
			}
		}
	}
	return found, nil
}

// mayHave reports whether a server may have a tool that a pattern stands for.
func mayHave(patterns []string, name string) bool {
	for _, p := range patterns {
		server, _, ok := strings.Cut(p, "/")
		if m, err := path.Match(server, name); !ok || err == nil && m {
			return true
		}
	}
	return false
}

// stands reports whether a pattern stands for a tool.
func stands(patterns []string, server, tool string) bool {
	for _, p := range patterns {
		of, name, ok := strings.Cut(p, "/")
		if !ok {
			of, name = "*", p
			if p == server {
				return true
			}
		}
		a, _ := path.Match(of, server)
		b, _ := path.Match(name, tool)
		if a && b {
			return true
		}
	}
	return false
}

// list returns the tools of a server that may be used.
func (v *server) list(ctx context.Context) ([]agent.ToolInfo, error) {
	session, err := v.connect(ctx)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	tools := v.tools
	v.mu.Unlock()
	if tools != nil {
		return tools, nil
	}
	tools = []agent.ToolInfo{}
	for t, err := range session.Tools(ctx, nil) {
		if err != nil {
			return nil, v.failed(ctx, session, err)
		}
		if len(v.config.Tools) > 0 && !stands(v.config.Tools, v.config.Name, t.Name) {
			continue
		}
		if len(tools) == maxTools {
			return nil, v.failure(event.ClassToolFailed, "it has more than %d tools", maxTools)
		}
		schema, _ := t.InputSchema.(map[string]any)
		if schema == nil {
			schema = map[string]any{"type": "object"}
		}
		tools = append(tools, agent.ToolInfo{Server: v.config.Name, Name: t.Name, Description: t.Description, Schema: schema})
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.session == session {
		v.tools = tools
	}
	return tools, nil
}

// Call implements agent.Tools.
func (s *Servers) Call(ctx context.Context, name, tool string, arguments map[string]any) (agent.ToolOutcome, error) {
	v := s.by[name]
	if v == nil {
		return agent.ToolOutcome{}, &agent.Failure{Class: event.ClassNotFound, Message: "there is no MCP server " + name, Again: new(bool)}
	}
	session, err := v.connect(ctx)
	if err != nil {
		return agent.ToolOutcome{}, err
	}
	if arguments == nil {
		arguments = map[string]any{}
	}
	r, err := session.CallTool(ctx, &sdk.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		return agent.ToolOutcome{}, v.failed(ctx, session, err)
	}
	out, err := v.outcome(r)
	v.mu.Lock()
	defer v.mu.Unlock()
	out.Sandbox = string(v.level)
	return out, err
}

// outcome turns a result into what a tool said.
func (v *server) outcome(r *sdk.CallToolResult) (agent.ToolOutcome, error) {
	var text strings.Builder
	for _, c := range r.Content {
		var piece string
		switch c := c.(type) {
		case *sdk.TextContent:
			piece = c.Text
		default:
			b, err := json.Marshal(c)
			if err != nil {
				continue
			}
			piece = string(b)
		}
		if text.Len()+len(piece) > maxContent {
			return agent.ToolOutcome{}, v.failure(event.ClassToolFailed, "its result has more than %d bytes", maxContent)
		}
		if text.Len() > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(piece)
	}
	out := agent.ToolOutcome{Text: strings.ToValidUTF8(text.String(), "\uFFFD"), Failed: r.IsError}
	if r.StructuredContent != nil {
		b, err := json.Marshal(r.StructuredContent)
		if err == nil && len(b) <= maxContent {
			out.JSON, err = event.DecodeJSON(b)
		}
		if err != nil {
			return out, v.failure(event.ClassToolFailed, "its result is no value: %v", err)
		}
	} else if x, err := event.DecodeJSON([]byte(out.Text)); err == nil {
		out.JSON = x
	}
	return out, nil
}

func (v *server) failure(class, format string, args ...any) *agent.Failure {
	return &agent.Failure{Class: class, Message: "MCP server " + v.config.Name + ": " + fmt.Sprintf(format, args...)}
}

// failed returns what an error of a session means: the server's own refusal, or that it
// has gone.
func (v *server) failed(ctx context.Context, session *sdk.ClientSession, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var refused *jsonrpc.Error
	if errors.As(err, &refused) {
		f := v.failure(event.ClassToolFailed, "%s", refused.Message)
		f.Again = new(bool)
		return f
	}
	v.drop(session, err)
	return v.failure(event.ClassUnavailable, "%v", err)
}

// drop forgets a session that has ended.
func (v *server) drop(session *sdk.ClientSession, err error) {
	v.mu.Lock()
	if v.session != session {
		v.mu.Unlock()
		return
	}
	v.session, v.tools = nil, nil
	if time.Since(v.began) > quietTime {
		v.wait = 0
	}
	v.delay(err)
	v.mu.Unlock()
	session.Close()
}

// delay puts off the next connection: the first failure is forgiven. Called with mu
// held.
func (v *server) delay(err error) {
	v.after, v.why = time.Now().Add(v.wait), err
	v.wait = min(max(2*v.wait, firstWait), longestWait)
	v.all.slog.Warn("an MCP server has gone", "server", v.config.Name, "error", err)
}

func (v *server) disconnect() {
	v.mu.Lock()
	session := v.session
	v.session = nil
	v.mu.Unlock()
	if session != nil {
		session.Close()
	}
}

// connect returns the session with the server, and begins one if there is none.
func (v *server) connect(ctx context.Context) (*sdk.ClientSession, error) {
	v.connecting.Lock()
	defer v.connecting.Unlock()
	v.mu.Lock()
	session, after, why := v.session, v.after, v.why
	v.mu.Unlock()
	if session != nil {
		return session, nil
	}
	if left := time.Until(after); left > 0 {
		f := v.failure(event.ClassUnavailable, "it is tried again in %s: %v", left.Round(100*time.Millisecond), why)
		f.After = left
		return nil, f
	}
	if v.all.ctx.Err() != nil {
		return nil, v.failure(event.ClassUnavailable, "the daemon is stopping")
	}
	transport, end, err := v.transport()
	if err != nil {
		return nil, err
	}
	client := sdk.NewClient(&sdk.Implementation{Name: "wfd", Version: v.all.version}, &sdk.ClientOptions{
		Capabilities: &sdk.ClientCapabilities{},
		ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.tools = nil
		},
	})
	began, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	session, err = client.Connect(began, transport, nil)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		if ended := end(); ended != nil {
			err = ended
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		v.delay(err)
		return nil, v.failure(event.ClassUnavailable, "cannot connect: %v", err)
	}
	v.session, v.began = session, time.Now()
	v.all.wg.Go(func() {
		err := session.Wait()
		if ended := end(); ended != nil {
			err = ended
		}
		v.drop(session, errors.Join(errors.New("the connection ended"), err))
	})
	return session, nil
}
