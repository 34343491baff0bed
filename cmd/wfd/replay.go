package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/stepper"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/replay"
)

// replayPage is how many frames are asked for at once.
const replayPage = 2000

func (a *app) replay() *cobra.Command {
	var at string
	var step, plain bool
	var l looking
	cmd := &cobra.Command{
		Use:   "replay RUN",
		Short: "Step through what a run did, forwards and backwards",
		Long: `replay shows the events of a run and of the runs under it, what each changed, the
graph and the state after it. On a terminal it steps: arrow keys, / searches, j jumps
to a node. Elsewhere, or with --plain, it prints one block an event. With --at it
stops there (the stepper begins there) and shows how the run and those under it
stood. Nothing is executed.`,
		Example: `  wfd replay RUN
  wfd replay RUN --at 412
  wfd replay run.wfd             # a capsule: wfd export
  wfd replay RUN -o ndjson --jq 'select(.changes.state)'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if step && plain {
				return usagef("--step and --plain exclude each other")
			}
			s, id, err := a.look(cmd.Context(), args[0], &l)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			seq, trees, err := a.standing(cmd.Context(), s, id, at)
			if err != nil {
				return err
			}
			stepping := a.output == "table" && !plain && isTerminal(a.stdout) && os.Getenv("TERM") != "dumb"
			raws, graphs, err := framesOf(cmd.Context(), s, id, seq, stepping)
			if err != nil {
				return err
			}
			if a.output != "table" {
				return a.printFrames(raws, trees)
			}
			frames, err := decoded(raws)
			if err != nil {
				return err
			}
			if stepping {
				f := stepper.NewFilm(frames, graphs)
				f.Seek(1)
				if at != "" {
					f.SeekSeq(seq)
				}
				return stepper.Run(cmd.Context(), f, a.stdin, a.stdout, os.Getenv("NO_COLOR") == "", clean)
			}
			return a.printBlocks(frames, trees)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&at, "at", "", "a seq (412), a version (v12) or a visit (node#2)")
	fl.BoolVar(&step, "step", false, "step through it (the default on a terminal)")
	fl.BoolVar(&plain, "plain", false, "print one block an event")
	l.register(cmd)
	return cmd
}

// standing returns the seq that a position stands for, and how the run and those
// under it stood there; 0 and nothing for no position.
func (a *app) standing(ctx context.Context, s *session, id, at string) (uint64, []json.RawMessage, error) {
	if at == "" {
		return 0, nil, nil
	}
	var tree client.List[json.RawMessage]
	if err := s.Get(ctx, client.Request{Path: runPath(id) + "/tree", Query: url.Values{"at": {at}}}, &tree); err != nil {
		return 0, nil, err
	}
	if pos, err := replay.Parse(at); err == nil && pos.Seq != 0 {
		return uint64(pos.Seq), tree.Items, nil
	}
	var root client.State
	if err := json.Unmarshal(tree.Items[0], &root); err != nil {
		return 0, nil, err
	}
	return root.Seq, tree.Items, nil
}

// framesOf reads the frames of a run, up to a seq unless all are asked for.
func framesOf(ctx context.Context, s *session, id string, upTo uint64, all bool) ([]json.RawMessage, map[string]replay.Graph, error) {
	var frames []json.RawMessage
	graphs := map[string]replay.Graph{}
	for from := "0"; ; {
		var page struct {
			client.List[json.RawMessage]
			Graphs map[string]replay.Graph `json:"graphs"`
		}
		q := url.Values{"from": {from}, "limit": {strconv.Itoa(replayPage)}}
		if err := s.Get(ctx, client.Request{Path: runPath(id) + "/replay", Query: q}, &page); err != nil {
			return nil, nil, err
		}
		maps.Copy(graphs, page.Graphs)
		for _, raw := range page.Items {
			var f struct{ Event struct{ Seq uint64 } }
			if err := json.Unmarshal(raw, &f); err != nil {
				return nil, nil, err
			}
			if upTo != 0 && !all && f.Event.Seq > upTo {
				return frames, graphs, nil
			}
			frames = append(frames, raw)
		}
		if from = page.Next; from == "" {
			return frames, graphs, nil
		}
	}
}

func decoded(raws []json.RawMessage) ([]stepper.Frame, error) {
	frames := make([]stepper.Frame, len(raws))
	for i, raw := range raws {
		if err := json.Unmarshal(raw, &frames[i]); err != nil {
			return nil, err
		}
		frames[i].What = line(what(&frames[i].Event), 160)
	}
	return frames, nil
}

// printFrames writes frames as JSON: one a line, or a list with the states at the
// position that was asked for.
func (a *app) printFrames(frames, trees []json.RawMessage) error {
	if a.output == "ndjson" {
		for _, f := range frames {
			if err := a.printJSON(f); err != nil {
				return err
			}
		}
		return nil
	}
	out := map[string]any{"items": frames}
	if len(frames) == 0 {
		out["items"] = []any{}
	}
	if trees != nil {
		out["states"] = trees
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return a.printJSON(raw)
}

// printBlocks writes one block an event: what it was and what it changed.
func (a *app) printBlocks(frames []stepper.Frame, trees []json.RawMessage) error {
	t := a.text()
	for i := range frames {
		f := &frames[i]
		t.printf("%d", f.Event.Seq)
		if f.Event.Run != frames[0].Event.Run {
			t.printf("  %s", f.Event.Run)
		}
		t.printf("  v%d  %s  %s  %s\n", f.Event.Version, f.Event.Time.Local().Format("15:04:05.000"), f.Event.Kind, f.What)
		if c := f.Changes.Status; c != nil {
			t.printf("      run: %s → %s\n", string(c.From), string(c.To))
		}
		for _, id := range slices.Sorted(maps.Keys(f.Changes.Nodes)) {
			c := f.Changes.Nodes[id]
			t.printf("      %s: %s → %s\n", visitName(replay.VisitKey{Node: id, Visit: c.Visit}), orNone(string(c.From)), orNone(string(c.To)))
		}
		for _, id := range slices.Sorted(maps.Keys(f.Changes.Tokens)) {
			c := f.Changes.Tokens[id]
			t.printf("      waiting at %s: %d → %d\n", id, c.From, c.To)
		}
		for _, k := range slices.Sorted(maps.Keys(f.Changes.State)) {
			c := f.Changes.State[k]
			t.printf("      state.%s: %s → %s\n", k, unsetOr(c.From), unsetOr(c.To))
		}
	}
	for _, raw := range trees {
		var st client.State
		if err := json.Unmarshal(raw, &st); err != nil {
			return err
		}
		t.printf("\n%s at version %d (seq %d): %s\n", st.Run, st.Version, st.Seq, st.Status)
		showState(t, &st)
	}
	return t.flush()
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func unsetOr(v event.Value) string {
	if len(v) == 0 {
		return "unset"
	}
	return brief(v, cellWidth)
}
