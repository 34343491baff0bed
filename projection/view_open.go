package projection

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Buckets of what is open. The first has everything, by run; the others are
// its indexes.
const (
	bucketOpen  = "open"        // run, what → a timer, a question, the run's deadline
	bucketDue   = "open.timers" // namespace, time, key in open → nothing
	bucketInbox = "open.inbox"  // namespace, seq inverted → key in open
)

// openView keeps timers and questions.
type openView struct{}

func (openView) name() string      { return "open" }
func (openView) version() int      { return 3 }
func (openView) buckets() []string { return []string{bucketOpen, bucketDue, bucketInbox} }

func (openView) begin(w *writer) fold {
	return &openFold{w: w, runs: map[eventlog.RunID]*openChange{}, namespaces: namespaces{}}
}

type openFold struct {
	w          *writer
	runs       map[eventlog.RunID]*openChange
	namespaces namespaces
}

// openChange is what was open of a run before the batch, as entries, and what
// is open now.
type openChange struct {
	old map[string][]byte // key in open → value
	set *openSet
}

func (f *openFold) apply(e *fact) error {
	if e.Kind == event.KindPayloadErased {
		// Nothing is open of a run that is erased; what a retry would have opened
		// again goes.
		return onErased(e, func(_ *event.PayloadErased, t *event.ErasedSpan) error {
			c, err := f.change(t.Run, 0)
			if err == nil {
				c.set = newOpenSet()
			}
			return err
		})
	}
	if e.Run.IsSystem() {
		return nil
	}
	if err := f.namespaces.note(e); err != nil {
		return err
	}
	c, err := f.change(e.Run, e.Version)
	if err != nil {
		return err
	}
	return c.set.apply(e)
}

// change returns what is open of a run, to be changed; nothing is before its first
// event.
func (f *openFold) change(id eventlog.RunID, v eventlog.Version) (c *openChange, err error) {
	if c = f.runs[id]; c != nil {
		return c, nil
	}
	c = &openChange{set: newOpenSet()}
	if v != 1 {
		if c.old, c.set, err = readOpen(&f.w.reader, id); err != nil {
			return nil, err
		}
	}
	f.runs[id] = c
	return c, nil
}

func (f *openFold) finish() error {
	var out []entry
	for _, id := range slices.SortedFunc(maps.Keys(f.runs), func(a, b eventlog.RunID) int { return bytes.Compare(a[:], b[:]) }) {
		c := f.runs[id]
		if len(c.old) == 0 && c.set.empty() {
			continue
		}
		n, err := f.namespaces.of(&f.w.reader, id)
		if err != nil {
			return err
		}
		now := openEntries(id, c.set)
		for k, v := range c.old {
			if is, ok := now[k]; ok && bytes.Equal(is, v) {
				delete(now, k)
				continue
			}
			out = append(out, entry{bucketOpen, []byte(k), v, now[k]})
			for _, x := range openIndex(n, k, v) {
				out = append(out, entry{x.bucket, x.key, x.new, nil})
			}
			out = append(out, openIndex(n, k, now[k])...)
			delete(now, k)
		}
		for k, v := range now {
			out = append(out, entry{bucketOpen, []byte(k), nil, v})
			out = append(out, openIndex(n, k, v)...)
		}
	}
	return f.w.setAll(out)
}

// What an entry of the bucket is, in its key after the run.
const (
	openTimer    = 't'
	openInput    = 'i'
	openHalted   = 'h'
	openDeadline = 'd'
)

func openEntryKey(run eventlog.RunID, what byte, k openKey) []byte {
	b := append(run[:len(run):len(run)], what)
	b = part(b, k.node)
	b = binary.BigEndian.AppendUint64(b, uint64(k.visit))
	return part(b, k.what)
}

// openEntries returns the entries of a set.
func openEntries(run eventlog.RunID, s *openSet) map[string][]byte {
	m := make(map[string][]byte)
	for k, t := range s.timers {
		var e encoder
		e.int(int64(t.At))
		e.str(t.Node)
		e.int(int64(t.Visit))
		e.str(t.For)
		e.int(int64(t.Attempt))
		m[string(openEntryKey(run, openTimer, k))] = e
	}
	for what, inputs := range map[byte]map[openKey]Input{openInput: s.inputs, openHalted: s.halted} {
		for k, in := range inputs {
			var e encoder
			e.uint(uint64(in.Seq))
			e.uint(uint64(in.Version))
			e.str(in.Node)
			e.int(int64(in.Visit))
			e.str(in.Prompt)
			e.str(string(in.Form))
			e.str(in.Assignee)
			e.int(int64(in.Asked))
			m[string(openEntryKey(run, what, k))] = e
		}
	}
	if s.deadline != 0 {
		var e encoder
		e.int(int64(s.deadline))
		for _, v := range s.turns {
			e.uint(uint64(v))
		}
		m[string(openEntryKey(run, openDeadline, openKey{}))] = e
	}
	return m
}

// openIndex returns the index entries of an entry of open.
func openIndex(n event.Namespace, key string, value []byte) []entry {
	if value == nil {
		return nil
	}
	d := decoder{b: value}
	switch key[len(eventlog.RunID{})] {
	case openTimer:
		return []entry{{bucketDue, dueKey(n, event.Time(d.int()), key), nil, []byte{}}}
	case openInput:
		return []entry{{bucketInbox, newest(of(n), eventlog.Seq(d.uint())), nil, []byte(key)}}
	}
	return nil
}

// dueKey sorts by time; times before 1970 come first.
func dueKey(n event.Namespace, at event.Time, key string) []byte {
	return append(binary.BigEndian.AppendUint64(of(n), uint64(at)^1<<63), key...)
}

func decodeTimer(key, value []byte) (Timer, error) {
	d := decoder{b: value}
	t := Timer{Run: eventlog.RunID(key), At: event.Time(d.int()), Node: d.str(), Visit: int(d.int()), For: d.str(), Attempt: int(d.int())}
	return t, d.done()
}

func decodeInput(key, value []byte) (Input, error) {
	d := decoder{b: value}
	in := Input{
		Run: eventlog.RunID(key), Seq: eventlog.Seq(d.uint()), Version: eventlog.Version(d.uint()), Node: d.str(), Visit: int(d.int()),
		Prompt: d.str(), Form: event.Value(d.str()), Assignee: d.str(), Asked: event.Time(d.int()),
	}
	if len(in.Form) == 0 {
		in.Form = nil
	}
	return in, d.done()
}

// readOpen returns what is open of a run, as entries and as a set.
func readOpen(r *reader, run eventlog.RunID) (map[string][]byte, *openSet, error) {
	var entries map[string][]byte
	s := newOpenSet()
	err := r.scan(bucketOpen, run[:], run[:], func(k, v []byte) (bool, error) {
		if entries == nil {
			entries = map[string][]byte{}
		}
		entries[string(k)] = v
		var err error
		switch k[len(run)] {
		case openTimer:
			var t Timer
			t, err = decodeTimer(k[:len(run)], v)
			s.set(t)
		case openInput, openHalted:
			var in Input
			in, err = decodeInput(k[:len(run)], v)
			to := &s.inputs
			if k[len(run)] == openHalted {
				to = &s.halted
			}
			put(to, openKey{node: in.Node, visit: in.Visit}, in)
		case openDeadline:
			d := decoder{b: v}
			s.deadline = event.Time(d.int())
			for !d.bad && len(d.b) > 0 {
				s.turns = append(s.turns, eventlog.Version(d.uint()))
			}
			err = d.done()
		}
		if err != nil {
			return false, damaged("what is open of run %s: %v", run, err)
		}
		return true, nil
	})
	return entries, s, err
}
