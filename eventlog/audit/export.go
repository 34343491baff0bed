package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/wfd-dev/wfd/eventlog"
)

// Format of an export.
type Format string

// The formats of exports.
const (
	// JSONLines is an export that proves itself; see [VerifyExport].
	JSONLines Format = "jsonl"
	// CloudEvents is one CloudEvents 1.0 JSON object a line, for other systems
	// to take in. It proves nothing.
	CloudEvents Format = "cloudevents"
)

// ExportOptions for [Auditor.Export].
type ExportOptions struct {
	Format Format // "" stands for JSONLines
	// Conceal says which events are to go out without their payloads; nil
	// discloses all.
	Conceal func(eventlog.Event) bool
	// Describe returns an event as people read it: the name of its kind, and
	// its payload as JSON, which is nil if it has none. Events that go out
	// without their payload come Erased. nil leaves it at numbers and bytes.
	Describe func(eventlog.Event) (kind string, data json.RawMessage, err error)
}

// An export in JSON lines is a header, the events, one a line and without a
// gap, and a closing line. Seen from the header's edge, the leaves of the
// events lead to a root, and the proof of the closing line from there to a
// signed checkpoint.
type (
	headerLine struct {
		Format string       `json:"format"`
		Origin string       `json:"origin"`
		From   eventlog.Seq `json:"from"`
		Edge   []hash       `json:"edge"` // of the tree before From
	}
	eventLine struct {
		Entry
		Leaf hash     `json:"leaf"`
		View *reading `json:"view,omitempty"`
	}
	// reading is an event as people read it. No signature covers it: it
	// follows from the payload for those who know the payloads.
	reading struct {
		Kind string          `json:"kind"`
		Data json.RawMessage `json:"data,omitempty"`
	}
	closingLine struct {
		End        eventlog.Seq `json:"end"`
		Checkpoint string       `json:"checkpoint"` // the signed note
		Path       []hash       `json:"path"`       // from the tree of End to the checkpoint
		Keys       string       `json:"keys,omitempty"`
	}
)

const exportFormat = "wfd-export-1"

// exportPage is how many events are read at a time.
const exportPage = 512

// Export writes the events from..to, each on a line, and returns the last seq
// that was written; to may be 0 for the last signed event. It signs the log
// first if to is not covered. It reads in pages, and writes while nothing of
// the log is held. An export that broke off goes on from what [Resume] says,
// with the same options, behind the lines that are there.
func (a *Auditor) Export(ctx context.Context, w io.Writer, from, to eventlog.Seq, o ExportOptions) (last eventlog.Seq, err error) {
	if from == 0 {
		from = 1
	}
	need := uint64(to)
	if to == 0 {
		need, _ = a.db.TreeHead()
		if a.readOnly {
			need = 0
		}
	}
	c, note, chain, err := a.covering(need)
	if err != nil {
		return 0, err
	}
	if to == 0 {
		to = eventlog.Seq(c.Size)
	}
	if from > to {
		return 0, fmt.Errorf("%w: no event from seq %d on is signed for: the last is %d", ErrUnsigned, from, to)
	}
	var x exporter
	switch o.Format {
	case JSONLines, "":
		x = &jsonLines{w: w, o: o, tree: a.db, checkpoint: c, note: note, chain: chain}
	case CloudEvents:
		x = &cloudEvents{w: w, o: o, origin: c.Origin}
	default:
		return 0, fmt.Errorf("export format %q: want %q or %q", o.Format, JSONLines, CloudEvents)
	}
	if err := x.begin(from); err != nil {
		return 0, err
	}
	for last = from - 1; last < to; {
		if err := ctx.Err(); err != nil {
			return last, err
		}
		events, err := a.db.ReadFrom(last, int(min(to-last, exportPage)))
		if err == nil && len(events) == 0 {
			err = &Problem{Err: ErrDamaged, File: a.db.FileOf(last + 1), From: last + 1, What: "the event is missing"}
		}
		if err != nil {
			return last, err
		}
		for _, e := range events {
			if err := x.event(e, o.Conceal != nil && o.Conceal(e)); err != nil {
				return last, fmt.Errorf("export of seq %d: %w", e.Seq, err)
			}
			last = e.Seq
		}
	}
	return last, x.end()
}

// exporter writes one format.
type exporter interface {
	begin(from eventlog.Seq) error
	event(e eventlog.Event, conceal bool) error
	end() error
}

// view returns e as Describe sees it.
func (o *ExportOptions) view(e eventlog.Event, conceal bool) (*reading, error) {
	if o.Describe == nil {
		return nil, nil
	}
	if conceal && !e.Erased {
		e.Hash, e.Erased, e.Payload, e.Salt = e.PayloadHash(), true, nil, [16]byte{}
	}
	kind, data, err := o.Describe(e)
	return &reading{kind, data}, err
}

type jsonLines struct {
	w          io.Writer
	o          ExportOptions
	tree       eventlog.Tree
	checkpoint Checkpoint
	note       []byte
	chain      string
	edge       edge
}

func (x *jsonLines) begin(from eventlog.Seq) (err error) {
	if x.edge, err = edgeAt(x.tree, uint64(from-1)); err != nil {
		return err
	}
	return writeLine(x.w, headerLine{exportFormat, x.checkpoint.Origin, from, append([]hash{}, x.edge.nodes...)})
}

func (x *jsonLines) event(e eventlog.Event, conceal bool) error {
	view, err := x.o.view(e, conceal)
	if err != nil {
		return err
	}
	leaf := eventlog.Leaf(e)
	x.edge.add(leaf, nil)
	return writeLine(x.w, eventLine{EntryOf(e, conceal), hash(leaf), view})
}

func (x *jsonLines) end() error {
	c := x.checkpoint
	path, err := proveTree(x.tree, c.Size, x.edge.size)
	if err != nil {
		return err
	}
	// An export that does not lead to what was signed gets no closing line.
	if err := checkTree(path, c.Size, c.Root, x.edge.size, x.edge.root()); err != nil {
		return &Problem{Err: fmt.Errorf("%w: %w", ErrRewritten, err), From: 1, To: eventlog.Seq(x.edge.size)}
	}
	return writeLine(x.w, closingLine{eventlog.Seq(x.edge.size), string(x.note), path, x.chain})
}

func writeLine(w io.Writer, v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
