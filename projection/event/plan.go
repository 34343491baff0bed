package event

import "github.com/wfd-dev/wfd/eventlog"

// PlanMade: an agent has broken the goal of a plan node into tasks, which are done as
// items of the visit: task i is node[i]. It ends the attempt that made the plan.
type PlanMade struct {
	Node    string     `json:"node"`
	Visit   int        `json:"visit"`
	Attempt int        `json:"attempt"`
	Goal    Value      `json:"goal"`
	Tasks   []PlanTask `json:"tasks"`
	Usage   *Usage     `json:"usage,omitempty"`
}

// PlanTask is one task of a plan.
type PlanTask struct {
	Description   Value  `json:"description"`
	Role          string `json:"role"`
	Prerequisites []int  `json:"prerequisites"` // tasks by number, from 0
	Validation    Value  `json:"validation,omitempty"`
}

// The order of the fields below is on disk: append, never reorder.

// Kind returns KindPlanMade.
func (*PlanMade) Kind() eventlog.Kind { return KindPlanMade }

func (p *PlanMade) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.value(&p.Goal)
	array(c, &p.Tasks, func(c *coder, t *PlanTask) {
		nested(c, t, func(c *coder, t *PlanTask) {
			c.value(&t.Description)
			c.str(&t.Role)
			array(c, &t.Prerequisites, (*coder).int)
			c.value(&t.Validation)
		})
	})
	c.usage(&p.Usage)
}
