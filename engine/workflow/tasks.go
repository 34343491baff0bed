package workflow

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Limits of a plan that an agent makes. Texts are counted in characters.
const (
	MaxGoal          = 8192    // bytes
	MaxPlan          = 1 << 20 // bytes of the answer
	MaxTasks         = 50
	MaxPrerequisites = 20 // of one task
	MaxDescription   = 512
	MaxValidation    = 256
	MaxRole          = 32

	// DefaultRole does the tasks that name no role.
	DefaultRole = "executor"
	// PlannerRole makes the plan where the node names nobody.
	PlannerRole = "planner"
)

// Task is one task of a plan.
type Task struct {
	Description   string
	Role          string
	Prerequisites []int // tasks by number, from 0
	Validation    string
}

// maxReasons is how many faults of a plan are told.
const maxReasons = 20

// ReadTasks reads the plan that an agent has made, {"tasks": [{description, role,
// prerequisites, validation}]}, and checks it as a whole. Everything that is wrong with
// it is said; no task is left out, since the others count on its number. Roles other
// than known, if there are any, become DefaultRole.
func ReadTasks(answer any, known []string) (tasks []Task, reasons []string) {
	bad := func(format string, args ...any) {
		if len(reasons) < maxReasons {
			reasons = append(reasons, fmt.Sprintf(format, args...))
		}
	}
	o, ok := answer.(map[string]any)
	if !ok {
		return nil, []string{`the plan is no object: write {"tasks": […]}`}
	}
	list, ok := o["tasks"].([]any)
	switch {
	case !ok:
		return nil, []string{`the plan has no list called tasks: write {"tasks": […]}`}
	case len(list) == 0:
		return nil, []string{"the plan has no tasks"}
	case len(list) > MaxTasks:
		return nil, []string{fmt.Sprintf("the plan has %d tasks, the limit is %d", len(list), MaxTasks)}
	}
	for i, x := range list {
		m, ok := x.(map[string]any)
		if !ok {
			bad("task %d is no object", i)
			tasks = append(tasks, Task{})
			continue
		}
		words := func(name string, limit int) string {
			v, given := m[name]
			s, ok := v.(string)
			s = strings.TrimSpace(s)
			switch {
			case given && v != nil && !ok:
				bad("task %d: %s is no text", i, name)
			case utf8.RuneCountInString(s) > limit:
				bad("task %d: %s has %d characters, the limit is %d", i, name, utf8.RuneCountInString(s), limit)
			case scripted(s):
				bad("task %d: %s looks like a script", i, name)
			}
			return s
		}
		t := Task{Description: words("description", MaxDescription), Role: words("role", MaxRole), Validation: words("validation", MaxValidation)}
		if t.Description == "" {
			bad("task %d has no description", i)
		}
		if t.Role == "" || len(known) > 0 && !slices.ContainsFunc(known, func(r string) bool { return strings.EqualFold(r, t.Role) }) {
			t.Role = DefaultRole
		}
		t.Prerequisites = prerequisites(m["prerequisites"], i, len(list), bad)
		tasks = append(tasks, t)
	}
	if len(reasons) == 0 {
		if cycle := cycleIn(tasks); cycle != nil {
			bad("tasks %s wait for one another in a circle", strings.Trim(strings.ReplaceAll(fmt.Sprint(cycle), " ", ", "), "[]"))
		}
	}
	if len(reasons) > 0 {
		return nil, reasons
	}
	return tasks, nil
}

// prerequisites reads what task i of n waits for.
func prerequisites(v any, i, n int, bad func(string, ...any)) []int {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		bad("task %d: prerequisites is no list of numbers", i)
		return nil
	}
	if len(list) > MaxPrerequisites {
		bad("task %d has %d prerequisites, the limit is %d", i, len(list), MaxPrerequisites)
		return nil
	}
	var of []int
	for _, x := range list {
		at := -1
		switch x := x.(type) {
		case int64:
			at = int(max(-1, min(x, math.MaxInt32)))
		case float64:
			if x == math.Trunc(x) && math.Abs(x) < 1<<31 {
				at = int(x)
			}
		}
		switch {
		case at < 0 || at >= n:
			bad("task %d: there is no task %s to wait for; they are numbered from 0 to %d", i, source.Clip(fmt.Sprint(x)), n-1)
		case at == i:
			bad("task %d waits for itself", i)
		case slices.Contains(of, at):
			bad("task %d waits for task %d twice", i, at)
		default:
			of = append(of, at)
		}
	}
	return of
}

// scripts begin what no plan has to say.
var scripts = []string{"<script", "</script", "javascript:", "<iframe", "onerror=", "onload="}

func scripted(s string) bool {
	s = strings.ToLower(s)
	return slices.ContainsFunc(scripts, func(p string) bool { return strings.Contains(s, p) })
}

// cycleIn returns tasks that wait for one another in a circle, from the first in order;
// nil if there are none.
func cycleIn(tasks []Task) []int {
	done := make([]bool, len(tasks))
	for progress := true; progress; {
		progress = false
		for i, t := range tasks {
			if !done[i] && !slices.ContainsFunc(t.Prerequisites, func(p int) bool { return !done[p] }) {
				done[i], progress = true, true
			}
		}
	}
	at := slices.Index(done, false)
	if at < 0 {
		return nil
	}
	var path []int
	for !slices.Contains(path, at) { // each that is left waits for another that is
		path = append(path, at)
		for _, p := range tasks[at].Prerequisites {
			if !done[p] {
				at = p
				break
			}
		}
	}
	path = path[slices.Index(path, at):]
	least := slices.Index(path, slices.Min(path))
	return append(path[least:], path[:least]...)
}

// PlanSpec is what a plan node has been told.
type PlanSpec struct {
	Roles       []string // that tasks may be for; none: any
	MaxParallel int      // tasks at once
}

// plan fills in what a plan node needs to run: it does a node for each of its tasks.
func (c *compiler) plan(n *Node) {
	n.Plan = &PlanSpec{Roles: n.Def.Texts("roles"), MaxParallel: n.Def.Int("max_parallel")}
	do := &NodeDef{ID: n.ID, Kind: Agent, Priority: n.Def.Priority, Queue: n.Def.Queue, Fields: map[string]any{}}
	for _, name := range []string{"max_tokens", "temperature"} {
		if v, ok := n.Def.Fields[name]; ok {
			do.Fields[name] = v
		}
	}
	n.Do = &Node{
		Index: -1, ID: n.ID, Kind: Agent, Def: do, Timeout: n.Timeout, MaxVisits: n.MaxVisits, Join: Join{Mode: JoinAll},
		OnFailure: FailWait, Runs: true, Retry: n.Retry,
	}
}
