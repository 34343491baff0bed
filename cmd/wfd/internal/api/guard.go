package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/gate"
	"github.com/wfd-dev/wfd/engine/access"
	"github.com/wfd-dev/wfd/eventlog"
)

// guard lets in what may come in, and makes every error a problem.
func (a *API) guard(next http.Handler) http.Handler {
	sites := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				a.o.Logger.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				writeProblem(w, problem("internal", "the request could not be served; the daemon's log says why", ""))
			}
		}()
		if who, inside := r.Context().Value(principalKey{}).(access.Principal); inside {
			if r, ok := a.enter(w, r, who); ok {
				next.ServeHTTP(w, r)
			}
			return
		}
		if a.o.Hosts != nil && !gate.Addressed(a.o.Hosts(), r.Host) {
			writeProblem(w, problem("forbidden", fmt.Sprintf("the request is addressed to %q, which is not this daemon", r.Host), "use 127.0.0.1 or localhost, or a name that the daemon was given with --host"))
			return
		}
		if err := sites.Check(r); err != nil {
			writeProblem(w, problem("forbidden", err.Error(), "requests from other sites are not accepted"))
			return
		}
		who, err := a.whoIs(r)
		if err != nil {
			a.o.Logger.Debug("a request was not let in", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr, "error", err)
			p := AsProblem(err)
			if a.o.Metrics != nil {
				a.o.Metrics.Answered("none", p.Status, 0) // before it is known what was asked for
			}
			writeProblem(w, p)
			return
		}
		if err := a.o.Ready(); err != nil && (strings.HasPrefix(r.URL.Path, "/v1/") || strings.HasPrefix(r.URL.Path, "/hooks/")) {
			p := problem("starting", err.Error(), "wait until /readyz is green")
			p.retryAfter = "1"
			writeProblem(w, p)
			return
		}
		if r, ok := a.enter(w, r, who); ok {
			next.ServeHTTP(w, r)
		}
	})
}

// asks reports whether those who do not say who they are are kept out.
func (a *API) asks() bool { return a.o.Auth || a.o.Token != "" }

// whoIs returns whoever makes a request. The name never comes from the request, but
// from what it proves.
func (a *API) whoIs(r *http.Request) (access.Principal, error) {
	_, pattern := a.mux.Handler(r)
	if a.own[pattern] {
		return access.Principal{}, nil
	}
	if given := r.Header.Values("Authorization"); len(given) > 0 {
		scheme, token, _ := strings.Cut(given[0], " ")
		if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") {
			return access.Principal{}, unauthorized("the request has no token in the form that is wanted")
		}
		return a.bearer(r, strings.TrimSpace(token))
	}
	if who, ok, err := certified(r); ok || err != nil {
		return who, err
	}
	if a.open[pattern] {
		return access.Principal{}, nil
	}
	if !a.asks() {
		return access.Principal{Actor: "api:local", Scopes: access.Scopes{access.Admin}}, nil
	}
	if token := sessionToken(r); token != "" {
		return a.bearer(r, token)
	}
	return access.Principal{}, unauthorized("the request has no token")
}

// bearer returns whoever brings a token.
func (a *API) bearer(r *http.Request, token string) (access.Principal, error) {
	if a.o.Token != "" && access.Same(token, a.o.Token) {
		return access.Principal{Actor: "api:token", Scopes: access.Scopes{access.Admin}}, nil
	}
	who, err := a.o.Engine.Admit(token)
	if errors.Is(err, access.ErrDenied) && a.o.Identify != nil && strings.Count(token, ".") == 2 {
		who, err = a.o.Identify(r.Context(), token)
	}
	if errors.Is(err, access.ErrDenied) {
		if ok, left := a.denied.may(time.Now()); ok {
			a.o.Logger.Warn("a token was not let in", "path", r.URL.Path, "from", r.RemoteAddr, "error", err, "before_it", left)
		}
		return who, unauthorized("the token is not good: it was never made here, has expired or was revoked")
	}
	return who, err
}

// seldom lets something be logged once in a while, whoever makes it happen how often.
type seldom struct {
	mu   sync.Mutex
	next time.Time
	left int
}

const seldomTime = time.Second

// may reports whether it may be logged now, and how often it was not since it last was.
func (s *seldom) may(now time.Time) (ok bool, left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		s.left++
		return false, 0
	}
	left, s.left, s.next = s.left, 0, now.Add(seldomTime)
	return true, left
}

// certified returns whoever a client certificate names, if it says what he may do: its
// common name is his, and an organization wfd:read, say, is a scope, wfd:namespace=team-a
// the namespace that he is kept to. It was verified with the connection.
func certified(r *http.Request) (who access.Principal, ok bool, err error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return who, false, nil
	}
	subject := r.TLS.VerifiedChains[0][0].Subject
	for _, o := range subject.Organization {
		if said, ok := strings.CutPrefix(o, "wfd:"); ok {
			if _, err := who.Grant(said); err != nil {
				return who, false, unauthorized("the certificate is not good: " + err.Error())
			}
		}
	}
	who.Actor = "cert:" + subject.CommonName
	return who, subject.CommonName != "" && len(who.Actor) <= eventlog.MaxActor && len(who.Scopes) > 0, nil
}

func unauthorized(detail string) *Problem {
	return problem("unauthorized", detail, "send Authorization: Bearer <token>; the CLI takes --token or WFD_TOKEN")
}

// unknown answers what no operation is for.
func (a *API) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{"GET", "POST"} {
		try := r.Clone(r.Context())
		try.Method = m
		if _, pattern := a.mux.Handler(try); pattern != "/" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeProblem(w, problem("method-not-allowed", fmt.Sprintf("%s is not allowed here; %s is", r.Method, strings.Join(allowed, " and ")), ""))
		return
	}
	writeProblem(w, problem("not-found", fmt.Sprintf("nothing is at %s", r.URL.Path), "see /openapi.json"))
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) // a client that has gone needs no answer
}
