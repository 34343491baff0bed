package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/engine/lease"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

const (
	// workerGone is how long after its last word a worker counts as being there, if it
	// neither waits for tasks nor holds one.
	workerGone = 2 * time.Second
	// workerKept is how long a worker is listed after its last word.
	workerKept = 10 * time.Minute
	// maxWorkers bounds the workers that are listed; beyond it the one that has been
	// silent longest is dropped.
	maxWorkers = 10_000
)

// workers are those that have polled lately. All of it is what they said themselves.
type workers struct {
	now func() time.Time

	mu     sync.Mutex
	byName map[who]*presence
}

type presence struct {
	queues, handlers []string // of the newest poll
	seen             time.Time
	polling          int // polls that wait
	holding          int // tasks
}

// there reports whether a worker is at work, or waits for some.
func (p *presence) there(now time.Time) bool {
	return p.polling > 0 || p.holding > 0 || now.Sub(p.seen) < workerGone
}

// see returns what is known of a worker, seen now. Called with mu held.
func (w *workers) see(name who) *presence {
	now := w.now()
	p := w.byName[name]
	if p == nil {
		w.clean(now)
		p = &presence{queues: []string{}, handlers: []string{}}
		w.byName[name] = p
	}
	p.seen = now
	return p
}

// clean drops workers that have been silent for long, and one more if there are too
// many. Called with mu held.
func (w *workers) clean(now time.Time) {
	var oldest who
	for name, p := range w.byName {
		switch {
		case p.there(now):
		case now.Sub(p.seen) > workerKept:
			delete(w.byName, name)
		case oldest == who{} || p.seen.Before(w.byName[oldest].seen):
			oldest = name
		}
	}
	if len(w.byName) >= maxWorkers {
		delete(w.byName, oldest)
	}
}

// polls notes that a worker waits for tasks until the returned function is called.
func (w *workers) polls(r *PollRequest) (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.see(who{r.Namespace, r.Worker})
	p.queues, p.handlers = r.Queues, r.Handlers
	p.polling++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		p.polling--
		p.seen = w.now()
	}
}

// seen notes a word of a worker.
func (w *workers) seen(name who) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.see(name)
}

// holds notes that a worker holds a task more.
func (w *workers) holds(name who, j *job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.byName[name]
	if p == nil {
		p = w.see(name)
	}
	p.holding++
	// A former process may have handed it the task: then this is all that is known.
	if !slices.Contains(p.queues, j.queue) {
		p.queues = append(slices.Clip(p.queues), j.queue)
	}
	if !slices.Contains(p.handlers, j.handler) {
		p.handlers = append(slices.Clip(p.handlers), j.handler)
	}
}

// lets notes that a worker holds a task less.
func (w *workers) lets(name who) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.byName[name]; p != nil {
		p.holding--
	}
}

// offering returns how many workers take tasks of a handler from a queue, and who did
// last if nobody does.
func (w *workers) offering(queue string, handler who) (n int, last string, seen time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for name, p := range w.byName {
		if name.namespace != handler.namespace || !slices.Contains(p.queues, queue) || !slices.Contains(p.handlers, handler.name) {
			continue
		}
		if p.there(now) {
			n++
		} else if p.seen.After(seen) {
			last, seen = name.name, p.seen
		}
	}
	return n, last, seen
}

// Worker is a worker as it was last seen.
type Worker struct {
	Name     string     `json:"name"`
	State    string     `json:"state" doc:"waiting: for tasks; working: it holds some; gone: it has not been heard of"`
	Queues   []string   `json:"queues"`
	Handlers []string   `json:"handlers"`
	Seen     event.Time `json:"seen" doc:"its last word"`
	Tasks    []HeldTask `json:"tasks"`
}

// HeldTask is a task that a worker holds.
type HeldTask struct {
	ID       lease.ID       `json:"id"`
	Run      eventlog.RunID `json:"run"`
	Node     string         `json:"node"`
	Visit    int            `json:"visit"`
	Attempt  int            `json:"attempt"`
	Since    event.Time     `json:"since"`
	Until    event.Time     `json:"lease_until"`
	Progress string         `json:"progress,omitempty"`
}

// Workers lists the workers of a namespace by name, those after a name, up to limit.
func (e *Engine) Workers(n event.Namespace, after string, limit int) (list []Worker, more bool) {
	s := e.sched
	s.mu.Lock()
	tasks := map[string][]HeldTask{}
	for j := range s.leases.held {
		h := j.hold
		if h.resting || h.over || j.task.Namespace != n {
			continue
		}
		tasks[h.Worker] = append(tasks[h.Worker], HeldTask{
			ID: h.Task, Run: h.Task.Run, Node: h.Task.Node, Visit: h.Task.Visit, Attempt: h.Attempt,
			Since: h.Since, Until: event.At(h.until), Progress: h.progress,
		})
	}
	s.mu.Unlock()
	w := &s.workers
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	w.clean(now)
	list = []Worker{}
	var names []string
	for of := range w.byName {
		if of.namespace == n && of.name > after {
			names = append(names, of.name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if len(list) == limit {
			return list, true
		}
		p := w.byName[who{n, name}]
		one := Worker{Name: name, State: "gone", Queues: p.queues, Handlers: p.handlers, Seen: event.At(p.seen), Tasks: tasks[name]}
		slices.SortFunc(one.Tasks, func(a, b HeldTask) int {
			return cmp.Or(cmp.Compare(a.Since, b.Since), strings.Compare(a.ID.String(), b.ID.String()))
		})
		switch {
		case p.holding > 0:
			one.State = "working"
		case p.there(now):
			one.State = "waiting"
		}
		if one.Tasks == nil {
			one.Tasks = []HeldTask{}
		}
		list = append(list, one)
	}
	return list, false
}

// whyRemote says where the task of a visit is that is for a worker; ok is false of any
// other.
func (e *Engine) whyRemote(s *run.State, w *workflow.Workflow, v *run.Visit) (why string, wait event.Wait, ok bool) {
	n := machine.NodeOf(w, v)
	if v.Status != run.NodeRunning || v.Each != nil || !e.remote(w, n) {
		return "", wait, false
	}
	sched := e.sched
	handler, queue := n.Def.Text("worker"), queueOf(n)
	sched.mu.Lock()
	j := sched.jobs[attempt{s.Run, v.Node, v.Visit}]
	full := false
	if q := sched.queues[queue]; q != nil {
		full = q.running >= q.limit
	}
	if j != nil && j.hold != nil && !j.hold.resting && j.task.Attempt == v.Attempt {
		why = fmt.Sprintf("node %s is done by worker %s (attempt %d)", v.Node, j.hold.Worker, v.Attempt)
		if j.hold.progress != "" {
			why += ": " + strings.TrimSuffix(j.hold.progress, ".")
		}
		sched.mu.Unlock()
		return why, event.Wait{}, true
	}
	sched.mu.Unlock()
	wait = event.Wait{Node: v.Node, For: "worker", Name: handler}
	count, last, seen := sched.workers.offering(queue, who{s.Namespace, handler})
	switch {
	case e.opt.NoWorkers:
		why = fmt.Sprintf("node %s is for a worker, and none can reach this process: run wfd serve on the directory", v.Node)
	case count == 0 && last != "":
		why = fmt.Sprintf("node %s is ready, but no worker offers handler %s on queue %s; %s did until %s", v.Node, handler, queue, last, clock(event.At(seen)))
	case count == 0:
		why = fmt.Sprintf("node %s is ready, but no worker offers handler %s on queue %s", v.Node, handler, queue)
	case full:
		why = fmt.Sprintf("node %s waits for a place in queue %s, all of which are taken", v.Node, queue)
	case count == 1:
		why = fmt.Sprintf("node %s waits for the one worker that offers handler %s on queue %s", v.Node, handler, queue)
	default:
		why = fmt.Sprintf("node %s waits for one of %d workers that offer handler %s on queue %s", v.Node, count, handler, queue)
	}
	return why, wait, true
}
