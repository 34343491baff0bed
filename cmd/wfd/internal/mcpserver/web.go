package mcpserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/gate"
)

// Door says who is let in over HTTP.
type Door struct {
	Hosts func() []string // names that requests may be addressed to
	// API returns a way to the API for who brings a token; "": for who brings none.
	API func(token string) (*client.Client, error)
}

// Web serves clients over HTTP, each in a session of its own. Who they are, what they see
// and what they may do is decided by the API, which is asked with the token that each
// request brings: here is no other rule, and no session of one token is reached by another.
type Web struct {
	o     Options
	d     Door
	sites *http.CrossOriginProtection

	mu     sync.Mutex
	guests map[[sha256.Size]byte]*guest // by hash of their token
}

// guest is whoever brings a token.
type guest struct {
	server  *Server
	handler http.Handler
	came    time.Time // last
}

// NewWeb returns a Web; its options need no client.
func NewWeb(o Options, d Door) *Web {
	return &Web{o: o, d: d, sites: http.NewCrossOriginProtection(), guests: map[[sha256.Size]byte]*guest{}}
}

// Close forgets everybody.
func (w *Web) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.guests {
		g.server.Close()
	}
	clear(w.guests)
}

// ServeHTTP implements http.Handler. Requests for another host, and from pages of other
// sites, are refused, as is who brings a token that the API refuses.
func (w *Web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !gate.Addressed(w.d.Hosts(), r.Host) {
		http.Error(rw, fmt.Sprintf("the request is addressed to %q, which is not this server", r.Host), http.StatusForbidden)
		return
	}
	// The protocol asks for the origin of every request to be looked at, also of
	// those that only read.
	asPost := *r
	asPost.Method = http.MethodPost
	if err := w.sites.Check(&asPost); err != nil {
		http.Error(rw, err.Error(), http.StatusForbidden)
		return
	}
	g, err := w.guest(r.Context(), r.Header.Values("Authorization"))
	if err != nil {
		status := statusOf(err)
		if status == http.StatusUnauthorized {
			rw.Header().Set("WWW-Authenticate", `Bearer realm="wfd"`)
		}
		http.Error(rw, err.Error(), status)
		return
	}
	g.handler.ServeHTTP(rw, r)
}

var errForm = &client.Problem{Status: http.StatusUnauthorized, Detail: "the request has no token in the form that is wanted"}

// guest returns whoever brings a token, if the API lets him in at this moment.
func (w *Web) guest(ctx context.Context, given []string) (*guest, error) {
	token := ""
	if len(given) > 0 {
		scheme, rest, _ := strings.Cut(given[0], " ")
		if token = strings.TrimSpace(rest); len(given) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
			return nil, errForm
		}
	}
	key := sha256.Sum256([]byte(token))
	w.mu.Lock()
	g := w.guests[key]
	if g != nil {
		g.came = time.Now()
	}
	w.mu.Unlock()
	if g != nil {
		// The token may have been revoked since.
		return g, g.server.o.Client.Get(ctx, client.Request{Path: "/v1/workflows", Query: url.Values{"limit": {"1"}}}, &struct{}{})
	}
	o := w.o
	var err error
	if o.Client, err = w.d.API(token); err != nil {
		return nil, err
	}
	s, err := New(ctx, o)
	if err != nil {
		return nil, err
	}
	return w.admit(key, s), nil
}

// admit makes a guest of a server, unless there is one meanwhile.
func (w *Web) admit(key [sha256.Size]byte, s *Server) *guest {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.guests[key]; g != nil {
		s.Close()
		return g
	}
	if len(w.guests) >= maxGuests {
		var oldest [sha256.Size]byte
		for k, g := range w.guests {
			if o := w.guests[oldest]; o == nil || g.came.Before(o.came) {
				oldest = k
			}
		}
		w.guests[oldest].server.Close()
		delete(w.guests, oldest)
	}
	g := &guest{server: s, came: time.Now()}
	g.handler = sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server {
		if w.sessions() >= maxSessions {
			return nil
		}
		return s.sdk
	}, &sdk.StreamableHTTPOptions{SessionTimeout: sessionTime, MaxRequestBodyBytes: maxBody})
	w.guests[key] = g
	return g
}

// sessions counts those of everybody.
func (w *Web) sessions() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.guests {
		for range g.server.sdk.Sessions() {
			n++
		}
	}
	return n
}

// statusOf returns what the API said, or that it could not be asked.
func statusOf(err error) int {
	var p *client.Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return http.StatusServiceUnavailable
}
