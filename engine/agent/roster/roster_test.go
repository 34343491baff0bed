package roster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func agentFile(role, prompt string) string { return "---\nrole: " + role + "\n---\n" + prompt + "\n" }

func roster(t testing.TB, o Options) *Roster {
	t.Helper()
	r, _, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "Tech-Lead.md", "---\nname: Anna Maria Rossi\nrole: boss\n---\nx")
	put(t, dir, "tech-writer_v2.md", agentFile("writer", "x"))
	put(t, dir, "rossi.v1.md", agentFile("boss", "x"))
	put(t, dir, "README.md", "no agent")
	put(t, dir, ".hidden.md", "no agent")
	put(t, dir, "notes.txt", "no agent")
	r := roster(t, Options{Dir: dir})
	for name, want := range map[string]string{
		"tech-lead": "tech-lead", "TECH_LEAD": "tech-lead", "Tech Lead": "tech-lead", "anna maria rossi": "tech-lead", "Anna-Maria": "tech-lead",
		"tech-writer": "tech-writer_v2", "tech-writer-v2": "tech-writer_v2", "rossi": "rossi.v1", "Rossi.v1": "rossi.v1",
		"baccio": "baccio", "Teacher of math": "", "teacher-of-mathematics": "teacher-math", "app release": "app-release-manager",
		"tech": "ambiguous", "teacher": "ambiguous", "tec": "", "": "", "tech-": "", "rossi.": "", "annamaria": "",
		// "anna" is an agent, and only then the beginning of another name.
		"anna": "anna",
	} {
		a, err := r.Lookup(name)
		switch {
		case want == "":
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %v, %v", name, a, err)
			}
		case want == "ambiguous":
			if !errors.Is(err, ErrAmbiguous) {
				t.Errorf("%q: %v, %v", name, a, err)
			}
		case err != nil || a.ID != want:
			t.Errorf("%q: %v, %v", name, a, err)
		}
	}
}

// Of a role, the one with least to do is chosen, then the one chosen longest ago, then
// the first by name; what was chosen counts at once, and no longer once its decision
// was dropped.
func TestChoose(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"a", "b", "c"} {
		put(t, dir, n+".md", agentFile("Judge-X", n))
	}
	r := roster(t, Options{Dir: dir, Defaults: Defaults{Provider: OpenAI, Models: map[string]string{OpenAI: "m"}}})
	choose := func(p *Picks) string {
		t.Helper()
		c, err := p.Choose("", "JUDGE_x")
		if err != nil || c.Candidates != 3 || c.Provider != OpenAI || c.Model != "m" || c.Role != "JUDGE_x" {
			t.Fatalf("%+v, %v", c, err)
		}
		if r.Version(c.Hash).ID != c.ID {
			t.Fatalf("%s is not kept", c.ID)
		}
		return c.ID
	}
	p, q := r.Begin(), r.Begin()
	if got := choose(p) + choose(q) + choose(p) + choose(q); got != "abca" {
		t.Errorf("chosen %s", got)
	}
	p.End() // a and c were for nothing
	p.End()
	b := r.Assign("b", Task{Run: "r"})
	q.End() // b is a task now, and the second a was for nothing
	p = r.Begin()
	if got := choose(p) + choose(p) + choose(p); got != "cab" {
		// a and c are idle, c was chosen longest ago; then all have one
		t.Errorf("then chosen %s", got)
	}
	p.End()
	b.End()
	b.End()
	p = r.Begin()
	if got := choose(p) + choose(p) + choose(p); got != "cab" {
		t.Errorf("at last chosen %s", got)
	}
	p.End()
}

// The roster chooses as a list of all that happened would have it.
func TestChooseAsTwin(t *testing.T) {
	dir := t.TempDir()
	ids := []string{"a", "b", "c", "d"}
	for _, n := range ids {
		put(t, dir, n+".md", agentFile("judge", n))
	}
	rapid.Check(t, func(t *rapid.T) {
		r, _, err := New(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		busy, last, clock := map[string]int{}, map[string]int{}, 0
		var tasks []*Assignment
		var of []string
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(tasks) > 0 && rapid.Bool().Draw(t, "end") {
				i := rapid.IntRange(0, len(tasks)-1).Draw(t, "which")
				tasks[i].End()
				busy[of[i]]--
				tasks, of = slices.Delete(tasks, i, i+1), slices.Delete(of, i, i+1)
				continue
			}
			best := ids[0]
			for _, id := range ids[1:] {
				if busy[id] < busy[best] || busy[id] == busy[best] && last[id] < last[best] {
					best = id
				}
			}
			p := r.Begin()
			c, err := p.Choose("", "judge")
			if err != nil || c.ID != best {
				t.Fatalf("chose %v, want %s: %v", c.Agent, best, err)
			}
			clock++
			last[best] = clock
			if rapid.IntRange(0, 3).Draw(t, "dropped") > 0 {
				tasks, of = append(tasks, r.Assign(c.ID, Task{})), append(of, c.ID)
				busy[best]++
			}
			p.End()
		}
	})
}

// Nobody is chosen more often than others by decisions that are made at once.
func TestChooseAtOnce(t *testing.T) {
	dir := t.TempDir()
	for i := range 5 {
		put(t, dir, fmt.Sprintf("judge-%d.md", i), agentFile("judge", "x"))
	}
	r := roster(t, Options{Dir: dir})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			p := r.Begin()
			defer p.End()
			for range 4 {
				c, err := p.Choose("", "judge")
				if err != nil {
					t.Error(err)
					return
				}
				r.Assign(c.ID, Task{Run: "r", State: Queued}).Now(Thinking, time.Unix(1, 0))
			}
		})
	}
	wg.Wait()
	list, _ := r.List("", "judge", 100)
	total := 0
	for _, s := range list {
		total += s.Working
		if s.Working < 20 || s.Working > 60 || s.State != "working" || len(s.Tasks) != s.Working {
			t.Errorf("%s has %d of 200 tasks", s.ID, s.Working)
		}
	}
	if len(list) != 5 || total != 200 {
		t.Errorf("%d agents have %d tasks", len(list), total)
	}
}

// A role that nobody has gets a generic agent, once, unless that is refused; a name
// does where everything is to be tried.
func TestSpawn(t *testing.T) {
	r := roster(t, Options{})
	var changes []string
	r.Announce(func(c Change) { changes = append(changes, c.What+" "+c.Agent.ID) })
	p := r.Begin()
	defer p.End()
	for range 2 {
		c, err := p.Choose("", "sommelier")
		if err != nil || c.ID != "sommelier-agent" || c.Role != "sommelier" || c.Agent.Role != "sommelier" || !c.Spawned || c.System == "" {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	if !slices.Equal(changes, []string{"spawned sommelier-agent"}) {
		t.Errorf("announced %q", changes)
	}
	if a, err := r.Lookup("sommelier"); err != nil || a.ID != "sommelier-agent" {
		t.Errorf("%v, %v", a, err)
	}
	if _, err := p.Choose("nobody", ""); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("a name that nobody has: %v", err)
	}
	for i := range maxSpawned - 1 {
		if _, err := p.Choose("", fmt.Sprint("role", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Choose("", "one_more"); !errors.Is(err, ErrNotFound) {
		t.Errorf("without end: %v", err)
	}
	if _, err := roster(t, Options{NoSpawn: true}).Begin().Choose("", "sommelier"); !errors.Is(err, ErrNotFound) {
		t.Errorf("refused: %v", err)
	}
	all := roster(t, Options{StandIn: true, Defaults: Defaults{Provider: OpenAI}}).Begin()
	if c, err := all.Choose("Nobody At All", ""); err != nil || c.ID != "nobody-at-all" || c.Provider != Sim {
		t.Errorf("%+v, %v", c.Agent, err)
	}
	if _, err := all.Choose("teacher", ""); !errors.Is(err, ErrAmbiguous) && err != nil {
		t.Errorf("ambiguous: %v", err)
	}
	if _, err := all.Choose("../x", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("a name with a path: %v", err)
	}
}

// What changes in the directory is taken up; a file with errors leaves the agent as it
// was and is reported once; one that goes away takes its agent with it, or gives the
// built-in one back.
func TestRefresh(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "mine.md", agentFile("judge", "one"))
	r := roster(t, Options{Dir: dir})
	var changes []string
	r.Announce(func(c Change) { changes = append(changes, c.What+" "+c.Agent.ID) })
	at := time.Now()
	step := func(name, text string, want []string, errors int) {
		t.Helper()
		changes = nil
		if text != "" {
			put(t, dir, name, text)
			at = at.Add(time.Second) // file systems are coarse
			if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
				t.Fatal(err)
			}
		} else if name != "" {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		got, problems, err := r.Refresh()
		if err != nil || !slices.Equal(changes, want) || len(got) != len(want) || problems.Count("error") != errors {
			t.Errorf("%s: announced %q, want %q; %v, %v", name, changes, want, problems, err)
		}
	}
	prompt := func(name, want string) {
		t.Helper()
		if a, err := r.Lookup(name); err != nil || a.System != want {
			t.Errorf("%s is %+v, %v; want %q", name, a, err, want)
		}
	}
	step("", "", nil, 0)
	step("other.md", agentFile("judge", "other"), []string{"spawned other"}, 0)
	old, _ := r.Begin().Choose("mine", "")
	step("mine.md", agentFile("judge", "two"), []string{"changed mine"}, 0)
	prompt("mine", "two")
	if r.Version(old.Hash).System != "one" {
		t.Error("a task under way has lost its agent")
	}
	step("mine.md", "---\nrole: [\n---\nthree", nil, 1)
	prompt("mine", "two")
	step("", "", nil, 0) // said once
	step("mine.md", agentFile("judge", "four"), []string{"changed mine"}, 0)
	prompt("mine", "four")
	step("mine.md", agentFile("judge", "four"), nil, 0) // touched
	builtIn, _ := r.Lookup("baccio")
	step("baccio.md", agentFile("coder", "my own"), []string{"changed baccio"}, 0)
	prompt("baccio", "my own")
	step("BACCIO.md", agentFile("coder", "another"), []string{"changed baccio"}, 1) // which of the two counts is said
	step("BACCIO.md", "", []string{"changed baccio"}, 0)
	step("baccio.md", "", []string{"changed baccio"}, 0)
	prompt("baccio", builtIn.System)
	step("other.md", "", []string{"despawned other"}, 0)
	if _, err := r.Lookup("other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	if ids, _ := r.List("", "judge", 10); len(ids) != 1 {
		t.Errorf("the role still has %v", ids)
	}
	if _, err := r.Begin().Choose("", "judge"); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Refresh(); err == nil {
		t.Error("a directory that is gone is no error")
	}
	prompt("mine", "four")
}

// At the start, files with errors are refused, all of them at once.
func TestBadDirectory(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.md", "---\nrole: a b\n---\nx")
	put(t, dir, "b.md", "nothing")
	_, _, err := New(Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "a.md:2:7") || !strings.Contains(err.Error(), "b.md:1:1") {
		t.Errorf("%v", err)
	}
	if _, _, err := New(Options{Dir: filepath.Join(dir, "nowhere")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	for i := range MaxAgents {
		put(t, dir, fmt.Sprintf("n%d.md", i), agentFile("x", "y"))
	}
	if _, _, err := New(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "more than 1000 files") {
		t.Errorf("%v", err)
	}
}

func TestList(t *testing.T) {
	r := roster(t, Options{})
	var got []string
	for after := ""; ; {
		list, more := r.List(after, "", 7)
		for _, s := range list {
			got = append(got, s.ID)
			after = s.ID
		}
		if !more {
			break
		}
	}
	if !slices.Equal(got, r.IDs()) {
		t.Errorf("%v", got)
	}
}

// Looking up takes the same time however many agents there are.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 900} {
		dir := b.TempDir()
		for i := range n {
			put(b, dir, fmt.Sprintf("agent-%d.md", i), agentFile("r", "x"))
		}
		r := roster(b, Options{Dir: dir})
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Lookup("AGENT_7"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
