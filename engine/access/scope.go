package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/projection/event"
)

// ErrInvalid marks a scope, a name or a time that a token cannot have.
var ErrInvalid = errors.New("invalid")

// Scope is a right.
type Scope string

// The rights. Each includes what stands behind it in parentheses.
const (
	Read    Scope = "read"    // look at everything: runs, events, definitions, costs, proofs
	Run     Scope = "run"     // start runs, send signals, answer questions (read)
	Operate Scope = "operate" // definitions, pause, resume, cancel, retry, fork, restore, budgets, retention (run, read)
	Worker  Scope = "worker"  // be handed tasks and hand in their results; nothing else
	Admin   Scope = "admin"   // everything: tokens, keys, backups, imports, erasures
)

// All are the scopes, from the least to the most.
var All = []Scope{Read, Run, Operate, Worker, Admin}

// includes says what a scope allows besides itself.
var includes = map[Scope][]Scope{
	Run:     {Read},
	Operate: {Run, Read},
	Admin:   {Operate, Run, Read, Worker},
}

// Scopes are what somebody may do.
type Scopes []Scope

// Allow reports whether want is among the scopes, or included in one of them.
func (s Scopes) Allow(want Scope) bool {
	for _, have := range s {
		if have == want || slices.Contains(includes[have], want) {
			return true
		}
	}
	return false
}

// String returns the scopes, as "read,worker".
func (s Scopes) String() string { return strings.Join(s.Strings(), ",") }

// Strings returns the scopes as events have them.
func (s Scopes) Strings() []string {
	out := make([]string, len(s))
	for i, scope := range s {
		out[i] = string(scope)
	}
	return out
}

// ParseScopes reads scopes, of which there must be one at least.
func ParseScopes(names []string) (Scopes, error) {
	var s Scopes
	for _, name := range names {
		scope := Scope(strings.ToLower(strings.TrimSpace(name)))
		if !slices.Contains(All, scope) {
			return nil, fmt.Errorf("%w: %q is not a scope; there are %v", ErrInvalid, name, Scopes(All))
		}
		if !slices.Contains(s, scope) {
			s = append(s, scope)
		}
	}
	if len(s) == 0 {
		return nil, fmt.Errorf("%w: no scope; there are %v", ErrInvalid, Scopes(All))
	}
	return s, nil
}

// Principal is whoever makes a request.
type Principal struct {
	Actor  string // of the events that he causes, as "token:ci"
	Scopes Scopes
	// Only is the namespace that he is kept to; nil: he may be in any.
	Only *event.Namespace
}

// NamespacePrefix begins what a certificate, or a token of an identity provider, says
// of the namespace that it is kept to, among its scopes: namespace=team-a.
const NamespacePrefix = "namespace="

// Grant adds what a certificate or a token of an identity provider says, without its
// wfd: before it: a scope or a namespace. It reports whether it is one of these, and
// fails where two namespaces are named.
func (p *Principal) Grant(said string) (ok bool, err error) {
	name, ok := strings.CutPrefix(said, NamespacePrefix)
	if !ok {
		if ok = slices.Contains(All, Scope(said)); ok {
			p.Scopes = append(p.Scopes, Scope(said))
		}
		return ok, nil
	}
	n, err := event.ParseNamespace(name)
	if err != nil || name == "" || p.Only != nil && *p.Only != n {
		return false, fmt.Errorf("%w: it is kept to namespace %.80q, and to no other", ErrDenied, name)
	}
	p.Only = &n
	return true, nil
}
