package workflow

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawTasks draws tasks that wait for others before them, some with subtasks.
func drawTasks(t *rapid.T, depth int) []DocTask {
	n := rapid.IntRange(1, 4).Draw(t, "tasks")
	list := make([]DocTask, n)
	for i := range list {
		x := &list[i]
		x.Description = rapid.SampledFrom([]string{"Do it", "Find ${out}", "Ship\n\nthe thing", "Ünïcödé", "$", "- a: list"}).Draw(t, "description")
		x.Status = completed
		switch rapid.IntRange(0, 2).Draw(t, "who") {
		case 0:
			x.Agent = rapid.SampledFrom([]string{"ada", "ben"}).Draw(t, "agent")
		default:
			x.Role = rapid.SampledFrom([]string{"coder", "critic", DefaultRole}).Draw(t, "role")
		}
		if rapid.Bool().Draw(t, "validated") {
			x.Validation = "it works"
		}
		for p := range i {
			if rapid.IntRange(0, 2).Draw(t, fmt.Sprint(p)) == 0 {
				x.Prerequisites = append(x.Prerequisites, p)
			}
		}
		if depth > 0 && rapid.IntRange(0, 3).Draw(t, "nested") == 0 {
			x.Subtasks, x.Status = drawTasks(t, depth-1), ""
		}
	}
	return list
}

// begun takes out what became of tasks.
func begun(list []DocTask) []DocTask {
	for i := range list {
		list[i].Status = ""
		begun(list[i].Subtasks)
	}
	return list
}

// A plan that is made into a definition, and that into a plan again, is the same plan:
// its order, nesting, prerequisites, descriptions, assignees.
func TestPlanRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &PlanDoc{Goal: "Ship the thing", Tasks: drawTasks(t, 2)}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		read, err := ReadPlan(text)
		if err != nil {
			t.Fatal(err)
		}
		d, err := FromPlan(read, "", false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if d.Name != "ship-the-thing" || d.Description != p.Goal {
			t.Fatalf("%q, %q", d.Name, d.Description)
		}
		w, problems := Compile(d)
		if w == nil {
			t.Fatal(problems)
		}
		again, losses := ToPlan(w, nil)
		if len(losses) > 0 {
			t.Fatalf("lost: %q", losses)
		}
		want := &PlanDoc{Goal: p.Goal, Tasks: begun(p.Tasks)}
		if !reflect.DeepEqual(again, want) {
			a, _ := json.MarshalIndent(again, "", " ")
			b, _ := json.MarshalIndent(want, "", " ")
			y, _ := d.YAML()
			t.Fatalf("%s\nwas\n%s\n%s", a, b, y)
		}
	})
}

func TestPlanRefused(t *testing.T) {
	p := &PlanDoc{Goal: "x", Tasks: []DocTask{{Description: "a", Status: completed}, {Description: "b", Subtasks: []DocTask{{Description: "c", Status: "failed"}, {Description: "d"}}}}}
	if _, err := FromPlan(p, "", false, nil); err == nil || !strings.Contains(err.Error(), "1.0 (failed), 1.1 (not begun)") {
		t.Errorf("an incomplete plan: %v", err)
	}
	if _, err := FromPlan(p, "", true, nil); err != nil {
		t.Error(err)
	}
	for text, part := range map[string]string{
		`[]`:              "cannot be read",
		`{"goal": "x"}`:   "there are no tasks",
		`{"tasks": [{}]}`: "the goal has 0 bytes; it needs one at least, and the limit is 8192; task 0 has no description",
		`{"goal": "x", "tasks": [{"description": "a", "agent": "a", "role": "b", "prerequisites": [0, 5]}]}`:               "names an agent and a role; task 0 waits for itself; task 0: there is no task 5",
		`{"goal": "x", "tasks": [{"description": "a", "prerequisites": [1]}, {"description": "b", "prerequisites": [0]}]}`: "in a circle",
		`{"goal": "x", "tasks": [{"description": "a", "subtasks": [{"description": "<script>"}]}]}`:                        "task 0, subtask 0 looks like a script",
	} {
		if _, err := ReadPlan([]byte(text)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v", text, err)
		}
	}
	taken := map[string]bool{"plan": true, "plan-2": true}
	if got := freeName(slug("…"), func(s string) bool { return taken[s] }); got != "plan-3" {
		t.Error(got)
	}
	long := strings.Repeat("word ", 100)
	if got := freeName(slug(long), func(s string) bool { return s == slug(long) }); len(got) > MaxName || !strings.HasSuffix(got, "word-2") && !strings.HasSuffix(got, "-2") {
		t.Error(len(got), got)
	}
}

// What a plan cannot hold is told, and what a run has really done is its plan.
func TestPlanOfDefinition(t *testing.T) {
	w := func() *Workflow {
		w, problems := Load("t.yaml", []byte(`
name: t
description: Reach it
state: {ok: boolean}
nodes:
  draft: {agent: ada, prompt: "Draft ${input.x}"}
  check: {decision: {}, needs: [draft]}
  ask: {human: {prompt: "Fine?"}}
  again: {agent: ada, prompt: "Again", max_visits: 3}
  end: {role: writer, prompt: "End", needs: [ask]}
edges:
  - {from: check, to: again, if: "!ok"}
  - {from: check, to: ask, default: true}
  - {from: again, to: check}
`))
		if w == nil {
			t.Fatal(problems)
		}
		return w
	}()
	p, losses := ToPlan(w, nil)
	all := strings.Join(losses, "\n")
	for _, part := range []string{"check: a plan takes no decisions", "again: the way back to check", "ask: a human node becomes", "draft: its prompt takes values", "the state (1 keys)"} {
		if !strings.Contains(all, part) {
			t.Errorf("not said: %s\n%s", part, all)
		}
	}
	if len(p.Tasks) != 4 || p.Goal != "Reach it" {
		t.Errorf("%+v", p)
	}
	p, _ = ToPlan(w, map[string]Done{
		"draft": {Status: completed, Visits: 1, Result: "d"}, "check": {Status: completed, Visits: 1},
		"ask": {Status: completed, Visits: 1, Result: true}, "end": {Status: completed, Visits: 2, Result: "e"},
	})
	want := []DocTask{
		{Description: "Draft ${input.x}", Agent: "ada", Status: completed, Result: "d"},
		{Description: "Fine?", Prerequisites: []int{0}, Status: completed, Result: true},
		{Description: "End", Role: "writer", Prerequisites: []int{1}, Status: completed, Result: "e"},
	}
	if !reflect.DeepEqual(p.Tasks, want) {
		t.Errorf("%+v", p.Tasks)
	}
}
