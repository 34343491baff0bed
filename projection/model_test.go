package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

var quiet = Options{Logger: slog.New(slog.DiscardHandler)}

func open(t testing.TB, dir string, log eventlog.Log) *Views {
	t.Helper()
	v, err := Open(dir, log, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func closed(t testing.TB, v *Views) {
	t.Helper()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// rows folds every run's row anew, newest first.
func (w *world) rows() []Row {
	var rows []Row
	for _, l := range w.runs {
		if len(l.events) == 0 {
			continue
		}
		var r Row
		for _, e := range l.events {
			if err := r.Apply(e); err != nil {
				w.t.Fatal(err)
			}
		}
		w.agrees(&r, l.state)
		for _, p := range l.erased {
			r.erased(p, &p.Targets[0])
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b Row) int { return int(b.CreatedSeq) - int(a.CreatedSeq) })
	return rows
}

// agrees compares a row with the full fold of its run.
func (w *world) agrees(r *Row, s *run.State) {
	completed := 0
	for _, n := range s.Nodes {
		completed += n.Completed
	}
	if o := s.Origin; o != nil { // a row counts what the run did itself
		for _, n := range w.foldOf(o.Run, w.byID[o.Run].events[:o.At]).Nodes {
			completed -= n.Completed
		}
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"status", r.Status, s.Status},
		{"version", r.Version, s.Version},
		{"seq", r.Seq, s.Seq},
		{"created", r.Created, s.Created},
		{"ended", r.Ended, s.Ended},
		{"completed", r.Completed, completed},
		{"workflow", r.Workflow, s.Workflow},
		{"labels", r.Labels, map[string]string(s.Labels)},
		{"parent", r.Parent, s.Parent},
		{"deadline", r.Deadline, s.Deadline},
		{"failed", r.Failure != nil, s.Failure != nil},
		{"output", r.OutputSize, len(s.Output)},
		{"spent", r.Spent, s.Spent},
		{"over", r.Status == run.Paused && r.Over == (event.BudgetID{}), s.Status == run.Paused && s.Over == nil},
		{"marks", len(r.Marks), min(len(s.Marks), maxMarks)},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			w.t.Fatalf("run %s: %s is %v in its row, %v in its state", r.ID, c.what, c.got, c.want)
		}
	}
}

// timers returns what the full folds say is due, as text in order.
func (w *world) timers(n event.Namespace) []string {
	var list []string
	add := func(l *life, at event.Time, node string, visit int, what string) {
		list = append(list, fmt.Sprintf("%d %s %s#%d %s", at, l.id, node, visit, what))
	}
	for _, l := range w.runs {
		if l.state.Namespace != n {
			continue
		}
		for _, t := range l.state.Timers {
			add(l, t.At, t.Node, t.Visit, t.For)
		}
		for _, v := range l.state.Live {
			if v.RetryAt != 0 && v.Status == run.NodeScheduled {
				add(l, v.RetryAt, v.Node, v.Visit, "retry")
			}
		}
	}
	slices.Sort(list)
	return list
}

// inputs returns the questions that the full folds have open, as text.
func (w *world) inputs(n event.Namespace) []string {
	var list []string
	for _, l := range w.runs {
		for _, v := range l.state.Live {
			if l.state.Namespace == n && v.Asks() {
				list = append(list, fmt.Sprintf("%s %s#%d", l.id, v.Node, v.Visit))
			}
		}
	}
	slices.Sort(list)
	return list
}

// collect reads a list page by page, with pages of random size.
func collect[T any](w *world, page func(cursor string, limit int) ([]T, string, error)) []T {
	w.t.Helper()
	all := []T{}
	for cursor := ""; ; {
		limit := 1 + w.rng.IntN(40)
		items, next, err := page(cursor, limit)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(items) > limit {
			w.t.Fatalf("a page of %d has %d items", limit, len(items))
		}
		all = append(all, items...)
		if next == "" {
			return all
		}
		cursor = next
	}
}

func (w *world) same(what string, got, want any) {
	w.t.Helper()
	if reflect.DeepEqual(got, want) {
		return
	}
	g, x := reflect.ValueOf(got), reflect.ValueOf(want)
	if g.Kind() == reflect.Slice && g.Len() != x.Len() {
		w.t.Errorf("%s: %d items, not %d", what, g.Len(), x.Len())
	}
	for i := 0; g.Kind() == reflect.Slice && i < min(g.Len(), x.Len()); i++ {
		if a, b := g.Index(i).Interface(), x.Index(i).Interface(); !reflect.DeepEqual(a, b) {
			w.t.Fatalf("%s: item %d\n got %v\nwant %v", what, i, a, b)
		}
	}
	w.t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
}

// check compares everything the views answer with the twin.
func (w *world) check(v *Views) {
	w.t.Helper()
	ctx := context.Background()
	rows := w.rows()
	all, running := []Row{}, []Row{}
	for _, of := range namespaceNames { // the order in which they stand in keys
		totals := map[run.Status]int{}
		for _, r := range rows {
			if r.Namespace != of {
				continue
			}
			if totals[r.Status]++; r.Status == run.Running {
				running = append(running, r)
			}
			all = append(all, r)
		}
		got, err := v.Totals(ctx, of)
		if err != nil {
			w.t.Fatal(err)
		}
		w.same("totals", got, totals)
		for _, f := range w.filters() {
			f.Namespace = of
			want := []Row{}
			for _, r := range rows {
				if w.matches(&r, f) {
					want = append(want, r)
				}
			}
			list := collect(w, func(c string, n int) ([]Row, string, error) { return v.Runs(ctx, f, c, n) })
			w.same(fmt.Sprintf("runs of %+v", f), list, want)
		}
	}
	w.same("all runs", collect(w, func(c string, n int) ([]Row, string, error) { return v.AllRuns(ctx, c, n) }), all)
	w.same("all that run", collect(w, func(c string, n int) ([]Row, string, error) { return v.ByStatus(ctx, run.Running, c, n) }), running)
	for range 3 {
		if len(rows) == 0 {
			break
		}
		r := rows[w.rng.IntN(len(rows))]
		row, err := v.Run(ctx, r.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		w.same("row", row, r)
		children := []Row{}
		for _, c := range slices.Backward(rows) {
			if c.Parent != nil && c.Parent.Run == r.ID {
				children = append(children, c)
			}
		}
		forks := []Row{}
		for _, c := range slices.Backward(rows) {
			if c.From == r.ID {
				forks = append(forks, c)
			}
		}
		w.same("forks", collect(w, func(c string, n int) ([]Row, string, error) { return v.Forks(ctx, r.ID, c, n) }), forks)
		w.same("children", collect(w, func(c string, n int) ([]Row, string, error) { return v.Children(ctx, r.ID, c, n) }), children)
	}
	for _, n := range namespaceNames {
		w.checkOpen(v, n)
		w.checkDefinitions(v, n)
	}
	w.checkTriggers(v)
}

// checkTriggers compares the rows of triggers with a fold of their stream from its
// beginning.
func (w *world) checkTriggers(v *Views) {
	w.t.Helper()
	byName := map[string]*Trigger{}
	events, err := w.log.ReadRun(event.Triggers, 0, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		p, err := event.Decode(e.Kind, e.Payload)
		if err != nil {
			w.t.Fatal(err)
		}
		name, err := event.TriggerOf(p)
		if err != nil {
			w.t.Fatal(err)
		}
		if byName[name], err = FoldTrigger(byName[name], p, e.Seq, event.Time(e.Time), e.Actor); err != nil {
			w.t.Fatal(err)
		}
	}
	list, err := v.Triggers(context.Background(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[string]*Trigger{}
	for _, t := range list {
		found[t.Name] = t
	}
	for name, t := range byName {
		if t == nil {
			delete(byName, name)
		}
	}
	w.same("triggers", found, byName)
}

func (w *world) filters() []Filter {
	return []Filter{
		{},
		{Status: run.Running},
		{Status: run.Status(w.pick("waiting", "paused", "completed", "failed", "cancelled", "pending", "nonsense"))},
		{Workflow: "NIGHTLY"},
		{Workflow: "review-loop", Status: run.Running},
		{Labels: map[string]string{"team": w.pick("red", "blue", "green")}},
		{Labels: map[string]string{"team": w.pick("red", "blue"), "env": w.pick("prod", "test")}},
		{Labels: map[string]string{"team": w.pick("red", "blue")}, Status: run.Status(w.pick("running", "waiting", "completed", "failed"))},
		{Labels: map[string]string{"env": "prod"}, Workflow: "nightly"},
		{Labels: map[string]string{"team": "red", "env": "prod"}, Status: run.Running, Workflow: "nightly"},
	}
}

func (w *world) matches(r *Row, f Filter) bool {
	for k, v := range f.Labels {
		if r.Labels[k] != v {
			return false
		}
	}
	both := 0 // review-loop and Review_Loop
	for _, name := range []string{"review-loop", "Review_Loop"} {
		if slices.ContainsFunc(w.defs, func(d event.DefinitionRegistered) bool { return d.Name == name && d.Namespace == f.Namespace }) {
			both++
		}
	}
	if both == 2 && f.Workflow == "review-loop" && r.Workflow != f.Workflow {
		return false
	}
	norm := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "-")) }
	return r.Namespace == f.Namespace && (f.Status == "" || f.Status == r.Status) && (f.Workflow == "" || norm(f.Workflow) == norm(r.Workflow))
}

func (w *world) checkOpen(v *Views, of event.Namespace) {
	w.t.Helper()
	ctx := context.Background()
	var timers []string
	last := event.Time(0)
	for _, t := range collect(w, func(c string, n int) ([]Timer, string, error) { return v.NextTimers(ctx, of, c, n) }) {
		if t.At < last {
			w.t.Fatal("timers are not in order")
		}
		last = t.At
		timers = append(timers, fmt.Sprintf("%d %s %s#%d %s", t.At, t.Run, t.Node, t.Visit, t.For))
	}
	slices.Sort(timers)
	w.same("timers", timers, w.timers(of))
	due, err := v.Due(ctx, of, event.Time(w.clock), 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	want := 0
	for _, s := range w.timers(of) {
		var at int64
		if fmt.Sscan(s, &at); at <= w.clock {
			want++
		}
	}
	w.same("timers due", len(due), want)

	inbox := collect(w, func(c string, n int) ([]Input, string, error) { return v.Inbox(ctx, InputFilter{Namespace: of}, c, n) })
	var inputs []string
	for i, in := range inbox {
		if i > 0 && in.Seq >= inbox[i-1].Seq {
			w.t.Fatal("the inbox is not newest first")
		}
		inputs = append(inputs, fmt.Sprintf("%s %s#%d", in.Run, in.Node, in.Visit))
		l := w.byID[in.Run]
		w.same("workflow of an input", in.Workflow, l.state.Workflow)
		var due event.Time
		if t := l.state.Timer(in.Node, in.Visit, "input"); t != nil {
			due = t.At
		}
		w.same("due time of an input", in.Due, due)
		w.same("event of an input", l.events[in.Version-1].Seq, in.Seq)
	}
	slices.Sort(inputs)
	w.same("inbox", inputs, w.inputs(of))
	mine := collect(w, func(c string, n int) ([]Input, string, error) {
		return v.Inbox(ctx, InputFilter{Namespace: of, Assignee: "ann"}, c, n)
	})
	w.same("inbox of ann", len(mine), len(slices.DeleteFunc(slices.Clone(inbox), func(in Input) bool { return in.Assignee != "ann" })))
}

func (w *world) checkDefinitions(v *Views, of event.Namespace) {
	w.t.Helper()
	ctx := context.Background()
	newest := map[string]event.DefinitionRegistered{}
	first := map[string]event.DefinitionRegistered{}
	for _, d := range w.defs {
		if d.Namespace != of {
			continue
		}
		newest[d.Name] = d
		if _, ok := first[d.Hash]; !ok {
			first[d.Hash] = d
		}
	}
	defs := collect(w, func(c string, n int) ([]Definition, string, error) { return v.Definitions(ctx, of, c, n) })
	w.same("names", len(defs), len(newest))
	for _, d := range defs {
		w.same("newest version", d.Version, newest[d.Name].Version)
		full, err := v.Definition(ctx, of, d.Name, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		w.same("definition", full.JSON, newest[d.Name].Definition)
		versions := collect(w, func(c string, n int) ([]Definition, string, error) {
			return v.DefinitionVersions(ctx, of, d.Name, c, n)
		})
		w.same("versions", len(versions), newest[d.Name].Version)
	}
	for hash, d := range first {
		full, err := v.DefinitionIn(ctx, of, hash)
		if err != nil {
			w.t.Fatal(err)
		}
		w.same("definition by hash", full.JSON, d.Definition)
	}
	for i := range w.foreign {
		if d, err := v.DefinitionByHash(ctx, fmt.Sprintf("foreign%d", i)); err != nil || !strings.Contains(d.Name, "@wfd.dev/") {
			w.t.Fatalf("a definition of another log: %+v, %v", d, err)
		}
	}
	_, err := v.Resolve(ctx, of, "REVIEW-loop")
	_, a := newest["review-loop"]
	_, b := newest["Review_Loop"]
	switch {
	case a && b && !errors.Is(err, ErrAmbiguous), !a && !b && !errors.Is(err, ErrNotFound), a != b && err != nil:
		w.t.Fatalf("resolve: %v (registered: %t, %t)", err, a, b)
	}
}

// TestViewsAgainstTwin lets runs live, and in between reads, closes and opens,
// loses the process (the directory is copied without Close) or the machine.
func TestViewsAgainstTwin(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 4
	}
	kinds := map[eventlog.Kind]int{}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			w.kinds = kinds
			dir := t.TempDir()
			v := open(t, dir, w.log)
			for range 12 {
				w.steps(w.rng.IntN(400))
				switch w.rng.IntN(5) {
				case 0:
					closed(t, v)
					v = open(t, dir, w.log)
				case 1:
					w.check(v)
					w.steps(50)
					before := v.Applied()
					copied := filepath.Join(t.TempDir(), "views")
					if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
						t.Fatal(err)
					}
					closed(t, v)
					dir = copied
					v = open(t, dir, w.log)
					if v.Applied() != before {
						t.Fatalf("views stand at %d after a crash of the process, not at %d", v.Applied(), before)
					}
				case 3:
					if err := v.Scrub(context.Background()); err != nil {
						t.Fatal(err)
					}
				case 2:
					if err := v.Verify(context.Background(), nil); err != nil {
						t.Fatal(err)
					}
				}
				w.check(v)
			}
			if err := v.Verify(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
			if err := v.store.checkSums(allBuckets()); err != nil {
				t.Fatal(err)
			}
			closed(t, v)
			if err := checkFile(v.path()); err != nil {
				t.Fatal(err)
			}
		})
	}
	if !testing.Short() {
		for _, name := range kindNames() {
			if k, _ := event.KindOf(name); kinds[k] == 0 {
				t.Errorf("no history had a %s", name)
			}
		}
	}
}

func kindNames() []string {
	var names []string
	for k := range eventlog.Kind(200) {
		if name := event.KindName(k); !strings.HasPrefix(name, "unknown.") {
			names = append(names, name)
		}
	}
	return names
}
