package workflow

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func task(description string, more ...any) map[string]any {
	m := map[string]any{"description": description}
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

// A plan is taken as a whole, and what is wrong with it is said at once.
func TestReadTasks(t *testing.T) {
	many := make([]any, MaxTasks+1)
	for i := range many {
		many[i] = task("x")
	}
	before := func(n ...any) []any { return n }
	for _, c := range []struct {
		name  string
		plan  any
		wrong []string // parts of the reasons, in order; none: it holds
	}{
		{"none", nil, []string{"no object"}},
		{"a list", []any{task("x")}, []string{"no object"}},
		{"no tasks", map[string]any{"tasks": "x"}, []string{"no list called tasks"}},
		{"empty", []any{}, []string{"no object"}},
		{"too many", map[string]any{"tasks": many}, []string{"51 tasks"}},
		{"as many as may be", map[string]any{"tasks": many[1:]}, nil},
		{"forward and back", map[string]any{"tasks": []any{task("a", "prerequisites", before(int64(1))), task("b")}}, nil},
		{"whole doubles", map[string]any{"tasks": []any{task("a"), task("b", "prerequisites", before(0.0))}}, nil},
		{"all at once", map[string]any{"tasks": []any{
			task(" ", "role", strings.Repeat("r", MaxRole+1)), "x", task("c", "prerequisites", before(int64(2), int64(3), int64(-1), 0.5, int64(0), int64(0), int64(1)<<62)),
			task("onload=x", "validation", strings.Repeat("é", MaxValidation+1), "prerequisites", "0"), task(strings.Repeat("d", MaxDescription+1), "role", int64(1)),
		}}, []string{
			"task 0: role has 33", "task 0 has no description", "task 1 is no object", "task 2 waits for itself", "no task -1", "no task 0.5", "task 0 twice",
			"no task 4611686018427387904", "task 3: description looks like a script", "validation has 257", "prerequisites is no list", "task 4: description has 513", "role is no text",
		}},
		{"longest", map[string]any{"tasks": []any{task(strings.Repeat("é", MaxDescription), "validation", strings.Repeat("é", MaxValidation))}}, nil},
		{"a circle", map[string]any{"tasks": []any{
			task("a"), task("b", "prerequisites", before(int64(0), int64(3))), task("c", "prerequisites", before(int64(1))), task("d", "prerequisites", before(int64(2))), task("e", "prerequisites", before(int64(3))),
		}}, []string{"tasks 1, 3, 2 wait"}},
	} {
		tasks, reasons := ReadTasks(c.plan, nil)
		if len(reasons) != len(c.wrong) || (tasks == nil) != (c.wrong != nil) {
			t.Errorf("%s: %d tasks, %q", c.name, len(tasks), reasons)
			continue
		}
		for i, w := range c.wrong {
			if !strings.Contains(reasons[i], w) {
				t.Errorf("%s: reason %d is %q, want %q", c.name, i, reasons[i], w)
			}
		}
	}
	got, _ := ReadTasks(map[string]any{"tasks": []any{task("a", "role", "Coder"), task("b", "role", "pirate"), task("c", "prerequisites", before(int64(1)))}}, []string{"coder"})
	want := []Task{{"a", "Coder", nil, ""}, {"b", DefaultRole, nil, ""}, {"c", DefaultRole, []int{1}, ""}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// A circle is found exactly where there is one, and is one.
func TestCycles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "n")
		tasks := make([]Task, n)
		for i := range tasks {
			for p := range n {
				if p != i && rapid.IntRange(0, 5).Draw(t, fmt.Sprint(i, p)) == 0 {
					tasks[i].Prerequisites = append(tasks[i].Prerequisites, p)
				}
			}
		}
		reach := make([][]bool, n) // over one or more steps
		for i := range reach {
			reach[i] = make([]bool, n)
			for _, p := range tasks[i].Prerequisites {
				reach[i][p] = true
			}
		}
		for k := range n {
			for i := range n {
				for j := range n {
					reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
				}
			}
		}
		circular := false
		for i := range n {
			circular = circular || reach[i][i]
		}
		cycle := cycleIn(tasks)
		if (cycle != nil) != circular {
			t.Fatalf("%+v: circle %v", tasks, cycle)
		}
		for i, at := range cycle {
			next := cycle[(i+1)%len(cycle)]
			found := false
			for _, p := range tasks[at].Prerequisites {
				found = found || p == next
			}
			if !found {
				t.Fatalf("%v: task %d does not wait for %d", cycle, at, next)
			}
		}
	})
}
