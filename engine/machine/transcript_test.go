package machine

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

var update = flag.Bool("update", false, "rewrite what follows the commands of the transcripts")

// Transcripts are conversations with the machine. A file has comments, which say
// what it guards, a definition, a line "---", and then commands, each with the
// events that followed, or the refusal, indented below it:
//
//	> start {"topic": "tea"}
//	  v1 run.created input={"topic":"tea"} entry=[a]
//
// After every command the live state must equal the fold of the events and its
// own snapshot, and every cut of the append must continue to the same end.
//
// Commands: start JSON · result NODE ok JSON | fail CLASS "MESSAGE" · signal NAME
// JSON · answer NODE|- JSON · pause · resume · cancel · retry · wake [+5s] ·
// clock +5s · child-ended NODE completed JSON | failed CLASS "MESSAGE" | cancelled ·
// hold NODE as result · tool NODE NAME · checkpoint [NAME] · retry from NODE#VISIT · restore v12|NAME · recover [NODE] · continue · state · nodes · due · left NODE.
// For nodes with a role an agent is chosen, another one each time: ROLE-1, ROLE-2.
// A result may name NODE#VISIT@ATTEMPT, set k=JSON, tokens=IN,OUT, after=+30s,
// start and resume break="SPEC" (break="" is none), resume set k=JSON,
// again=true|false; it and recover may say left=JSON; any command may have key=K, restore "pause", checkpoint
// at=v12 and "pin". "N times COMMAND" shows what follows the last. In JSON,
// @text(N) is a text of N bytes and @list(N) a list of the numbers from 0.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("../../testdata/machine/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			is := play(t, string(was))
			switch {
			case is == string(was):
			case *update:
				if err := os.WriteFile(file, []byte(is), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				t.Errorf("the transcript has changed (-update rewrites it):\n%s", difference(string(was), is))
			}
		})
	}
}

// macro is @text(N) or @list(N).
var macro = regexp.MustCompile(`@(text|list)\((\d+)\)`)

// difference shows the first lines in which two texts differ.
func difference(was, is string) string {
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("line %d\n- %s\n+ %s", i+1, strings.Join(a[min(i, len(a)):min(i+8, len(a))], "\n- "), strings.Join(b[min(i, len(b)):min(i+8, len(b))], "\n+ "))
		}
	}
	return ""
}

// epoch is when every transcript begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// play runs a transcript and returns it with what follows the commands now.
func play(t *testing.T, text string) string {
	head, rest, ok := strings.Cut(text, "\n---\n")
	if !ok {
		t.Fatal("no line --- after the definition")
	}
	source := head
	for strings.HasPrefix(source, "#") {
		_, source, _ = strings.Cut(source, "\n")
	}
	h := newHistory(t, source)
	h.at = event.At(epoch)
	c := &conversation{T: t, history: h}
	h.choose = c.byRole
	out := []string{head, "---"}
	for line := range strings.SplitSeq(strings.TrimSuffix(rest, "\n"), "\n") {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		out = append(out, line)
		if cmd, ok := strings.CutPrefix(line, "> "); ok {
			for _, answer := range c.say(cmd) {
				out = append(out, strings.TrimRight("  "+answer, " "))
			}
		}
	}
	c.checkCompleted()
	return strings.Join(out, "\n") + "\n"
}

// A conversation is a history that is driven by lines of text.
type conversation struct {
	*testing.T
	*history
}

// byRole chooses for the nodes that name a role, another agent each time it is asked.
func (c *conversation) byRole(n *workflow.Node, v *run.Visit) *event.AgentChosen {
	role := n.Def.Text("role")
	if n.Kind == workflow.Chat {
		p, _, _ := NextTurn(n, v)
		role = p.Role
	}
	if role == "" {
		return nil
	}
	c.asked++
	return &event.AgentChosen{Agent: fmt.Sprintf("%s-%d", role, c.asked), Role: role, Candidates: 3}
}

// words splits a command: at spaces, but for those within JSON and quotes.
func words(s string) []string {
	var out []string
	depth, quoted, from := 0, false, -1
	for i := 0; i <= len(s); i++ {
		if i == len(s) || (s[i] == ' ' && depth == 0 && !quoted) {
			if from >= 0 {
				out = append(out, s[from:i])
				from = -1
			}
			continue
		}
		if from < 0 {
			from = i
		}
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case quoted:
		case strings.IndexByte("{[(", s[i]) >= 0:
			depth++
		case strings.IndexByte("}])", s[i]) >= 0:
			depth--
		}
	}
	return out
}

// say gives a command and returns what follows it.
func (c *conversation) say(line string) []string {
	if n, cmd, ok := strings.Cut(line, " times "); ok {
		var last []string
		for range c.number(n) {
			last = c.say(cmd)
		}
		return last
	}
	args := words(line)
	opts := map[string]string{}
	var plain []string
	for i := 1; i < len(args); i++ {
		k, v, ok := strings.Cut(args[i], "=")
		switch {
		case args[i] == "set":
			i++
			opts["set"] += args[i] + "\n"
		case k == "break":
			opts[k] += unquote(v) + "\n"
		case ok && strings.Trim(k, "abcdefghijklmnopqrstuvwxyz") == "":
			opts[k] = v
		default:
			plain = append(plain, args[i])
		}
	}
	switch args[0] {
	case "state":
		return c.state()
	case "nodes":
		return c.nodes()
	case "due":
		at, ok := Due(c.s)
		if !ok {
			return []string{"never"}
		}
		return []string{since(at)}
	case "left":
		return []string{value(c.s.Live[plain[0]].Checkpoint)}
	case "clock":
		c.at += event.Time(c.span(plain[0]))
		return nil
	case "wake":
		if at, ok := Due(c.s); len(plain) == 0 && ok {
			c.at = max(at, c.at)
		} else if len(plain) > 0 {
			c.at += event.Time(c.span(plain[0]))
		}
	}
	return c.decide(c.command(args[0], plain, opts), opts["key"])
}

// decide gives a command to the machine, checks what must hold whatever it was,
// and shows the events.
func (c *conversation) decide(cmd Command, key string) []string {
	c.before, c.cmd = snapshot(c.T, c.s), cmd
	decided, err := Decide(c.wf, c.s, Meta{At: c.at, Actor: "test", Key: key, Choose: c.choose}, cmd)
	if err != nil {
		if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotFound) {
			c.Fatalf("%T: %v", cmd, err)
		}
		if !bytes.Equal(c.before, snapshot(c.T, c.s)) {
			c.Fatalf("%T was refused and has changed the state: %v", cmd, err)
		}
		return strings.Split(err.Error(), "\n")
	}
	first := len(c.events) + 1
	c.keep(decided)
	c.checkFold()
	c.checkPrefixes(decided)
	if len(decided) == 0 {
		return []string{"nothing"}
	}
	var out []string
	for i, e := range decided {
		out = append(out, fmt.Sprintf("v%d %s", first+i, brief(e.Payload)))
	}
	return out
}

// command reads a command.
func (c *conversation) command(name string, args []string, opts map[string]string) Command {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch name {
	case "start":
		return Start{Input: c.json(arg(0)), Depth: c.number(opts["depth"]), Breakpoints: lines(opts["break"])}
	case "result":
		return c.result(args, opts)
	case "hold":
		return Hold{Result: c.result(args, opts).(Result), Rule: "careful", Message: "look at it"}
	case "tool":
		id, visit, attempt := c.place(arg(0))
		if v := c.s.Live[id]; v != nil {
			visit, attempt = cmp.Or(visit, v.Visit), cmp.Or(attempt, v.Attempt)
		}
		return Note{event.ToolCalled{Node: id, Visit: visit, Attempt: attempt, Call: 1, Server: "files", Tool: arg(1), Arguments: event.Null}}
	case "signal":
		return Signal{Name: arg(0), Value: c.json(arg(1))}
	case "answer":
		id, visit, _ := c.place(arg(0))
		return Answer{Node: strings.TrimPrefix(id, "-"), Visit: visit, Value: c.json(arg(1))}
	case "pause":
		return Pause{Reason: unquote(arg(0))}
	case "resume":
		breaks, rebreak := opts["break"]
		return Resume{Reason: unquote(arg(0)), Set: c.sets(opts), Rebreak: rebreak, Breakpoints: lines(breaks)}
	case "cancel":
		return Cancel{Reason: unquote(arg(0))}
	case "retry":
		if arg(0) == "" {
			return Retry{}
		}
		id, visit, _ := c.place(arg(1))
		return Retry{Node: id, Visit: visit, To: c.beginning(id, visit)}
	case "wake":
		return Wake{}
	case "continue":
		return Continue{}
	case "recover":
		r := Recover{Reason: "restarted"}
		if id := arg(0); id != "" { // this one alone
			r.Keep = func(v *run.Visit) bool { return v.Node != id }
			r.Checkpoints = map[string]event.Value{id: c.left(opts)}
		}
		return r
	case "checkpoint":
		cp := Checkpoint{To: c.version(opts["at"])}
		for _, a := range args {
			if a == "pin" {
				cp.Pinned = true
			} else {
				cp.Name = a
			}
		}
		return cp
	case "restore":
		return Restore{To: c.version(arg(0)), Pause: arg(1) == "pause"}
	case "child-ended":
		return c.childEnded(args)
	}
	c.Fatalf("unknown command %q", name)
	return nil
}

func (c *conversation) result(args []string, opts map[string]string) Command {
	id, visit, attempt := c.place(args[0])
	r := Result{Node: id, Visit: visit, Attempt: attempt}
	if v := c.s.Live[id]; v != nil {
		if visit == 0 {
			r.Visit = v.Visit
		}
		if attempt == 0 {
			r.Attempt = v.Attempt
		}
	}
	switch args[1] {
	case "ok":
		r.Value = event.Null
		if len(args) > 2 {
			r.Value = c.json(args[2])
		}
	case "fail":
		r.Failure = failure(args[2:])
	default:
		c.Fatalf("a result is ok or fail, not %q", args[1])
	}
	r.Set = c.sets(opts)
	if in, out, ok := strings.Cut(opts["tokens"], ","); ok {
		r.Usage = &event.Usage{InputTokens: int64(c.number(in)), OutputTokens: int64(c.number(out))}
	}
	if s := opts["after"]; s != "" {
		r.After = c.at + event.Time(c.span(s))
	}
	if s := opts["again"]; s != "" {
		again := s == "true"
		r.Again = &again
	}
	r.Checkpoint = c.left(opts)
	return r
}

// sets reads set k=JSON.
func (c *conversation) sets(opts map[string]string) map[string]event.Value {
	var set map[string]event.Value
	for _, kv := range lines(opts["set"]) {
		if k, v, ok := strings.Cut(kv, "="); ok {
			if set == nil {
				set = map[string]event.Value{}
			}
			set[k] = c.json(v)
		}
	}
	return set
}

// lines splits what was gathered from options that may be repeated; empty ones are
// left out.
func lines(s string) []string {
	return slices.DeleteFunc(strings.Split(s, "\n"), func(l string) bool { return l == "" })
}

// left is what an attempt leaves to the next one.
func (c *conversation) left(opts map[string]string) event.Value {
	if s := opts["left"]; s != "" {
		return c.json(s)
	}
	return nil
}

func failure(args []string) *event.Failure {
	f := &event.Failure{Class: args[0]}
	if len(args) > 1 {
		f.Message = unquote(args[1])
	}
	return f
}

func (c *conversation) childEnded(args []string) Command {
	id, visit, _ := c.place(args[0])
	e := ChildEnded{Node: id, Visit: visit, Status: run.Status(args[1])}
	if v := c.s.Live[id]; v != nil {
		e.Child = v.Child
		if visit == 0 {
			e.Visit = v.Visit
		}
	}
	switch e.Status {
	case run.Completed:
		e.Output = c.json(args[2])
	case run.Failed:
		e.Failure = failure(args[2:])
	}
	return e
}

// place reads NODE#VISIT@ATTEMPT; what is left out is 0.
func (c *conversation) place(s string) (node string, visit, attempt int) {
	s, a, _ := strings.Cut(s, "@")
	s, v, _ := strings.Cut(s, "#")
	return s, c.number(v), c.number(a)
}

// beginning returns the version before a visit began, 0 if it never did.
func (c *conversation) beginning(node string, visit int) eventlog.Version {
	for _, e := range c.events {
		p, err := event.Decode(e.Kind, e.Payload)
		if err != nil {
			c.Fatal(err)
		}
		if p, ok := p.(*event.NodeScheduled); ok && p.Node == node && p.Visit == visit {
			return e.Version - 1
		}
	}
	return 0
}

// version reads v12, or the name of a checkpoint.
func (c *conversation) version(s string) eventlog.Version {
	if n, err := strconv.Atoi(strings.TrimPrefix(s, "v")); err == nil {
		return eventlog.Version(n)
	}
	for _, m := range c.s.Marks {
		if m.Name == s && s != "" {
			return m.At
		}
	}
	return 0
}

func (c *conversation) number(s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		c.Fatal(err)
	}
	return n
}

func (c *conversation) span(s string) time.Duration {
	d, err := workflow.ParseDuration(strings.TrimPrefix(s, "+"))
	if err != nil {
		c.Fatal(err)
	}
	return d
}

// json reads a value; @text(N) and @list(N) stand for long ones.
func (c *conversation) json(s string) event.Value {
	if s == "" {
		return nil
	}
	s = macro.ReplaceAllStringFunc(s, func(m string) string {
		parts := macro.FindStringSubmatch(m)
		items := make([]string, c.number(parts[2]))
		for i := range items {
			items[i] = strconv.Itoa(i)
		}
		if parts[1] == "text" {
			return `"` + strings.Repeat("x", len(items)) + `"`
		}
		return "[" + strings.Join(items, ",") + "]"
	})
	v, err := event.ParseJSON([]byte(s))
	if err != nil {
		c.Fatalf("%.200s: %v", s, err)
	}
	return v
}

func unquote(s string) string {
	if u, err := strconv.Unquote(s); err == nil {
		return u
	}
	return s
}
