package projection

import (
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

const bucketTriggers = "triggers" // name → row

// triggersView keeps schedules and hooks.
type triggersView struct{}

func (triggersView) name() string      { return "triggers" }
func (triggersView) version() int      { return 1 }
func (triggersView) buckets() []string { return []string{bucketTriggers} }
func (triggersView) begin(w *writer) fold {
	return &triggersFold{w: w, rows: map[string]*triggerRow{}}
}

// triggerRow is a row as it was before the batch, and as it is now: nil if there is
// none.
type triggerRow struct {
	raw []byte
	*Trigger
}

type triggersFold struct {
	w    *writer
	rows map[string]*triggerRow
}

func (f *triggersFold) apply(e *fact) error {
	if e.Run != event.Triggers {
		return nil
	}
	var p event.Payload
	if err := on(e, func(q event.Payload) { p = q }); err != nil {
		return err
	}
	name, err := event.TriggerOf(p)
	if err != nil || name == "" { // erased, and nothing is left
		return err
	}
	row := f.rows[name]
	if row == nil {
		row = &triggerRow{}
		raw, err := f.w.get(bucketTriggers, part(nil, name))
		if err != nil {
			return err
		}
		if raw != nil {
			row.raw = slices.Clone(raw)
			if row.Trigger, err = decodeTrigger(row.raw); err != nil {
				return err
			}
		}
		f.rows[name] = row
	}
	row.Trigger, err = FoldTrigger(row.Trigger, p, e.Seq, event.Time(e.Time), e.Actor)
	return err
}

// FoldTrigger returns what a trigger, nil if there is none, is after an event of its
// name.
func FoldTrigger(t *Trigger, p event.Payload, seq eventlog.Seq, at event.Time, by string) (*Trigger, error) {
	set, isSet := p.(*event.TriggerSet)
	_, gone := p.(*event.TriggerDeleted)
	switch {
	case gone:
		return nil, nil
	case t == nil && isSet:
		return NewTrigger(set, seq, at, by), nil
	case t == nil:
		return nil, nil // what it did last came after it was deleted
	}
	return t, t.Apply(p, seq, at, by)
}

func (f *triggersFold) finish() error {
	var out []entry
	for name, row := range f.rows {
		var now []byte
		if row.Trigger != nil {
			now = encodeTrigger(row.Trigger)
		}
		if row.raw != nil || now != nil {
			out = append(out, entry{bucketTriggers, part(nil, name), row.raw, now})
		}
	}
	return f.w.setAll(out)
}

func encodeTrigger(t *Trigger) []byte {
	var e encoder
	e.str(string(event.Encode(&event.TriggerSet{Name: t.Name, Type: t.Type, Schedule: t.Schedule, Incoming: t.Incoming, Outgoing: t.Outgoing})))
	e.int(int64(t.Created))
	e.int(int64(t.Changed))
	e.str(t.By)
	e.bool(t.Paused)
	e.str(t.PauseReason)
	e.str(t.PausedBy)
	e.int(int64(t.PausedAt))
	e.int(int64(t.Upto))
	e.uint(uint64(len(t.Queue)))
	for _, due := range t.Queue {
		e.int(int64(due))
	}
	e.int(t.Started)
	e.int(t.Skipped)
	e.int(t.Failed)
	e = append(e, t.LastRun[:]...)
	e.uint(uint64(len(t.Recent)))
	for _, f := range t.Recent {
		e.int(int64(f.At))
		e.str(f.Outcome)
		e.int(int64(f.Due))
		e.int(int64(f.Until))
		e.int(int64(f.Count))
		e = append(e, f.Run[:]...)
		e.str(f.ID)
		e.str(f.Reason)
	}
	e.bool(t.Delivery != nil)
	if d := t.Delivery; d != nil {
		e.uint(uint64(d.Upto))
		e.int(d.Sent)
		e.int(int64(d.At))
		e.int(int64(d.Attempts))
		e.int(int64(d.Since))
		e.bool(d.Dead)
		e.str(d.Reason)
	}
	return e
}

func decodeTrigger(b []byte) (*Trigger, error) {
	d := decoder{b: b}
	p, err := event.Decode(event.KindTriggerSet, []byte(d.str()))
	if err != nil {
		return nil, damaged("a trigger: %v", err)
	}
	s := p.(*event.TriggerSet)
	t := &Trigger{Name: s.Name, Type: s.Type, Schedule: s.Schedule, Incoming: s.Incoming, Outgoing: s.Outgoing}
	t.Created, t.Changed, t.By = event.Time(d.int()), event.Time(d.int()), d.str()
	t.Paused, t.PauseReason, t.PausedBy, t.PausedAt = d.bool(), d.str(), d.str(), event.Time(d.int())
	t.Upto = event.Time(d.int())
	for range d.count() {
		t.Queue = append(t.Queue, event.Time(d.int()))
	}
	t.Started, t.Skipped, t.Failed, t.LastRun = d.int(), d.int(), d.int(), d.run()
	for range d.count() {
		t.Recent = append(t.Recent, Fire{
			At: event.Time(d.int()), Outcome: d.str(), Due: event.Time(d.int()), Until: event.Time(d.int()), Count: int(d.int()),
			Run: d.run(), ID: d.str(), Reason: d.str(),
		})
	}
	if d.bool() {
		t.Delivery = &Delivery{
			Upto: eventlog.Seq(d.uint()), Sent: d.int(), At: event.Time(d.int()), Attempts: int(d.int()), Since: event.Time(d.int()),
			Dead: d.bool(), Reason: d.str(),
		}
	}
	if d.done() != nil {
		return nil, damaged("trigger %q", t.Name)
	}
	return t, nil
}
