package roster

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Task is an attempt that an agent has, as others see it.
type Task struct {
	Run     string    `json:"run"`
	Node    string    `json:"node"`
	Visit   int       `json:"visit"`
	Attempt int       `json:"attempt"`
	State   string    `json:"state"` // queued, thinking, or the tool it uses
	Since   time.Time `json:"since"` // of State
}

// States of a Task, besides the names of tools.
const (
	Queued   = "queued"
	Thinking = "thinking"
)

// Status is an agent and what it does.
type Status struct {
	Agent
	State   string `json:"state"` // idle or working
	Tasks   []Task `json:"tasks"` // oldest first, the first maxTasks
	Queued  int    `json:"queued"`
	Working int    `json:"working"`
	Done    int    `json:"done"`   // attempts that went well, since the start
	Failed  int    `json:"failed"` // and those that did not
}

// maxTasks is how many tasks a Status lists.
const maxTasks = 100

// Assign gives an agent a task, which it has until End.
func (r *Roster) Assign(id string, t Task) *Assignment {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &Assignment{r: r, id: id, task: &t}
	r.workOf(id).tasks[&t] = true
	return a
}

// Assignment is a task that an agent has. A nil Assignment is nobody's.
type Assignment struct {
	r    *Roster
	id   string
	task *Task // guarded by Roster.mu
}

// Now says what the agent does from here on.
func (a *Assignment) Now(state string, since time.Time) {
	if a == nil {
		return
	}
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	a.task.State, a.task.Since = state, since
}

// Result counts how the task came out.
func (a *Assignment) Result(failed bool) {
	if a == nil {
		return
	}
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	if w := a.r.workOf(a.id); failed {
		w.failed++
	} else {
		w.done++
	}
}

// End takes the task away. To end twice is to end once.
func (a *Assignment) End() {
	if a == nil {
		return
	}
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	delete(a.r.workOf(a.id).tasks, a.task)
}

// Status returns an agent by name, and what it does.
func (r *Roster) Status(name string) (Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, err := r.lookup(name)
	if err != nil {
		return Status{}, err
	}
	return r.status(a), nil
}

// List returns all agents by ID, from the one after a name, and whether there are
// more.
func (r *Roster) List(after, role string, limit int) (list []Status, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(r.byID)) {
		if a := r.byID[id]; id > after && (role == "" || same(a.Role) == same(role)) {
			if len(list) == limit {
				return list, true
			}
			list = append(list, r.status(a))
		}
	}
	return list, false
}

// status is Status with mu held.
func (r *Roster) status(a *Agent) Status {
	s := Status{Agent: *r.complete(a), State: "idle", Tasks: []Task{}}
	w := r.work[a.ID]
	if w == nil {
		return s
	}
	s.Done, s.Failed = w.done, w.failed
	for t := range w.tasks {
		s.Tasks = append(s.Tasks, *t)
		if s.State = "working"; t.State == Queued {
			s.Queued++
		} else {
			s.Working++
		}
	}
	slices.SortFunc(s.Tasks, func(a, b Task) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Node, b.Node))
	})
	s.Tasks = s.Tasks[:min(len(s.Tasks), maxTasks)]
	return s
}
