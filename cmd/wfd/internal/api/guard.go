package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
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
		if _, inside := r.Context().Value(actorKey{}).(string); inside {
			next.ServeHTTP(w, r)
			return
		}
		if !a.knownHost(r.Host) {
			writeProblem(w, problem("forbidden", fmt.Sprintf("the request is addressed to %q, which is not this daemon", r.Host), "use 127.0.0.1 or localhost"))
			return
		}
		if err := sites.Check(r); err != nil {
			writeProblem(w, problem("forbidden", err.Error(), "requests from other sites are not accepted"))
			return
		}
		actor := "api:local"
		if a.o.Token != "" {
			actor = "api:token"
			if _, pattern := a.mux.Handler(r); !a.open[pattern] && !a.hasToken(r) && !a.hasSession(r) {
				writeProblem(w, problem("unauthorized", "the request has no token, or a wrong one", "send Authorization: Bearer <token>; the CLI takes --token or WFD_TOKEN"))
				return
			}
		}
		if err := a.o.Ready(); err != nil && strings.HasPrefix(r.URL.Path, "/v1/") {
			p := problem("starting", err.Error(), "wait until /readyz is green")
			p.retryAfter = "1"
			writeProblem(w, p)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), actorKey{}, actor)))
	})
}

// knownHost keeps pages out that have their own name point to this address.
func (a *API) knownHost(host string) bool {
	if a.o.Hosts == nil {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return slices.Contains(a.o.Hosts, strings.ToLower(host))
}

func (a *API) hasToken(r *http.Request) bool {
	given := r.Header.Values("Authorization")
	if len(given) != 1 {
		return false
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	return sameToken(token, a.o.Token)
}

// sameToken compares hashes, of equal length, so that the time it takes tells nothing.
func sameToken(given, token string) bool {
	have, want := sha256.Sum256([]byte(strings.TrimSpace(given))), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(have[:], want[:]) == 1
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
