package roster

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wfd-dev/wfd/engine/workflow"
)

const (
	// MaxAgents is how many files a directory of agents may have.
	MaxAgents = 1000

	// maxSpawned bounds the generic agents that definitions can call into being.
	maxSpawned = 1000
	// maxAlike is how many names an ambiguity lists.
	maxAlike = 10
	// maxVersions is how many definitions are kept that may still be at work.
	maxVersions = 4 * MaxAgents
)

var (
	// ErrNotFound: no agent has that name or role.
	ErrNotFound = errors.New("no such agent")
	// ErrAmbiguous: a name fits several agents, which the error lists.
	ErrAmbiguous = errors.New("name is ambiguous")
)

// Defaults complete what agents leave out.
type Defaults struct {
	Provider string            // "" = sim
	Models   map[string]string // by provider
}

// Options of a Roster.
type Options struct {
	Dir      string // of agent files; "" = none
	Defaults Defaults
	// StandIn has a generic agent of the provider sim stand in for every name that
	// nobody has, so that anything can be tried.
	StandIn bool
	// NoSpawn refuses a role that nobody has, instead of giving it a generic agent.
	NoSpawn bool
}

// Change is an agent that came, went, or became another.
type Change struct {
	What  string // spawned, changed or despawned
	Agent *Agent
}

// What happens to agents.
const (
	Spawned   = "spawned"
	Changed   = "changed"
	Despawned = "despawned"
)

// Roster is the set of agents. It is safe for concurrent use.
type Roster struct {
	o Options

	refresh sync.Mutex      // one look at the directory at a time
	seen    map[string]look // guarded by refresh; by file name

	mu       sync.Mutex
	byID     map[string]*Agent
	names    map[string][]string // IDs by folded name
	words    map[string][]string // IDs by the words that a folded name begins with
	roles    map[string][]string // IDs, sorted
	versions map[string]*Agent   // by hash: what may be at work
	spawned  int                 // generic agents
	work     map[string]*work    // by ID
	clock    uint64              // of choices
	announce func(Change)

	calls atomic.Bool // an agent has had workflows as tools: their runs may be there
}

// CallsWorkflows reports whether any agent has, or has had, a workflow as a tool.
func (r *Roster) CallsWorkflows() bool { return r.calls.Load() }

// New returns a roster of the built-in agents and those of a directory. Problems are
// what is worth knowing about the files; the error is all that is wrong with them, a
// workflow.Problems, or with the directory.
func New(o Options) (*Roster, workflow.Problems, error) {
	o.Defaults.Provider = cmp.Or(o.Defaults.Provider, Sim)
	r := &Roster{
		o: o, seen: map[string]look{}, byID: map[string]*Agent{}, versions: map[string]*Agent{},
		work: map[string]*work{}, announce: func(Change) {},
	}
	for _, a := range builtIn() {
		r.byID[a.ID] = a
	}
	r.index()
	_, problems, err := r.Refresh()
	if err == nil {
		err = problems.Err()
	}
	return r, problems, err
}

// Announce has f called with every change from here on. f must not block, nor call
// back.
func (r *Roster) Announce(f func(Change)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.announce = f
}

// index builds the look-ups anew. Called with mu held, or before anybody else has the
// roster.
func (r *Roster) index() {
	r.names, r.words, r.roles = map[string][]string{}, map[string][]string{}, map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(r.byID)) {
		a := r.byID[id]
		if a.CallsWorkflows() {
			r.calls.Store(true)
		}
		r.roles[same(a.Role)] = append(r.roles[same(a.Role)], id)
		for _, name := range []string{same(id), same(a.Name)} {
			stand(r.names, name, id)
			for i, c := range name {
				if c == '-' || c == '.' {
					stand(r.words, name[:i], id)
				}
			}
		}
	}
}

// stand has a name stand for an agent, once.
func stand(names map[string][]string, name, id string) {
	if ids := names[name]; !slices.Contains(ids, id) {
		names[name] = append(ids, id)
	}
}

// Lookup returns the agent that a name stands for.
func (r *Roster) Lookup(name string) (*Agent, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lookup(name)
}

// lookup is Lookup with mu held.
func (r *Roster) lookup(name string) (*Agent, error) {
	if a := r.byID[strings.ToLower(name)]; a != nil {
		return a, nil
	}
	ids := r.names[same(name)]
	if len(ids) == 0 {
		ids = r.words[same(name)]
	}
	switch len(ids) {
	case 0:
		return nil, fmt.Errorf("%w: nobody is called %q", ErrNotFound, name)
	case 1:
		return r.byID[ids[0]], nil
	}
	return nil, fmt.Errorf("%w: %q may be %s", ErrAmbiguous, name, strings.Join(ids[:min(len(ids), maxAlike)], " or "))
}

// Means returns what a word stands for that may be an agent's name or a role: the name
// if somebody is called so, else the role if somebody has it, else a name.
func (r *Roster) Means(word string) (name, role string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.lookup(word); err != nil && len(r.roles[same(word)]) > 0 {
		return "", word
	}
	return word, ""
}

// Version returns an agent as it was when it had a hash; nil if that is forgotten.
func (r *Roster) Version(hash string) *Agent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.versions[hash]
}

// complete returns an agent with the defaults filled in. The hash stays that of its
// definition.
func (r *Roster) complete(a *Agent) *Agent {
	c := *a
	c.Provider = cmp.Or(c.Provider, r.o.Defaults.Provider)
	c.Model = cmp.Or(c.Model, r.o.Defaults.Models[c.Provider])
	return &c
}

// Roles returns the roles that agents have, sorted.
func (r *Roster) Roles() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.roles))
}
