package projection

import (
	"encoding/binary"
	"errors"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Rows are written as varints and length-prefixed bytes, one after the other.
// There is no provision for older rows: raise the view's version instead.

type encoder []byte

func (e *encoder) uint(v uint64) { *e = binary.AppendUvarint(*e, v) }
func (e *encoder) int(v int64)   { *e = binary.AppendVarint(*e, v) }
func (e *encoder) str(s string)  { e.uint(uint64(len(s))); *e = append(*e, s...) }
func (e *encoder) bool(b bool) {
	if b {
		e.uint(1)
	} else {
		e.uint(0)
	}
}

var errRow = errors.New("row does not decode")

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.bad, d.b = true, nil
		return
	}
	d.b = d.b[n:]
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) str() string { return string(d.bytes(d.uint())) }
func (d *decoder) bool() bool  { return d.uint() != 0 }

// count reads a number of elements, each of which takes a byte at least.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) run() (id eventlog.RunID) {
	copy(id[:], d.bytes(uint64(len(id))))
	return id
}

// done returns an error unless everything was read, and nothing more.
func (d *decoder) done() error {
	if d.bad || len(d.b) > 0 {
		return errRow
	}
	return nil
}

func encodeRow(r *Row) []byte {
	e := make(encoder, 0, 256)
	e.str(string(r.Namespace))
	e.str(r.Workflow)
	e.uint(uint64(r.WorkflowVersion))
	e.str(r.Hash)
	e.str(string(r.Status))
	e.int(int64(r.Created))
	e.int(int64(r.Updated - r.Created))
	e.int(int64(r.Ended))
	e.int(int64(r.Deadline))
	e.uint(uint64(r.CreatedSeq))
	e.uint(uint64(r.Seq))
	e.uint(uint64(r.Version))
	e.uint(uint64(len(r.Labels)))
	for _, k := range sortedKeys(r.Labels) {
		e.str(k)
		e.str(r.Labels[k])
	}
	e.bool(r.Parent != nil)
	if p := r.Parent; p != nil {
		e = append(e, p.Run[:]...)
		e.str(p.Node)
		e.int(int64(p.Visit))
	}
	e.int(int64(r.Depth))
	e.uint(uint64(r.Completed))
	e.uint(uint64(r.Failures))
	e.uint(uint64(len(r.Waits)))
	for _, w := range r.Waits {
		e.str(w.Node)
		e.str(w.For)
		e.str(w.Name)
		e.int(int64(w.Until))
	}
	e.str(r.Reason)
	e.bool(r.Failure != nil)
	if f := r.Failure; f != nil {
		e.str(f.Class)
		e.str(f.Message)
		e.str(f.Node)
		e.int(int64(f.Visit))
		e.int(int64(f.Attempt))
	}
	e.str(string(r.Output))
	e.uint(uint64(r.OutputSize))
	e.uint(uint64(len(r.Marks)))
	for _, m := range r.Marks {
		e.uint(uint64(m.At))
		e.str(m.Name)
		e.bool(m.Pinned)
		e.int(int64(m.Time))
	}
	e.int(r.Spent.Tokens)
	e.int(int64(r.Spent.Micros))
	e.str(r.Over.Scope)
	e.str(r.Over.Name)
	e.int(r.Bytes)
	e.str(r.Erased)
	e.bool(!r.From.IsZero())
	if !r.From.IsZero() {
		e = append(e, r.From[:]...)
	}
	if r.Damaged > 0 { // rows of sound runs stay as they were
		e.uint(uint64(r.Damaged))
	}
	return e
}

func decodeRow(id eventlog.RunID, b []byte) (Row, error) {
	d := decoder{b: b}
	r := Row{ID: id}
	r.Namespace = event.Namespace(d.str())
	r.Workflow = d.str()
	r.WorkflowVersion = int(d.uint())
	r.Hash = d.str()
	r.Status = run.Status(d.str())
	r.Created = event.Time(d.int())
	r.Updated = r.Created + event.Time(d.int())
	r.Ended = event.Time(d.int())
	r.Deadline = event.Time(d.int())
	r.CreatedSeq = eventlog.Seq(d.uint())
	r.Seq = eventlog.Seq(d.uint())
	r.Version = eventlog.Version(d.uint())
	if n := d.count(); n > 0 {
		r.Labels = make(map[string]string, n)
		for range n {
			k := d.str()
			r.Labels[k] = d.str()
		}
	}
	if d.bool() {
		r.Parent = &event.Parent{Run: d.run(), Node: d.str(), Visit: int(d.int())}
	}
	r.Depth = int(d.int())
	r.Completed = int(d.uint())
	r.Failures = int(d.uint())
	for range d.count() {
		r.Waits = append(r.Waits, event.Wait{Node: d.str(), For: d.str(), Name: d.str(), Until: event.Time(d.int())})
	}
	r.Reason = d.str()
	if d.bool() {
		r.Failure = &event.Failure{Class: d.str(), Message: d.str(), Node: d.str(), Visit: int(d.int()), Attempt: int(d.int())}
	}
	if s := d.str(); s != "" {
		r.Output = event.Value(s)
	}
	r.OutputSize = int(d.uint())
	for range d.count() {
		r.Marks = append(r.Marks, Mark{At: eventlog.Version(d.uint()), Name: d.str(), Pinned: d.bool(), Time: event.Time(d.int())})
	}
	r.Spent = event.Spend{Tokens: d.int(), Micros: event.Micros(d.int())}
	r.Over = event.BudgetID{Scope: d.str(), Name: d.str()}
	r.Bytes = d.int()
	r.Erased = d.str()
	if d.bool() {
		r.From = d.run()
	}
	if len(d.b) > 0 {
		r.Damaged = eventlog.Seq(d.uint())
	}
	return r, d.done()
}
