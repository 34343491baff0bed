package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/access"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/backup"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/replay"
)

// Options of an API. Engine, Log and Views are required.
type Options struct {
	Engine *engine.Engine
	Log    eventlog.Log
	Views  *projection.Views
	// Audit proves the log to others; nil: it is not offered.
	Audit Audit
	// Agents are those of the engine; nil: they are not shown.
	Agents Agents
	// Backup returns what a backup is made of, with the log's private key or
	// without; nil: it is not offered.
	Backup func(withKey bool) backup.Source
	// DataKeys reads the key file of an encrypted data directory anew; nil: there is none.
	DataKeys func() (crypt.Keys, error)
	// Commit returns a channel that is closed at the next commit of the log.
	Commit func() <-chan struct{}
	// Ready returns why commands are not taken yet, nil once they are.
	Ready   func() error
	Version string
	// Auth lets nobody in who does not say who he is. Without, requests that bring no
	// token are the user's of this machine, and may do everything.
	Auth  bool
	Token string // of somebody who may do everything; "": there is none
	// Identify tells who brings a token that is none of the log: of an identity
	// provider. nil: nobody else is known.
	Identify func(ctx context.Context, token string) (access.Principal, error)
	Hosts    func() []string // names that requests may be addressed to; nil: any
	// Page are the handlers of the page by pattern. They show no data, so that they are
	// open without a token.
	Page map[string]http.Handler
	// Metrics count requests, and are shown at /metrics; nil: they are not.
	Metrics Metrics
	// Dev is what wfd dev has to say; nil: it is no wfd dev.
	Dev    *Dev
	Logger *slog.Logger
}

// Metrics are how the daemon does.
type Metrics interface {
	// Answered counts a request.
	Answered(operation string, status int, took time.Duration)
	Handler() http.Handler
}

// API is an http.Handler.
type API struct {
	o       Options
	mux     *http.ServeMux
	handler http.Handler
	spec    func() []byte // OpenAPI; made for the first who asks

	streams   chan struct{} // a place for each stream that is open
	backingUp chan struct{} // a place for the backup that is being made
	reels     reels
	open      map[string]bool // patterns that need no token
	own       map[string]bool // patterns that let in whom they let in: a token is nothing to them

	denied seldom // of what is logged about who was not let in

	drain    sync.Once
	draining chan struct{} // closed: streams and long polls come to an end
}

const (
	maxStreams   = 1000
	bodyLimit    = 1 << 20
	payloadLimit = eventlog.MaxPayload // of bodies that carry an input, a signal or an answer
	bodyTime     = 30 * time.Second    // for a body to arrive: 16 MiB over a slow line
)

// New returns the API of an engine.
func New(o Options) *API {
	a, h := newAPI(o)
	defs := replay.Registered(o.Log)
	a.health(h)
	a.workflows(h, defs)
	a.runs(h)
	a.commands(h)
	a.checkpoints(h)
	a.forks(h)
	a.events(h)
	a.lists(h)
	a.costs(h)
	a.replay(h, defs)
	a.audits(h)
	a.agents(h)
	a.backups(h)
	a.upkeep(h)
	a.tasks(h)
	a.capsules(h)
	a.dev(h)
	a.schedules(h)
	a.hooks(h)
	a.mux.HandleFunc("POST /v1/session", a.session)
	a.open["POST /v1/session"] = true
	a.mux.HandleFunc("DELETE /v1/session", a.endSession)
	a.open["DELETE /v1/session"] = true
	a.tokens(h)
	return a.serving(h)
}

// newAPI returns an API without operations.
func newAPI(o Options) (*API, huma.API) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	a := &API{
		o: o, mux: http.NewServeMux(), streams: make(chan struct{}, maxStreams), backingUp: make(chan struct{}, 1),
		draining: make(chan struct{}), reels: reels{now: time.Now}, own: map[string]bool{}, open: map[string]bool{"GET /livez": true, "GET /readyz": true},
	}
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	registry.RegisterTypeAlias(reflect.TypeFor[event.Value](), reflect.TypeFor[any]())
	registry.RegisterTypeAlias(reflect.TypeFor[event.Time](), reflect.TypeFor[time.Time]())
	registry.RegisterTypeAlias(reflect.TypeFor[json.RawMessage](), reflect.TypeFor[any]())
	h := humago.New(a.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI:    "3.1.0",
			Info:       &huma.Info{Title: "wfd", Version: o.Version, Description: "Durable execution of workflows of agents, people and services."},
			Components: &huma.Components{Schemas: registry},
		},
		Formats:       map[string]huma.Format{"application/json": strictJSON, "json": strictJSON},
		DefaultFormat: "application/json",
	})
	h.UseMiddleware(a.gate)
	return a, h
}

// serving returns the API ready to answer, once it has its operations.
func (a *API) serving(h huma.API) *API {
	a.spec = sync.OnceValue(func() []byte {
		b, err := json.Marshal(h.OpenAPI())
		if err != nil {
			panic("api: OpenAPI: " + err.Error()) // made of constants
		}
		return b
	})
	a.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Write(a.spec())
	})
	if a.o.Metrics != nil {
		a.mux.HandleFunc("GET /metrics", a.metrics)
	}
	for pattern, page := range a.o.Page {
		a.mux.Handle(pattern, page)
		a.open[pattern] = true
	}
	a.mux.HandleFunc("/", a.unknown)
	a.handler = a.guard(a.mux)
	return a
}

// schemaName names a type in the OpenAPI document: those of other packages after
// their package, too.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if pkg := path.Base(t.PkgPath()); t.PkgPath() != "" && pkg != "api" {
		return strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	return name
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Drain ends streams and long polls, so that a server that shuts down does not
// wait for them.
func (a *API) Drain() { a.drain.Do(func() { close(a.draining) }) }

// until returns a context that also ends when the API drains.
func (a *API) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-a.draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// operation describes one operation of the API.
type operation struct {
	method, path string
	id, summary  string
	status       int   // of the answer; 0: 200
	body         int64 // limit of the request's body; 0: bodyLimit
	tag          string
}

// register adds an operation whose errors become problems.
func register[I, O any](h huma.API, op operation, f func(context.Context, *I) (*O, error)) {
	needs(op.id) // or there is no such operation
	if op.body == 0 {
		op.body = bodyLimit
	}
	huma.Register(h, huma.Operation{
		Method: op.method, Path: op.path, OperationID: op.id, Summary: op.summary, DefaultStatus: op.status,
		MaxBodyBytes: op.body + 1, BodyReadTimeout: bodyTime, Tags: []string{op.tag},
	}, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, AsProblem(err)
		}
		return out, nil
	})
}

// answer is an answer with a body.
type answer[T any] struct{ Body T }

// List is a page of a list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next_cursor,omitempty" doc:"the cursor of the next page; absent at the end of the list"`
}

func listOf[T any](items []T, next string, err error) (*answer[List[T]], error) {
	if err != nil {
		return nil, err
	}
	return &answer[List[T]]{List[T]{Items: items, Next: next}}, nil
}

// Paged are the parameters of every list.
type Paged struct {
	Cursor string `query:"cursor" doc:"next_cursor of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"items per page"`
}

// pageOf is the page that is asked for of a list that is held whole. What name says of
// the page's last item is the cursor of the next.
func pageOf[T any](list []T, in *Paged, name func(T) string, err error) (*answer[List[T]], error) {
	if err == nil && in.Cursor != "" {
		i := slices.IndexFunc(list, func(v T) bool { return name(v) == in.Cursor })
		if i < 0 {
			err = projection.ErrCursor
		}
		list = list[i+1:]
	}
	next := ""
	if len(list) > in.Limit {
		list = list[:in.Limit]
		next = name(list[in.Limit-1])
	}
	return listOf(list, next, err)
}

// Keyed is the header of every request that changes a run.
type Keyed struct {
	Key string `header:"Idempotency-Key" maxLength:"256" doc:"a request repeated with the same key is done once"`
}

// OfRun names a run.
type OfRun struct {
	ID string `path:"id" doc:"a run's ID"`
}

func (r OfRun) id() (eventlog.RunID, error) {
	id, err := eventlog.ParseRunID(r.ID)
	if err != nil {
		return id, &Problem{Type: typeURI("not-found"), Detail: err.Error(), Hint: "see the list of runs"}
	}
	return id, nil
}

func by(ctx context.Context, k Keyed) engine.By {
	return engine.By{Actor: principal(ctx).Actor, Key: k.Key}
}
