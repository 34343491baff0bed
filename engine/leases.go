package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/engine/lease"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A worker holds a job on a lease. What may count is decided by the run alone: a result
// of an attempt that is no longer the newest is refused there. So every time a task is
// handed out it has to be another attempt, on disk before that. An attempt that began
// since the engine was started was handed out once by this process, or never. Of an
// older one that the book of leases does not have, nobody knows (job.unsure): before it
// is handed out it is given up for the next one.

const (
	// leaseIdle is how often leases are looked at when none ends sooner.
	leaseIdle = time.Minute
	// restTime is how long a job rests whose run could not be read.
	restTime = 5 * time.Second
)

// hold is a worker's hold on a job. Guarded by scheduler.mu.
type hold struct {
	lease.Lease
	until     time.Time // the lease ends then
	progress  string
	handingIn int  // results that are on their way to the run
	paused    bool // the run is
	over      bool // the attempt no longer counts; the worker is yet to be told
	ending    bool // the engine ends the attempt
	resting   bool // nobody has it: it is offered again when the lease ends
}

// leases are the jobs that are held. Guarded by scheduler.mu.
type leases struct {
	book  *lease.Book
	held  map[*job]bool
	next  time.Time     // when they are looked at
	nudge chan struct{} // has an element when next is sooner
}

// give notes that a job is held. Called with mu held.
func (s *scheduler) give(j *job, l lease.Lease) {
	j.hold = &hold{Lease: l, until: s.e.opt.Now().Add(l.Length)}
	s.leases.held[j] = true
	s.queues[j.queue].running++
	s.workers.holds(who{j.task.Namespace, l.Worker}, j)
	s.lookBy(j.hold.until)
}

// drop ends the hold on a job, and forgets the job. It reports whether the attempt
// still counts, as far as is known here. Called with mu held.
func (s *scheduler) drop(j *job) bool {
	if j.hold == nil {
		return false
	}
	over := j.hold.over
	s.workers.lets(who{j.task.Namespace, j.hold.Worker})
	j.hold = nil
	delete(s.leases.held, j)
	if s.jobs[j.key()] == j {
		delete(s.jobs, j.key())
	}
	s.queues[j.queue].running--
	return !over
}

// letGo ends the hold on a job whose attempt has ended.
func (s *scheduler) letGo(j *job) {
	s.mu.Lock()
	s.drop(j)
	s.mu.Unlock()
	s.leases.book.End(j.id(), j.task.Attempt)
	s.e.bus.Ring(topicTasks, j.queue) // there is a place in the queue
}

// abandon lets go of a job that was given up and whose worker has nothing more to say:
// what is set aside for it is free.
func (s *scheduler) abandon(j *job) {
	s.letGo(j)
	if need := workerNeed(j.task.Def); !need.Spend().IsZero() {
		t := &j.task
		s.e.post(t.Run, machine.Meta{Actor: system}, machine.Settle{Call: event.CallID{Node: t.Node, Visit: t.Visit, Attempt: t.Attempt}})
	}
}

// rest keeps a job from workers for a while.
func (s *scheduler) rest(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.hold != nil {
		j.hold.resting, j.hold.until = true, s.e.opt.Now().Add(restTime)
		s.lookBy(j.hold.until)
	}
}

// lookBy sees to it that leases are looked at by then. Called with mu held.
func (s *scheduler) lookBy(at time.Time) {
	if at.Before(s.leases.next) {
		s.leases.next = at
		ring(s.leases.nudge)
	}
}

// keepLeases ends leases that are not renewed, and attempts whose time is over, until
// ctx ends.
func (s *scheduler) keepLeases(ctx context.Context) {
	timer := time.NewTimer(leaseIdle)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.leases.nudge:
		case <-ctx.Done():
			return
		}
		timer.Reset(s.expire())
	}
}

// expire ends what is due to end, and returns how long until the next look.
func (s *scheduler) expire() time.Duration {
	now := s.e.opt.Now()
	s.mu.Lock()
	var rested, over []*job
	ends := map[*job]machine.Command{}
	s.leases.next = now.Add(leaseIdle)
	for j := range s.leases.held {
		h := j.hold
		end, late := h.until, false
		if d := h.Deadline.Std(); h.Deadline != 0 && !d.After(end) {
			end, late = d, true
		}
		switch {
		case h.ending || h.handingIn > 0:
		case end.After(now):
			if end.Before(s.leases.next) {
				s.leases.next = end
			}
		case h.resting:
			rested = append(rested, j)
		case h.over:
			over = append(over, j)
		case late:
			h.ending = true
			ends[j] = machine.Result{
				Node: j.task.Node, Visit: j.task.Visit, Attempt: j.task.Attempt, Checkpoint: h.Checkpoint,
				Failure: &event.Failure{Class: event.ClassTimeout, Message: fmt.Sprintf("no result within %s from worker %s", j.task.Timeout, h.Worker)},
			}
		default:
			h.ending = true
			ends[j] = attemptLost(j.id(), j.task.Attempt, fmt.Sprintf("worker %s let its lease of %s pass", h.Worker, h.Length), h.Checkpoint)
		}
	}
	next := s.leases.next.Sub(now)
	s.mu.Unlock()
	for _, j := range rested {
		s.giveBack(j)
	}
	for _, j := range over {
		s.abandon(j)
	}
	for j, c := range ends {
		s.e.end(j, c)
	}
	return next
}

// attemptLost is the loss of one attempt: the next one begins.
func attemptLost(id lease.ID, number int, why string, checkpoint event.Value) machine.Recover {
	return machine.Recover{
		Reason:      why,
		Keep:        func(v *run.Visit) bool { return v.Node != id.Node || v.Visit != id.Visit || v.Attempt != number },
		Checkpoints: map[string]event.Value{id.Node: checkpoint},
	}
}

// end has the run end the attempt of a job, and lets go of the job. If we crash before
// that is on disk, the book still has the lease, and it ends once more.
func (e *Engine) end(j *job, c machine.Command) {
	e.sched.mu.Lock()
	if j.hold != nil {
		j.hold.ending = true
	}
	e.sched.mu.Unlock()
	e.spawn(func() {
		e.insist(func() error { return e.decide(context.Background(), j, c, system) })
		e.sched.letGo(j)
	})
}

// decide gives the run of a job a command that comes from the engine itself.
func (e *Engine) decide(ctx context.Context, j *job, c machine.Command, actor string) error {
	return e.runs.do(ctx, j.task.Run, &request{meta: machine.Meta{At: e.now(), Actor: actor}, cmd: c, internal: true})
}

// renumber has attempts give way to others, which may be handed out. It returns when
// they have; if the engine stops before, they do when it is asked again.
func (e *Engine) renumber(jobs []*job) {
	var wg sync.WaitGroup
	for _, j := range jobs {
		wg.Go(func() {
			e.insist(func() error {
				return e.decide(context.Background(), j, attemptLost(j.id(), j.task.Attempt, "the engine was restarted, and nobody is known to have it", nil), system)
			})
			e.sched.forget(j)
		})
	}
	wg.Wait()
}

// forget forgets a job that is neither offered nor held.
func (s *scheduler) forget(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[j.key()] == j {
		delete(s.jobs, j.key())
	}
}

// adoptAll takes up the leases of a former process, as far as they count. Each begins
// anew: nobody could renew it meanwhile.
func (e *Engine) adoptAll(ctx context.Context) {
	book := e.sched.leases.book
	for some := range slices.Chunk(book.Leases(), recoverWide) {
		var wg sync.WaitGroup
		for _, l := range some {
			wg.Go(func() {
				if j, err := e.jobOf(ctx, l.Task, l.Attempt); err != nil || !e.sched.adopt(j, l) {
					book.End(l.Task, l.Attempt)
				}
			})
		}
		wg.Wait()
	}
}

// adopt has a worker hold a job that it was handed and that is not known here, or as
// waiting. It reports whether the worker holds it now.
func (s *scheduler) adopt(j *job, l lease.Lease) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.jobs[j.key()]; old != nil && (old.task.Attempt != j.task.Attempt || old.hold != nil) {
		return false
	}
	s.enter(j)
	if l.Deadline != 0 { // what was done meanwhile can still be handed in
		l.Deadline = max(l.Deadline, event.At(s.e.opt.Now().Add(l.Length)))
	}
	s.give(j, l)
	j.hold.paused = j.parked
	j.parked = false
	return true
}
