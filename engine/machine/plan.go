package machine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A plan node is done in two parts. Its attempts make the plan; what they answer is
// checked as a whole, and becomes an event, plan.made. Its tasks are then items of the
// visit, as those of a foreach, but for the order in which they begin: each once all that
// it builds on has been done.

func (d *decider) carryPlan(n *workflow.Node, v *run.Visit) {
	if v.Each == nil {
		if v.Status == run.NodeScheduled && v.Attempt == 0 {
			if _, err := d.goal(n, v); err != nil {
				d.fail(v, event.Failure{Class: event.ClassInternal, Message: err.Error()}, failing{final: true})
				return
			}
		}
		d.attempt(v)
		return
	}
	if v.Status == run.NodeScheduled { // again, after a retry, a restore or a fork
		d.emit(&event.NodeStarted{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1, Each: true, Items: len(v.Each.Results)})
	}
	each, width := v.Each, d.width(v)
	for d.err == nil && !d.stopped() && !d.full() && each.Open < width && places(d.s) {
		task := each.Ready(d.s, v.Node)
		if task < 0 {
			break
		}
		name := run.ItemName(v.Node, task)
		d.emit(&event.NodeScheduled{Node: name, Visit: v.Visit})
		if iv := d.s.Live[name]; iv != nil {
			d.look(iv)
		}
	}
	if d.err != nil || d.stopped() || each.Open > 0 || v.Status != run.NodeRunning || each.Ready(d.s, v.Node) >= 0 {
		return
	}
	if len(each.Failures) > 0 && n.OnFailure != workflow.FailContinue {
		d.failPlan(v)
		return
	}
	r, err := planResult(v)
	if err != nil {
		d.err = err
		return
	}
	d.complete(v, outcome{result: r})
}

// goal returns what a plan is to reach.
func (d *decider) goal(n *workflow.Node, v *run.Visit) (event.Value, error) {
	g, err := d.eval(n.Settings["goal"], v, MaxValue)
	if err != nil {
		return nil, fmt.Errorf("goal: %w", err)
	}
	s := strings.TrimSpace(text(g))
	if s == "" || len(s) > workflow.MaxGoal {
		return nil, fmt.Errorf("the goal has %d bytes; it needs one at least, and the limit is %d", len(s), workflow.MaxGoal)
	}
	return event.StringValue(s), nil
}

// takePlan records what came of an attempt to make a plan. One that is refused is
// repaired once, by an attempt that is told all reasons.
func (d *decider) takePlan(n *workflow.Node, v *run.Visit, c Result) {
	if c.Failure != nil {
		d.fail(v, *c.Failure, failing{usage: c.Usage, again: c.Again, after: c.After, checkpoint: c.Checkpoint})
		return
	}
	tasks, reasons := planIn(n, c.Value)
	if len(reasons) > 0 {
		how := failing{usage: c.Usage}
		if v.Failure != nil && v.Failure.Class == event.ClassInvalidOutput {
			no := false // this was the repair
			how.again = &no
		}
		d.fail(v, event.Failure{Class: event.ClassInvalidOutput, Message: "the plan was refused: " + strings.Join(reasons, "; ")}, how)
		return
	}
	goal, err := d.goal(n, v)
	if err != nil {
		d.fail(v, event.Failure{Class: event.ClassInternal, Message: err.Error()}, failing{usage: c.Usage, final: true})
		return
	}
	p := &event.PlanMade{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Goal: goal, Usage: c.Usage}
	for _, t := range tasks {
		task := event.PlanTask{Description: event.StringValue(t.Description), Role: t.Role, Prerequisites: t.Prerequisites}
		if t.Validation != "" {
			task.Validation = event.StringValue(t.Validation)
		}
		p.Tasks = append(p.Tasks, task)
	}
	d.emit(p)
}

// planIn reads the plan in an answer: an object with tasks, or a text that is one.
func planIn(n *workflow.Node, answer event.Value) ([]workflow.Task, []string) {
	if len(answer) > workflow.MaxPlan {
		return nil, []string{fmt.Sprintf("it has %d bytes, the limit is %d", len(answer), workflow.MaxPlan)}
	}
	x, err := answer.Any()
	if err != nil {
		return nil, []string{err.Error()}
	}
	words, ok := x.(string)
	if o, is := x.(map[string]any); is && o["tasks"] == nil {
		words, ok = o["text"].(string)
	}
	if ok {
		from, to := strings.IndexByte(words, '{'), strings.LastIndexByte(words, '}')
		if from < 0 || to < from {
			return nil, []string{`it is no JSON object: write {"tasks": […]}`}
		}
		if x, err = event.DecodeJSON([]byte(words[from : to+1])); err != nil {
			return nil, []string{"it is no JSON: " + err.Error()}
		}
	}
	return workflow.ReadTasks(x, n.Plan.Roles)
}

// taskStatus says what became of a task of a plan, and what it waits for in vain.
func taskStatus(v *run.Visit, task int) (status string, blockedBy []int) {
	switch {
	case len(v.Each.Results[task]) > 0:
		return "completed", nil
	case v.Each.Failed(v.Node, task) != nil:
		return "failed", nil
	}
	for _, p := range v.Each.Plan.Tasks[task].Prerequisites {
		if len(v.Each.Results[p]) == 0 {
			blockedBy = append(blockedBy, p)
		}
	}
	return "blocked", blockedBy
}

// failPlan fails a plan with what its tasks failed with, and names those that could
// not begin for it.
func (d *decider) failPlan(v *run.Visit) {
	why := slices.Clone(v.Each.Failures)
	slices.SortStableFunc(why, func(a, b event.Failure) int { return d.order(a.Node, b.Node) })
	class := why[0].Class
	for i := range v.Each.Results {
		if status, by := taskStatus(v, i); status == "blocked" {
			names := make([]string, len(by))
			for j, p := range by {
				names[j] = run.ItemName(v.Node, p)
			}
			why = append(why, event.Failure{Class: event.ClassCancelled, Node: run.ItemName(v.Node, i), Visit: v.Visit,
				Message: "blocked by " + strings.Join(names, ", ")})
		}
	}
	f := several(fmt.Sprintf("%d of %d tasks were not done", len(why), len(v.Each.Results)), why)
	f.Class = class
	d.fail(v, f, failing{final: true, errors: why})
}

// planResult is the result of a plan node: the plan, and what became of its tasks.
func planResult(v *run.Visit) (event.Value, error) {
	p := v.Each.Plan
	var all strings.Builder
	tasks := make([]any, len(p.Tasks))
	results := map[string]any{}
	done := 0
	for i, t := range p.Tasks {
		status, by := taskStatus(v, i)
		m := taskMap(t)
		m["status"] = status
		switch status {
		case "completed":
			x, err := v.Each.Results[i].Any()
			if err != nil {
				return nil, err
			}
			done++
			m["result"], results[fmt.Sprint(i)] = x, x
			fmt.Fprintf(&all, "## %s\n\n%s\n\n", text(t.Description), resultText(x))
		case "failed":
			m["error"] = v.Each.Failed(v.Node, i).Error()
		case "blocked":
			m["blocked_by"] = numbers(by)
		}
		tasks[i] = m
	}
	return event.ValueOf(map[string]any{
		"goal": text(p.Goal), "tasks": tasks, "results": results, "completed": int64(done), "complete": done == len(p.Tasks),
		"text": strings.TrimSpace(all.String()),
	})
}

func taskMap(t event.PlanTask) map[string]any {
	m := map[string]any{"description": text(t.Description), "role": t.Role, "prerequisites": numbers(t.Prerequisites)}
	if len(t.Validation) > 0 {
		m["validation"] = text(t.Validation)
	}
	return m
}

func numbers(list []int) []any {
	out := make([]any, len(list))
	for i, n := range list {
		out[i] = int64(n)
	}
	return out
}

// resultText is the text of a result, or the result as text.
func resultText(x any) string {
	if m, ok := x.(map[string]any); ok {
		if s, ok := m["text"].(string); ok {
			return s
		}
	}
	return text(x)
}
