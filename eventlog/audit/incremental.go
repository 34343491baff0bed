package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/durable"
)

// stateDoc is how far a log was verified: a signed checkpoint, and the edge of
// the tree there, from which the fold goes on. The note's signature guards the
// root, and the root guards the edge.
type stateDoc struct {
	Format     string `json:"format"`
	Checkpoint string `json:"checkpoint"`
	Edge       []hash `json:"edge"`
}

const stateFormat = "wfd-verified-1"

// readState returns where to go on: at the beginning if there is no file.
func readState(path string, keys *Keys) (c Checkpoint, note []byte, e edge, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, e, nil
	}
	if err != nil {
		return c, nil, e, err
	}
	var d stateDoc
	if err = decodeIndented(b, &d); err == nil && d.Format != stateFormat {
		err = fmt.Errorf("%w: not the state of a verification", ErrFormat)
	}
	if err == nil {
		c, err = OpenCheckpoint([]byte(d.Checkpoint), keys)
	}
	if err == nil {
		if e = (edge{size: c.Size, nodes: d.Edge}); !e.sound() || e.root() != c.Root {
			err = fmt.Errorf("%w: the edge is not that of the checkpoint", ErrFormat)
		}
	}
	if err != nil {
		return c, nil, e, fmt.Errorf("%s: %w: verify the whole log, which writes it anew", path, err)
	}
	return c, []byte(d.Checkpoint), e, nil
}

// keep writes down how far the log was verified, if nothing is wrong with it.
func (f *fold) keep(path string) error {
	if path == "" || f.report.Err() != nil || f.note == nil {
		return nil
	}
	b, err := layOut(stateDoc{Format: stateFormat, Checkpoint: string(f.note), Edge: f.state.nodes})
	if err != nil {
		return err
	}
	return durable.WriteFile(path, b, 0o600)
}

// verifyPage is how many events are read at a time.
const verifyPage = 1024

// VerifyNew verifies what came after the state in o.State: that the log goes on
// from the checkpoint there, and that its new events are dense, lead to the
// stored nodes and to the head, and are those that were signed for. Of older
// events it reads one for each run that goes on. Without a state it begins at
// the beginning.
func (a *Auditor) VerifyNew(o VerifyOptions) (*Report, error) {
	s, err := a.history()
	if err != nil {
		return nil, err
	}
	t, err := trusted(a.dir, o.Keys)
	if err != nil {
		return nil, err
	}
	keys := t.own
	if keys == nil {
		keys = t.past[len(t.past)-1].keys
	}
	done, note, from, err := readState(o.State, keys)
	if err != nil {
		return nil, err
	}
	r := t.report(eventlog.Seq(done.Size) + 1)
	f := &fold{
		report: r, progress: o.Progress, hear: o.Announced, said: announcements{}, edge: from, good: done.Size, note: note, state: edge{from.size, slices.Clone(from.nodes)},
		last: eventlog.Seq(done.Size), file: a.db.FileOf(eventlog.Seq(done.Size)),
	}
	f.due = s.open(&t, o.Checkpoints, done, r)
	head, root := a.db.TreeHead()
	if head < done.Size {
		f.edge = edge{size: head}
		f.finish()
		return r, nil
	}
	if err := f.before(a.db, done); err != nil {
		return nil, err
	}
	f.compare()
	if err := f.read(a.db, head); err != nil {
		return nil, err
	}
	if !f.lost && f.edge.size == head && f.edge.root() != root {
		r.problem(&Problem{
			Err: ErrRewritten, From: 1, To: eventlog.Seq(head),
			What: fmt.Sprintf("the tree head of the log is not that of the events signed for at size %d and those that follow", done.Size),
		})
	}
	f.finish()
	t.unknown(r)
	t.announced(a.dir, f.said, r)
	if r.Signed.Size == done.Size && note != nil {
		return r, nil // the state is as it was
	}
	return r, f.keep(o.State)
}

// before compares the statements about sizes below that of done with the tree
// that done is the head of.
func (f *fold) before(t eventlog.Tree, done Checkpoint) error {
	for ; f.next < len(f.due) && f.due[f.next].Size < done.Size; f.next++ {
		d := f.due[f.next]
		f.report.Checkpoints++
		path, err := proveTree(t, done.Size, d.Size)
		if err == nil {
			err = checkTree(path, done.Size, done.Root, d.Size, d.Root)
		}
		switch {
		case errors.Is(err, eventlog.ErrClosed):
			return err
		case err != nil:
			f.report.problem(&Problem{Err: fmt.Errorf("%w: %w", ErrRewritten, err), From: 1, To: eventlog.Seq(d.Size)})
		}
	}
	return nil
}

// read folds the events from where f stands up to head.
func (f *fold) read(log Log, head uint64) error {
	runs := make(map[eventlog.RunID]eventlog.Version)
	old := eventlog.Seq(f.edge.size) // verified before
	var nodes []storedNode
	f.nodes = func(level int, h [32]byte) { nodes = append(nodes, storedNode{level, f.edge.size >> level, h}) }
	for f.edge.size < head {
		limit := min(head-f.edge.size, verifyPage)
		events, err := log.ReadFrom(eventlog.Seq(f.edge.size), int(limit))
		if errors.Is(err, eventlog.ErrClosed) {
			return err
		}
		if err == nil && len(events) == 0 {
			err = &eventlog.CorruptError{File: f.file, Seq: eventlog.Seq(f.edge.size) + 1, What: "the event is missing"}
		}
		if err != nil {
			f.report.problem(Damaged(err))
			f.lost = true
			f.last = eventlog.Seq(head) // nothing is known of the rest, and it is not cut off
			return nil
		}
		for _, e := range events {
			file := log.FileOf(e.Seq)
			before, err := versionBefore(log, runs, e, old)
			if err != nil {
				f.report.problem(Damaged(err))
			} else if e.Version != before+1 {
				f.report.problem(&Problem{Err: ErrDamaged, File: file, From: e.Seq, Run: e.Run, What: fmt.Sprintf("version %d follows version %d", e.Version, before)})
			}
			runs[e.Run] = e.Version
			f.event(file, e.Seq, eventlog.Leaf(e))
			f.heard(e.Seq, e.Kind, e.Payload)
		}
		for _, n := range nodes {
			if err := n.check(log); err != nil {
				f.report.problem(Damaged(err))
			}
		}
		nodes = nodes[:0]
	}
	return nil
}

// versionBefore returns the version of the event before e in its run.
func versionBefore(log Log, runs map[eventlog.RunID]eventlog.Version, e eventlog.Event, old eventlog.Seq) (eventlog.Version, error) {
	if v, ok := runs[e.Run]; ok || e.Version <= 1 {
		return v, nil
	}
	events, err := log.ReadRun(e.Run, e.Version-2, 1)
	if err != nil || len(events) != 1 || events[0].Seq > old {
		return 0, err
	}
	return events[0].Version, nil
}

// storedNode is a node as it was computed from events.
type storedNode struct {
	level int
	index uint64
	hash  [32]byte
}

// check compares it with what the log has stored.
func (n *storedNode) check(log Log) error {
	got, err := log.Nodes(n.level, n.index, 1)
	if err != nil {
		return err
	}
	if len(got) != 1 || got[0] != n.hash {
		first := eventlog.Seq(n.index<<n.level) + 1
		return &eventlog.CorruptError{File: log.FileOf(first), Seq: first, What: fmt.Sprintf("the tree node of %d events from here on does not match them", 1<<n.level)}
	}
	return nil
}
