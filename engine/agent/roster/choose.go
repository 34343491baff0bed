package roster

import (
	"fmt"
	"maps"
	"slices"
)

// Choice is an agent that was chosen, with the defaults filled in.
type Choice struct {
	*Agent
	Role       string // that was asked for; "" = the agent was named
	Candidates int    // how many have the role
}

// Picks are choices that are not tasks yet: those that one decision makes. They count
// as work of the agents until End. Picks are used by one goroutine.
type Picks struct {
	r    *Roster
	made []string // IDs
}

// Begin opens a series of choices.
func (r *Roster) Begin() *Picks { return &Picks{r: r} }

// End says that what was chosen is a task by now, or never will be.
func (p *Picks) End() {
	if len(p.made) == 0 {
		return
	}
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	for _, id := range p.made {
		p.r.workOf(id).picked--
	}
	p.made = nil
}

// Choose returns the agent called name, or, if that is "", the one of those with the
// role that has least to do.
func (p *Picks) Choose(name, role string) (Choice, error) {
	r := p.r
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.choose(name, role)
	if err != nil {
		return c, err
	}
	w := r.workOf(c.ID)
	w.picked++
	r.clock++
	w.last = r.clock
	p.made = append(p.made, c.ID)
	c.Agent = r.complete(c.Agent)
	r.remember(c.Agent)
	return c, nil
}

// choose is Choose without taking note. Called with mu held.
func (r *Roster) choose(name, role string) (Choice, error) {
	if name != "" {
		a, err := r.lookup(name)
		if a == nil && r.o.StandIn {
			a, err = r.spawn(name, inferred(name), Sim)
		}
		return Choice{Agent: a}, err
	}
	ids := r.roles[same(role)]
	if len(ids) == 0 {
		if r.o.NoSpawn {
			return Choice{}, fmt.Errorf("%w: nobody has the role %q", ErrNotFound, role)
		}
		a, err := r.spawn(role+"-agent", role, "")
		return Choice{Agent: a, Role: role, Candidates: 1}, err
	}
	best := ids[0]
	for _, id := range ids[1:] {
		if r.workOf(id).before(r.workOf(best)) {
			best = id
		}
	}
	return Choice{Agent: r.byID[best], Role: role, Candidates: len(ids)}, nil
}

// spawn makes a generic agent. Called with mu held.
func (r *Roster) spawn(name, role, provider string) (*Agent, error) {
	if r.spawned >= maxSpawned {
		return nil, fmt.Errorf("%w: nobody is %q, and %d generic agents stand in for others already", ErrNotFound, name, r.spawned)
	}
	a := generic(same(name), role, provider)
	if len(a.ID) > maxName || !fileName.MatchString(a.ID) {
		return nil, fmt.Errorf("%w: nobody is called %q", ErrNotFound, name)
	}
	r.byID[a.ID] = a
	r.spawned++
	r.index()
	r.announce(Change{Spawned, a})
	return a, nil
}

// remember keeps a definition that is about to be at work. Called with mu held.
func (r *Roster) remember(a *Agent) {
	if len(r.versions) >= maxVersions && r.versions[a.Hash] == nil {
		present := map[string]bool{}
		for _, b := range r.byID {
			present[b.Hash] = true
		}
		maps.DeleteFunc(r.versions, func(hash string, _ *Agent) bool { return !present[hash] })
	}
	r.versions[a.Hash] = a
}

// work is what an agent does. Guarded by Roster.mu.
type work struct {
	tasks  map[*Task]bool
	picked int    // chosen, and not yet a task
	last   uint64 // Roster.clock when it was last chosen; 0: never
	done   int
	failed int
}

func (r *Roster) workOf(id string) *work {
	w := r.work[id]
	if w == nil {
		w = &work{tasks: map[*Task]bool{}}
		r.work[id] = w
	}
	return w
}

// before reports whether an agent is to be chosen before another whose name comes
// first.
func (w *work) before(o *work) bool {
	a, b := len(w.tasks)+w.picked, len(o.tasks)+o.picked
	return a < b || a == b && w.last < o.last
}

// IDs returns the agents there are, sorted.
func (r *Roster) IDs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.byID))
}
