package engine

import (
	"container/heap"
	"container/list"
	"context"
	"time"

	"github.com/wfd-dev/wfd/engine/lease"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// The jobs of worker nodes are not run here but offered to workers that poll. A job
// waits in its queue by handler; it knows which attempt it is and little more, since
// many may wait: settings are evaluated when a worker takes it.

// maxOffers bounds the jobs that are kept waiting for workers. Those beyond are found
// in the log once there is room.
const maxOffers = 1 << 18

// offers are the jobs that wait for workers, and the workers that wait for jobs.
// Guarded by scheduler.mu.
type offers struct {
	waiting int // jobs, in all queues
	most    int // of them
	spilled bool
	pollers list.List // of *poller, the longest waiting first
}

// poller is a worker that waits for tasks.
type poller struct {
	worker   who
	queues   []string
	handlers []string
	max      int
	length   time.Duration // of the leases
	found    chan grant    // has room for the one answer
}

// grant is what a poller is given.
type grant struct {
	jobs   []*job // which it now holds
	unsure []*job // which may be offered once they are another attempt
}

func (g grant) empty() bool { return len(g.jobs)+len(g.unsure) == 0 }

// remote reports whether the tasks of a workflow's node are for workers.
func (e *Engine) remote(w *workflow.Workflow, n *workflow.Node) bool {
	return n != nil && n.Kind == workflow.Worker && !e.scripted(w.Name) && e.opt.Runners[workflow.Worker] == nil
}

// scripted reports whether the tasks of a workflow are answered by Replies.
func (e *Engine) scripted(workflow string) bool {
	return e.opt.Replies != nil && (e.opt.Scripted == nil || e.opt.Scripted(workflow))
}

// forWorkers returns the job of a visit's attempt that is for workers.
func (e *Engine) forWorkers(s *run.State, w *workflow.Workflow, v *run.Visit) *job {
	n := machine.NodeOf(w, v)
	return &job{task: bare(s, w, v), queue: queueOf(n), handler: n.Def.Text("worker"), priority: n.Def.Priority, place: -1}
}

// offerAll offers the attempts for workers that a run has under way and that are not
// known here.
func (e *Engine) offerAll(s *run.State, w *workflow.Workflow) {
	for id, v := range s.Live {
		if v.Status == run.NodeRunning && v.Each == nil && e.remote(w, machine.NodeOf(w, v)) && !e.sched.has(s.Run, id, v.Visit, v.Attempt) {
			j := e.forWorkers(s, w, v)
			j.unsure = true
			e.sched.add(j)
		}
	}
}

// offer puts a job where workers find it. Called with mu held.
func (s *scheduler) offer(j *job) {
	if s.offers.waiting >= s.offers.most {
		s.offers.spilled = true
		delete(s.jobs, j.key())
		return
	}
	q := s.queues[j.queue]
	if q.offers == nil {
		q.offers = map[who]*jobHeap{}
	}
	h := q.offers[j.wanted()]
	if h == nil {
		h = &jobHeap{}
		q.offers[j.wanted()] = h
	}
	heap.Push(h, j)
	s.offers.waiting++
}

// withdraw takes a job from where workers find it, if it is there. Called with mu
// held.
func (s *scheduler) withdraw(j *job) {
	if j.handler == "" || j.place < 0 {
		return
	}
	q := s.queues[j.queue]
	h := q.offers[j.wanted()]
	heap.Remove(h, j.place)
	if h.Len() == 0 {
		delete(q.offers, j.wanted())
	}
	s.offers.waiting--
}

// best returns the first job that a poller may have: by priority, then by age. Called
// with mu held.
func (s *scheduler) best(p *poller) *job {
	var first *job
	for _, name := range p.queues {
		q := s.queues[name]
		if q == nil || q.running >= q.limit {
			continue
		}
		for _, handler := range p.handlers {
			if h := q.offers[who{p.worker.namespace, handler}]; h != nil && (first == nil || (*h)[0].before(first)) {
				first = (*h)[0]
			}
		}
	}
	return first
}

// take gives a poller what it may have now. Called with mu held.
func (s *scheduler) take(p *poller) (g grant) {
	now := event.At(s.e.opt.Now())
	for len(g.jobs)+len(g.unsure) < p.max && s.open() {
		j := s.best(p)
		if j == nil {
			break
		}
		s.withdraw(j)
		if j.unsure {
			g.unsure = append(g.unsure, j)
			continue
		}
		s.give(j, lease.Lease{Task: j.id(), Claim: lease.Claim{Attempt: j.task.Attempt, Worker: p.worker.name}, Length: p.length, Since: now})
		g.jobs = append(g.jobs, j)
	}
	return g
}

// match gives waiting pollers what is there for them, first come, first served. Called
// with mu held.
func (s *scheduler) match() {
	for place := s.offers.pollers.Front(); place != nil && s.offers.waiting > 0; {
		next := place.Next()
		p := place.Value.(*poller)
		if g := s.take(p); !g.empty() {
			s.offers.pollers.Remove(place)
			p.found <- g
		}
		place = next
	}
}

// await waits until there is something for p, or until ctx ends.
func (s *scheduler) await(ctx context.Context, p *poller) grant {
	s.mu.Lock()
	g := s.take(p)
	if !g.empty() || ctx.Err() != nil {
		s.mu.Unlock()
		return g
	}
	p.found = make(chan grant, 1)
	place := s.offers.pollers.PushBack(p)
	s.mu.Unlock()
	select {
	case g = <-p.found:
		return g
	case <-ctx.Done():
	case <-s.e.stopped:
	case <-s.e.failed:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case g = <-p.found: // at the last moment
	default:
		s.offers.pollers.Remove(place)
	}
	return g
}

// giveBack offers a job again that was taken for a worker which has not seen it.
func (s *scheduler) giveBack(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drop(j) {
		s.jobs[j.key()] = j
		s.offer(j)
		s.e.bus.Ring(topicTasks, j.queue)
	}
}

// park is giveBack for a job whose run is paused: it is offered again when the run
// goes on.
func (s *scheduler) park(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drop(j) {
		s.jobs[j.key()] = j
		j.parked = true
	}
}

// paused notes on a run's jobs that the run is paused, or goes on.
func (s *scheduler) paused(state *run.State, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, v := range state.Live {
		j := s.jobs[attempt{state.Run, id, v.Visit}]
		switch {
		case j == nil:
		case j.hold != nil:
			j.hold.paused = is
		case j.parked && !is:
			j.parked = false
			s.offer(j)
			s.e.bus.Ring(topicTasks, j.queue)
		}
	}
}

// refill offers what did not fit, once there is room. Called with mu held.
func (s *scheduler) refill(ctx context.Context) {
	if !s.offers.spilled || s.offers.waiting > s.offers.most/2 {
		return
	}
	s.offers.spilled = false
	s.e.spawn(func() {
		if err := s.e.eachRunning(ctx, s.e.offerAll); err != nil && ctx.Err() == nil {
			s.e.slog.Error("cannot look for tasks that wait; this is tried again", "error", err)
			s.mu.Lock()
			s.offers.spilled = true
			s.mu.Unlock()
		}
	})
}

// eachRunning calls view with every run in status running.
func (e *Engine) eachRunning(ctx context.Context, view func(*run.State, *workflow.Workflow)) error {
	for row, err := range e.inStatus(ctx, run.Running) {
		if err == nil {
			err = e.look(ctx, row.ID, view)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
