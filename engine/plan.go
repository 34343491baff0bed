package engine

import (
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// partOf returns the task of a plan that a visit is, nil if it is none.
func partOf(s *run.State, v *run.Visit) *agent.Part {
	of := s.Live[v.Of]
	if v.Item == 0 || of == nil || of.Each == nil || of.Each.Plan == nil {
		return nil
	}
	plan := of.Each.Plan
	t := plan.Tasks[v.Item-1]
	p := &agent.Part{Goal: words(plan.Goal), Description: words(t.Description), Validation: words(t.Validation), Role: t.Role}
	for _, i := range t.Prerequisites {
		x, err := of.Each.Results[i].Any()
		if err == nil {
			p.Before = append(p.Before, agent.Built{Description: words(plan.Tasks[i].Description), Result: x})
		}
	}
	return p
}

// words is a text that is kept as a value.
func words(v event.Value) string {
	x, err := v.Any()
	if err != nil {
		return ""
	}
	s, _ := x.(string)
	return s
}
