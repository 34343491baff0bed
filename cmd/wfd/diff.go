package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/replay"
	"github.com/wfd-dev/wfd/replay/capsule"
)

// Of long lists a diff for people shows the beginning.
const (
	maxVisits    = 20
	maxLatencies = 5
)

func (a *app) diff() *cobra.Command {
	var exit bool
	var l looking
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two runs, or one run at two positions",
		Long: `diff aligns two runs by node and visit and names the first visit that differs and
the first decision that led them different ways, with the values that were read. A
and B are runs, or runs at a position: RUN@412, RUN@v12, RUN@review#2. Times make no
difference, but are shown. Each may also be in a capsule: run.wfd, run.wfd@v12.`,
		Example: `  wfd diff RUN1 RUN2
  wfd diff RUN@v12 RUN`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, x, y, err := a.lookAtTwo(cmd.Context(), sideOf(args[0]), sideOf(args[1]), &l)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			q := url.Values{"with": {y.String()}}
			if x.at != "" {
				q.Set("at", x.at)
			}
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: runPath(x.run) + "/diff", Query: q})
			if err != nil {
				return err
			}
			if y.known != "" {
				raw = bytes.ReplaceAll(raw, []byte(y.run), []byte(y.known))
			}
			var d replay.Diff
			if err := json.Unmarshal(raw, &d); err != nil {
				return err
			}
			if err := a.print(raw, func(t *text) { showDiff(t, &d) }); err != nil {
				return err
			}
			return differs(!exit || d.Same)
		},
	}
	cmd.Flags().BoolVar(&exit, "exit-code", false, "exit with 1 if they differ")
	l.register(cmd)
	return cmd
}

// side is a run, or a capsule, at a position.
type side struct {
	run, at string
	known   string // the run's own ID, if run is another one for the sake of the comparison
}

func sideOf(s string) side {
	if i := strings.LastIndex(s, capsuleSuffix+"@"); i >= 0 {
		i += len(capsuleSuffix)
		return side{run: s[:i], at: s[i+1:]}
	}
	if strings.HasSuffix(s, capsuleSuffix) {
		return side{run: s}
	}
	run, at, _ := strings.Cut(s, "@")
	return side{run: run, at: at}
}

func (s side) String() string {
	if s.at == "" {
		return s.run
	}
	return s.run + "@" + s.at
}

func (s side) isCapsule() bool { return strings.HasSuffix(s.run, capsuleSuffix) }

// lookAtTwo returns a way to what has both sides. If one of them is a capsule, the
// other is made one, and both are read into one log.
func (a *app) lookAtTwo(ctx context.Context, x, y side, l *looking) (*session, side, side, error) {
	if !x.isCapsule() && !y.isCapsule() {
		s, _, err := a.look(ctx, x.run, l)
		return s, x, y, err
	}
	one, err := a.capsuleOf(ctx, &x, l)
	if err != nil {
		return nil, x, y, err
	}
	other, err := a.capsuleOf(ctx, &y, l)
	if err != nil {
		return nil, x, y, err
	}
	log, id := capsule.Join(one, other)
	y.run, y.known = id.String(), y.run
	return a.into(log), x, y, nil
}

// capsuleOf returns a side as a capsule, and names its run. The end of what it has
// of the run is a position from here on: the other side may have more of it.
func (a *app) capsuleOf(ctx context.Context, s *side, l *looking) (c *capsule.Capsule, err error) {
	if s.isCapsule() {
		c, err = a.readCapsule(s.run, l)
	} else {
		c, err = a.fetchCapsule(ctx, s.run)
	}
	if err != nil {
		return nil, err
	}
	s.run = c.Run.String()
	if s.at == "" {
		v, err := c.Log().Version(c.Run)
		if err != nil {
			return nil, err
		}
		s.at = fmt.Sprintf("v%d", v)
	}
	return c, nil
}

func (a *app) fetchCapsule(ctx context.Context, id string) (_ *capsule.Capsule, err error) {
	s, err := a.connect(ctx, reads)
	if err != nil {
		return nil, err
	}
	defer closeInto(s, &err)
	body, err := openCapsule(ctx, s, id, true)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	c, err := capsule.Read(body, nil)
	if err != nil {
		return nil, capsuleError("run "+id, err)
	}
	return c, nil
}

func showDiff(t *text, d *replay.Diff) {
	for _, side := range []struct {
		name string
		*replay.Side
	}{{"A", &d.A}, {"B", &d.B}} {
		t.printf("%s  %s at v%d: %s, %s, %d visits\n", side.name, side.Run, side.Version, string(side.Status),
			took(time.Duration(side.Took*1e6)), len(side.Path))
	}
	if d.Same {
		t.printf("\nThey are the same, but for times.\n")
	}
	if d.First != nil {
		t.printf("\nFirst difference: ")
		showVisitDiff(t, d.First)
	}
	if d.Decision != nil && (d.First == nil || d.Decision.VisitKey != d.First.VisitKey) {
		t.printf("First decision that differs: ")
		showVisitDiff(t, d.Decision)
	}
	if len(d.Run)+len(d.State) > 0 {
		t.printf("\n")
		t.row("", "A", "B")
		for _, f := range d.Run {
			t.row(f.Name, orAbsent(f.A), orAbsent(f.B))
		}
		for _, f := range d.State {
			t.row("state."+f.Name, orAbsent(f.A), orAbsent(f.B))
		}
	}
	if len(d.Visits) > 0 {
		t.printf("\n")
		t.row("VISIT", "WHAT", "A", "B")
		for i, v := range d.Visits {
			if i == maxVisits {
				t.printf("… %d more; -o json has them all\n", len(d.Visits)-i)
				break
			}
			rowsOfVisit(t, &v)
		}
	}
	if len(d.Latency) > 0 {
		t.printf("\n")
		t.row("TOOK", "A", "B")
		for _, l := range d.Latency[:min(len(d.Latency), maxLatencies)] {
			t.row(visitName(l.VisitKey), took(time.Duration(l.A*1e6)), took(time.Duration(l.B*1e6)))
		}
	}
}

func showVisitDiff(t *text, v *replay.VisitDiff) {
	t.printf("%s", visitName(v.VisitKey))
	if v.In != "both" {
		t.printf(" is only in %s\n", strings.ToUpper(v.In))
		return
	}
	t.printf("\n")
	for _, f := range v.Fields {
		t.printf("  %s: A %s, B %s\n", f.Name, orAbsent(f.A), orAbsent(f.B))
	}
	for _, side := range []struct {
		name  string
		turns []replay.Turn
	}{{"A", v.A}, {"B", v.B}} {
		for _, turn := range side.turns {
			t.printf("  %s went to %s (%s)\n", side.name, turn.To, turn.Outcome)
			for _, ev := range turn.Tested {
				met := "not met"
				if ev.Met {
					met = "met"
				}
				t.printf("      %s: %s\n", met, condition(&ev))
			}
		}
	}
}

func rowsOfVisit(t *text, v *replay.VisitDiff) {
	name := visitName(v.VisitKey)
	switch v.In {
	case "a":
		t.row(name, "", "yes", "no")
		return
	case "b":
		t.row(name, "", "no", "yes")
		return
	}
	for _, f := range v.Fields {
		t.row(name, f.Name, orAbsent(f.A), orAbsent(f.B))
		name = ""
	}
	if len(v.A)+len(v.B) > 0 {
		t.row(name, "goes to", ways(v.A), ways(v.B))
	}
}

func ways(turns []replay.Turn) string {
	var parts []string
	for _, turn := range turns {
		parts = append(parts, turn.To)
	}
	if len(parts) == 0 {
		return "nowhere"
	}
	return strings.Join(parts, ", ")
}

func orAbsent(v []byte) string {
	if len(v) == 0 {
		return "-"
	}
	return brief(v, cellWidth)
}
