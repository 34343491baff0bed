package engine

import (
	"cmp"
	"slices"
)

// Queue is a queue of attempts, as it stands.
type Queue struct {
	Name    string `json:"name"`
	Limit   int    `json:"limit" doc:"attempts under way at once"`
	Running int    `json:"running" doc:"attempts under way, here and by workers"`
	Ready   int    `json:"ready" doc:"attempts that wait for a place"`
	Offered int    `json:"offered" doc:"attempts that wait for a worker"`
}

// Queues lists the queues that have had an attempt since the engine was started, by
// name.
func (e *Engine) Queues() []Queue {
	s := e.sched
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Queue, 0, len(s.queues))
	for _, q := range s.queues {
		o := Queue{Name: q.name, Limit: q.limit, Running: q.running, Ready: len(q.ready)}
		for _, offers := range q.offers {
			o.Offered += len(*offers)
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Queue) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
