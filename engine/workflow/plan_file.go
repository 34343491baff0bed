package workflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// PlanDoc is a plan as a document: a goal and the tasks that lead there. It is the
// result of a plan node, too.
type PlanDoc struct {
	Goal  string    `json:"goal"`
	Tasks []DocTask `json:"tasks"`
}

// DocTask is a task of a plan, with what became of it.
type DocTask struct {
	Description   string    `json:"description"`
	Agent         string    `json:"agent,omitempty"`
	Role          string    `json:"role,omitempty"`
	Prerequisites []int     `json:"prerequisites,omitempty"` // tasks beside it by number, from 0
	Validation    string    `json:"validation,omitempty"`
	Status        string    `json:"status,omitempty"` // completed, failed, blocked; "": nobody has begun it
	Result        any       `json:"result,omitempty"`
	Error         string    `json:"error,omitempty"`
	Subtasks      []DocTask `json:"subtasks,omitempty"` // all of which are to be done for it
}

const completed = "completed"

// ReadPlan reads a plan, and says everything that is wrong with it.
func ReadPlan(text []byte) (*PlanDoc, error) {
	if len(text) > MaxPlan {
		return nil, fmt.Errorf("the plan has %d bytes, the limit is %d", len(text), MaxPlan)
	}
	var p PlanDoc
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("the plan cannot be read: %w", err)
	}
	var reasons []string
	if n := len(p.Goal); n == 0 || n > MaxGoal {
		reasons = append(reasons, fmt.Sprintf("the goal has %d bytes; it needs one at least, and the limit is %d", n, MaxGoal))
	}
	n := 0
	checkTasks(p.Tasks, "task", 1, &n, &reasons)
	if len(reasons) > 0 {
		return nil, fmt.Errorf("the plan is wrong: %s", strings.Join(reasons[:min(len(reasons), maxReasons)], "; "))
	}
	return &p, nil
}

// maxNesting is how deep tasks may be within tasks.
const maxNesting = 8

func checkTasks(list []DocTask, what string, depth int, n *int, reasons *[]string) {
	bad := func(format string, args ...any) { *reasons = append(*reasons, fmt.Sprintf(format, args...)) }
	switch {
	case len(list) == 0:
		bad("there are no tasks")
		return
	case depth > maxNesting:
		bad("tasks are nested deeper than %d", maxNesting)
		return
	}
	var tasks []Task
	for i, t := range list {
		name := fmt.Sprintf("%s %d", what, i)
		if *n++; *n > MaxNodes/4 {
			bad("there are more than %d tasks", MaxNodes/4)
			return
		}
		switch {
		case strings.TrimSpace(t.Description) == "":
			bad("%s has no description", name)
		case len(t.Description)+len(t.Validation) > MaxText/2:
			bad("%s has more than %d bytes of text", name, MaxText/2)
		case scripted(t.Description) || scripted(t.Validation):
			bad("%s looks like a script", name)
		}
		if t.Agent != "" && t.Role != "" {
			bad("%s names an agent and a role", name)
		}
		before := make([]any, len(t.Prerequisites))
		for j, p := range t.Prerequisites {
			before[j] = int64(p)
		}
		prerequisites(before, i, len(list), bad)
		tasks = append(tasks, Task{Prerequisites: slices.DeleteFunc(slices.Clone(t.Prerequisites), func(p int) bool { return p < 0 || p >= len(list) })})
		if len(t.Subtasks) > 0 {
			checkTasks(t.Subtasks, name+", subtask", depth+1, n, reasons)
		}
	}
	if cycle := cycleIn(tasks); cycle != nil {
		bad("%ss %v wait for one another in a circle", what, cycle)
	}
}

// unfinished returns the tasks that are not completed, by number.
func unfinished(list []DocTask, what string) (names []string) {
	for i, t := range list {
		name := fmt.Sprintf("%s%d", what, i)
		switch {
		case len(t.Subtasks) > 0:
			names = append(names, unfinished(t.Subtasks, name+".")...)
		case t.Status == "":
			names = append(names, name+" (not begun)")
		case t.Status != completed:
			names = append(names, name+" ("+source.Clip(t.Status)+")")
		}
	}
	return names
}

// FromPlan makes a definition of a plan, to be run again: a node for each task, with
// edges where one builds on another; subtasks run in parallel and converge. Results are
// left out. A plan that is not complete is refused, unless forced. Without a name the
// definition gets one from the goal that is not taken.
func FromPlan(p *PlanDoc, name string, force bool, taken func(string) bool) (*Definition, error) {
	if open := unfinished(p.Tasks, ""); len(open) > 0 && !force {
		return nil, fmt.Errorf("the plan is not complete: task %s; it can be forced", strings.Join(open[:min(len(open), maxReasons)], ", "))
	}
	if name == "" {
		name = freeName(slug(p.Goal), taken)
	}
	d := &Definition{Name: name, Description: p.Goal, src: source.NewFile("", "")}
	d.tasks(p.Tasks, "task", "")
	return d.settled()
}

// slug makes a name of a goal.
func slug(goal string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(goal) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := b.String()
	s = strings.Trim(s[:min(len(s), MaxName)], "-")
	if s == "" {
		return "plan"
	}
	return s
}

// freeName returns name, or name with a number, that is not taken.
func freeName(name string, taken func(string) bool) string {
	for try, i := name, 2; ; i++ {
		if taken == nil || !taken(try) {
			return try
		}
		end := fmt.Sprintf("-%d", i)
		try = strings.TrimRight(name[:min(len(name), MaxName-len(end))], "-") + end
	}
}

// untilWords stands between what a task is and how one can tell that it is done.
const untilWords = "\n\nIt is done when this holds:\n\n"

// tasks adds the nodes of tasks, which begin after the node called after, if any. It
// returns the nodes that nothing waits for.
func (d *Definition) tasks(list []DocTask, prefix, after string) (last []string) {
	ends := make([]string, len(list)) // of each task: the node that it is done with
	for i, t := range list {
		if ends[i] = fmt.Sprintf("%s_%d", prefix, i+1); len(t.Subtasks) > 0 {
			ends[i] += "_done"
		}
	}
	needed := map[int]bool{}
	for i, t := range list {
		id := fmt.Sprintf("%s_%d", prefix, i+1)
		n := &NodeDef{ID: id, Fields: map[string]any{}}
		for _, p := range t.Prerequisites {
			n.Needs, needed[p] = append(n.Needs, ends[p]), true
		}
		if len(n.Needs) == 0 && after != "" {
			n.Needs = []string{after}
		}
		d.Nodes = append(d.Nodes, n)
		if len(t.Subtasks) > 0 {
			n.Kind, n.Description = Parallel, t.Description
			n.Extra = assignee(t)
			done := &NodeDef{ID: ends[i], Kind: Converge, Fields: map[string]any{}}
			done.Needs = d.tasks(t.Subtasks, id, id)
			d.Nodes = append(d.Nodes, done)
			continue
		}
		n.Kind = Agent
		prompt := t.Description
		if t.Validation != "" {
			prompt += untilWords + t.Validation
		}
		n.Fields["prompt"] = strings.ReplaceAll(prompt, "${", "$${")
		switch {
		case t.Agent != "":
			n.Fields["agent"] = t.Agent
		case t.Role != "":
			n.Fields["role"] = t.Role
		default:
			n.Fields["role"] = DefaultRole
		}
	}
	for i := range list {
		if !needed[i] {
			last = append(last, ends[i])
		}
	}
	return last
}

// assignee keeps who was to do a task that has subtasks, where nobody does it.
func assignee(t DocTask) map[string]any {
	m := map[string]any{}
	for k, v := range map[string]string{"x-agent": t.Agent, "x-role": t.Role, "x-validation": t.Validation} {
		if v != "" {
			m[k] = v
		}
	}
	return m
}

// Done is what became of a node in a run.
type Done struct {
	Status string
	Visits int
	Result any
	Error  string
}

// ToPlan makes a plan of a definition, in the order in which its nodes can run. What a
// plan cannot hold is told as losses. With done, by node, it is the plan that a run has
// carried out: nodes that were not reached are left out, and what was done is a task
// whatever did it.
func ToPlan(w *Workflow, done map[string]Done) (*PlanDoc, []string) {
	x := &planning{w: w, done: done}
	p := &PlanDoc{Goal: w.Def.Description}
	if p.Goal == "" {
		p.Goal = w.Name
	}
	if n := len(p.Goal); n > MaxGoal {
		p.Goal = strings.ToValidUTF8(p.Goal[:MaxGoal], "")
		x.lose("the description is cut from %d to %d bytes", n, MaxGoal)
	}
	x.place()
	p.Tasks = x.tasks(x.order)
	if len(w.Keys) > 0 {
		x.lose("the state (%d keys) is left out", len(w.Keys))
	}
	return p, x.losses
}

// planning makes a plan of a definition.
type planning struct {
	w      *Workflow
	done   map[string]Done // nil: nothing was run
	order  []int           // nodes, each after those before it
	losses []string
}

func (x *planning) lose(format string, args ...any) {
	x.losses = append(x.losses, fmt.Sprintf(format, args...))
}

// place puts the nodes in order: back edges do not count, the first declared goes first.
func (x *planning) place() {
	placed := make([]bool, len(x.w.Nodes))
	for range x.w.Nodes {
		for _, n := range x.w.Nodes {
			ready := !placed[n.Index]
			for _, e := range n.In {
				ready = ready && (placed[e.From] || e.Back)
			}
			if ready {
				placed[n.Index] = true
				x.order = append(x.order, n.Index)
				break
			}
		}
	}
}

// reached reports whether a node belongs into the plan.
func (x *planning) reached(n *Node) bool {
	return x.done == nil || x.done[n.ID].Visits > 0 || x.done[n.ID].Status == "failed"
}

// tasks returns the tasks of nodes, which are in order.
func (x *planning) tasks(nodes []int) []DocTask {
	var list []DocTask
	item := map[int]int{}   // by node: its task
	var passes []int        // nodes that are no task
	starts := map[int]int{} // by task: the node that it begins with
	for _, i := range nodes {
		n := x.w.Nodes[i]
		if _, ok := item[i]; ok || slices.Contains(passes, i) || !x.reached(n) {
			continue
		}
		if inner, end := x.inside(n, nodes); end >= 0 {
			t := DocTask{Description: n.Def.Description, Subtasks: x.tasks(inner)}
			if t.Description == "" {
				t.Description = n.Def.Title()
			}
			t.Agent, _ = n.Def.Extra["x-agent"].(string)
			t.Role, _ = n.Def.Extra["x-role"].(string)
			t.Validation, _ = n.Def.Extra["x-validation"].(string)
			for _, m := range append(append([]int{i}, inner...), end) {
				item[m] = len(list)
			}
			starts[len(list)] = i
			if x.w.Nodes[end].Runs {
				x.lose("node %s: what combines the branches is left out", x.w.Nodes[end].ID)
			}
			list = append(list, t)
			continue
		}
		t, ok := x.task(n)
		if !ok {
			passes = append(passes, i)
			continue
		}
		item[i], starts[len(list)] = len(list), i
		list = append(list, t)
	}
	for t := range list {
		seen := map[int]bool{}
		x.before(starts[t], item, passes, seen, func(o int) {
			if o != t && !slices.Contains(list[t].Prerequisites, o) {
				list[t].Prerequisites = append(list[t].Prerequisites, o)
			}
		})
		slices.Sort(list[t].Prerequisites)
	}
	return list
}

// before calls do with the tasks that lead to a node, directly or over nodes that are
// no task.
func (x *planning) before(node int, item map[int]int, passes []int, seen map[int]bool, do func(int)) {
	for _, e := range x.w.Nodes[node].In {
		if seen[e.From] || e.Back {
			continue
		}
		seen[e.From] = true
		if t, ok := item[e.From]; ok {
			do(t)
		} else if slices.Contains(passes, e.From) {
			x.before(e.From, item, passes, seen, do)
		}
	}
}

// inside returns the nodes between a parallel node and the converge that it belongs to,
// where all its branches meet; -1 if there is none among nodes.
func (x *planning) inside(n *Node, nodes []int) (inner []int, end int) {
	if n.Kind != Parallel {
		return nil, -1
	}
	for end = x.w.ConvergeAfter(n.Index); end >= 0 && slices.Contains(nodes, end) && x.reached(x.w.Nodes[end]); end = x.w.ConvergeAfter(end) {
		inner := x.between(n.Index, end, nodes)
		open := 0 // parallel nodes that meet further on: the converge is theirs
		for _, i := range inner {
			switch x.w.Nodes[i].Kind {
			case Parallel:
				open++
			case Converge:
				open--
			}
		}
		if open == 0 && slices.ContainsFunc(inner, func(i int) bool { return x.reached(x.w.Nodes[i]) }) {
			return inner, end
		}
	}
	return nil, -1
}

// between returns the nodes that a node leads to before end, in order; none if one of
// them is led to from outside, too.
func (x *planning) between(from, end int, nodes []int) (inner []int) {
	within := map[int]bool{from: true}
	for _, i := range nodes {
		if i == from || i == end {
			continue
		}
		for _, e := range x.w.Nodes[i].In {
			within[i] = within[i] || within[e.From] && !e.Back
		}
		if within[i] {
			inner = append(inner, i)
		}
	}
	for _, i := range inner {
		for _, e := range x.w.Nodes[i].In {
			if !within[e.From] {
				return nil
			}
		}
	}
	return inner
}

// task returns the task that a node is; ok is false if it is none.
func (x *planning) task(n *Node) (t DocTask, ok bool) {
	run := x.done != nil
	switch n.Kind {
	case Parallel:
		return t, false
	case Converge:
		if !n.Runs {
			return t, false
		}
	case End:
		if n.Def.Text("end") == "failed" && !run {
			x.lose("node %s: that the run ends as failed is left out", n.ID)
		}
		return t, false
	case Decision:
		if !run {
			x.lose("node %s: a plan takes no decisions; all ways are tasks", n.ID)
		}
		return t, false
	case Agent:
	default:
		if !run {
			x.lose("node %s: %s becomes a task for an agent", n.ID, nodeWords(n.Kind))
		}
	}
	if !run {
		for _, e := range n.Out {
			if e.Back {
				x.lose("node %s: the way back to %s is left out", n.ID, x.w.Nodes[e.To].ID)
			} else if e.If != nil {
				x.lose("node %s: the condition of the way to %s is left out", n.ID, x.w.Nodes[e.To].ID)
			}
		}
		if n.OnError != nil || n.OnTimeout != nil {
			x.lose("node %s: what follows a failure is left out", n.ID)
		}
	}
	t.Agent, t.Role = n.Def.Text("agent"), n.Def.Text("role")
	prompt := n.Def.Text("prompt")
	if n.Prompt != nil {
		if v, literal := n.Prompt.Literal(); literal {
			prompt, _ = v.(string)
		} else if !run {
			x.lose("node %s: its prompt takes values from the run, which a plan does not have", n.ID)
		}
	}
	t.Description, t.Validation, _ = strings.Cut(prompt, untilWords)
	if t.Description == "" {
		t.Description = n.Def.Title()
	}
	if d, has := x.done[n.ID]; has {
		t.Status, t.Result, t.Error = d.Status, d.Result, d.Error
		if d.Visits > 1 {
			x.lose("node %s was done %d times; the last result counts", n.ID, d.Visits)
		}
	}
	return t, true
}
