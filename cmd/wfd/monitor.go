package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/engine/workflow"
)

// barCells is the width of the progress bar.
const barCells = 30

// icons of a node's status.
var icons = map[string]string{
	"pending": "○", "scheduled": "○", "running": "◐", "completed": "●", "failed": "✗", "skipped": "⊘", "waiting": "◷",
}

// monitor is the picture of a run, made from its events.
type monitor struct {
	id, workflow, status string
	began, at            time.Time
	nodes                []*watched
	byID                 map[string]*watched
}

// watched is a node in the picture.
type watched struct {
	id, what, status string
	visits, attempt  int
	began            time.Time
	spent            time.Duration // in visits that have ended
	said             string        // by its agent, as far as it is not shown yet, or fits beside the node
}

func newMonitor(r *client.Run, wf *workflow.Workflow) *monitor {
	m := &monitor{id: r.ID, workflow: r.Workflow, status: "pending", byID: map[string]*watched{}}
	for _, n := range wf.Nodes {
		w := &watched{id: n.ID, what: string(n.Kind), status: "pending"}
		for _, who := range []string{n.Def.Text("agent"), n.Def.Text("role"), n.Def.Text("assignee")} {
			if who != "" {
				w.what += " " + who
				break
			}
		}
		m.nodes = append(m.nodes, w)
		m.byID[n.ID] = w
	}
	return m
}

// apply takes the run's next event and says in words what it changed, if that is
// worth a line.
func (m *monitor) apply(e *client.Event) string {
	var d struct {
		Node, Then, From, To, Outcome, Agent, Model string
		Visit, Attempt                              int
	}
	if json.Unmarshal(e.Data, &d) != nil {
		return ""
	}
	m.at = e.Time
	noun, verb, _ := strings.Cut(e.Kind, ".")
	switch noun {
	case "run":
		return m.applyRun(e, verb)
	case "edge":
		if d.Outcome == "met" || d.Outcome == "default" || d.Outcome == "error" || d.Outcome == "timeout" {
			return fmt.Sprintf("  %s → %s (%s)", d.From, d.To, d.Outcome)
		}
		return ""
	case "input":
		if w := m.byID[d.Node]; w != nil && verb == "requested" {
			w.status = "waiting"
			return icons["waiting"] + " " + d.Node + " asks"
		}
		return ""
	case "agent":
		if w := m.byID[d.Node]; w != nil {
			w.what = strings.TrimSpace("agent " + d.Agent + " " + d.Model)
		}
		return ""
	case "timer", "node", "child":
	default:
		return ""
	}
	id := d.Node
	if i := strings.LastIndexByte(id, '['); i > 0 { // an item of a foreach is shown as its node
		return ""
	}
	w := m.byID[id]
	if w == nil {
		return ""
	}
	switch e.Kind {
	case "node.scheduled":
		w.status, w.began, w.attempt = "scheduled", e.Time, 0
		return ""
	case "node.started":
		w.status, w.attempt = "running", d.Attempt
	case "node.completed":
		w.end("completed", e.Time)
		w.visits++
	case "node.failed":
		if d.Then == "retry" || d.Then == "pause" {
			w.status = "waiting"
			break
		}
		w.end("failed", e.Time)
	case "node.skipped":
		w.end("skipped", e.Time)
	case "timer.set":
		w.status = "waiting"
		return ""
	case "child.started":
		w.status = "running"
	default:
		return ""
	}
	s := icons[w.status] + " " + id + " " + w.status
	if e.Kind == "node.failed" && w.status == "waiting" {
		s = icons["failed"] + " " + id + " attempt failed, then " + d.Then
	}
	if d.Attempt > 1 {
		s += fmt.Sprintf(", attempt %d", d.Attempt)
	}
	if d.Visit > 1 {
		s += fmt.Sprintf(", visit %d", d.Visit)
	}
	return s
}

// saidCells is how much of what an agent says stands beside its node.
const saidCells = 60

// hear takes a piece of an answer. With whole it returns the lines that are whole by
// now; otherwise the end of what was said is kept for the picture.
func (m *monitor) hear(data json.RawMessage, whole bool) string {
	var d struct {
		Node, Text string
		Lost       int
	}
	if json.Unmarshal(data, &d) != nil {
		return ""
	}
	id, _, _ := strings.Cut(d.Node, "[")
	w := m.byID[id]
	if w == nil {
		return ""
	}
	if d.Lost > 0 {
		w.said += " … "
	}
	w.said += d.Text
	if !whole {
		if r := []rune(strings.Join(strings.Fields(w.said), " ")); len(r) > saidCells {
			w.said = string(r[len(r)-saidCells:])
		}
		return ""
	}
	i := strings.LastIndexByte(w.said, '\n')
	if i < 0 && len(w.said) < cellWidth {
		return ""
	}
	if i < 0 {
		i = len(w.said) - 1
	}
	lines := w.said[:i+1]
	w.said = w.said[i+1:]
	return quote(d.Node, lines)
}

// unsaid returns the rest of what the agent of an event's node said, which is shown
// before the event.
func (m *monitor) unsaid(e *client.Event) string {
	var d struct{ Node string }
	if json.Unmarshal(e.Data, &d) != nil || e.Kind != "node.completed" && e.Kind != "node.failed" {
		return ""
	}
	id, _, _ := strings.Cut(d.Node, "[")
	w := m.byID[id]
	if w == nil || w.said == "" {
		return ""
	}
	said := w.said
	w.said = ""
	return quote(d.Node, said)
}

// quote shows what an agent says, each line after its node.
func quote(node, said string) string {
	var b strings.Builder
	for _, l := range strings.Split(strings.TrimRight(said, "\n"), "\n") {
		fmt.Fprintf(&b, "  %s │ %s\n", node, l)
	}
	return b.String()
}

func (m *monitor) applyRun(e *client.Event, verb string) string {
	switch verb {
	case "created":
		m.began, m.status = e.Time, "running"
	case "resumed", "restored":
		m.status = "running"
	case "completed", "failed", "cancelled", "paused", "waiting":
		m.status = verb
	default:
		return ""
	}
	return "run " + verb
}

func (w *watched) end(status string, at time.Time) {
	w.status, w.said = status, ""
	if !w.began.IsZero() {
		w.spent += at.Sub(w.began)
	}
	w.began = time.Time{}
}

// draw writes the picture over the one before, of lines lines, and returns how
// many lines it has.
func (m *monitor) draw(t *text, lines int) int {
	if lines > 0 {
		t.printf("%s", "") // ends a table that was begun
		if t.err == nil {
			_, t.err = fmt.Fprintf(t.w, "\x1b[%dA\x1b[J", lines)
		}
	}
	done, failed, active := m.counts()
	all := max(1, len(m.nodes))
	cells := done * barCells / all
	busy := min(barCells-cells, (active*barCells+all-1)/all)
	t.printf("%s  %s  %s  %s\n", m.workflow, m.id, m.status, took(m.at.Sub(m.began)))
	bar := strings.Repeat("█", cells) + strings.Repeat("▒", busy) + strings.Repeat("░", barCells-cells-busy)
	note := ""
	if failed > 0 {
		note = fmt.Sprintf(", %d failed", failed)
	}
	t.printf("[%s] %d/%d%s\n", bar, done, len(m.nodes), note)
	for i, w := range m.nodes {
		branch := "├─"
		if i == len(m.nodes)-1 {
			branch = "└─"
		}
		spent := w.spent
		if !w.began.IsZero() {
			spent += m.at.Sub(w.began)
		}
		times := ""
		if spent > 0 || w.visits > 0 {
			times = took(spent)
		}
		if w.visits > 1 {
			times += fmt.Sprintf(" ×%d", w.visits)
		}
		cells := []string{branch + " " + icons[w.status] + " " + w.id, w.status, times, w.what}
		if w.status == "running" && w.said != "" {
			cells = append(cells, "│ "+w.said)
		}
		t.row(cells...)
	}
	t.flush()
	return len(m.nodes) + 2
}

func (m *monitor) counts() (done, failed, active int) {
	for _, w := range m.nodes {
		switch w.status {
		case "completed", "skipped":
			done++
		case "failed":
			failed++
		case "running", "waiting", "scheduled":
			active++
		}
	}
	return done, failed, active
}

// total writes the last line.
func (m *monitor) total(t *text) {
	done, failed, _ := m.counts()
	t.printf("%s: %d of %d nodes done, %d failed, %s in all\n", m.status, done, len(m.nodes), failed, took(m.at.Sub(m.began)))
}
