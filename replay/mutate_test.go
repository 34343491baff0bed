package replay

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// list is a log of the events of one run, as they are given, right or wrong.
type list []eventlog.Event

func (l list) ReadRun(_ eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error) {
	if int(after) >= len(l) {
		return nil, nil
	}
	return slices.Clone(l[after:min(len(l), int(after)+limit)]), nil
}

func (l list) ReadFrom(after eventlog.Seq, limit int) ([]eventlog.Event, error) {
	return l.ReadRun(eventlog.RunID{}, eventlog.Version(after), limit)
}

func (l list) Version(eventlog.RunID) (eventlog.Version, error) {
	return eventlog.Version(len(l)), nil
}
func (l list) Head() eventlog.Seq                                            { return eventlog.Seq(len(l)) }
func (l list) Close() error                                                  { return nil }
func (l list) Append(context.Context, eventlog.Append) (eventlog.Seq, error) { panic("read only") }

func (l list) renumber() list {
	for i := range l {
		l[i].Version, l[i].Seq = eventlog.Version(i+1), eventlog.Seq(i+1)
	}
	return l
}

// A mutation is a history with one event changed.
type mutation struct {
	what   string
	at     int // index of the event
	events list
	field  string // "" where the event as such was dropped or moved
}

// mutations returns every history that is one change away: an event dropped,
// swapped with the next, or with one field changed.
func mutations(t *testing.T, events []eventlog.Event) []mutation {
	var ms []mutation
	add := func(at int, what, field string, l list) {
		ms = append(ms, mutation{fmt.Sprintf("%s version %d (%s)", what, at+1, event.KindName(events[at].Kind)), at, l, field})
	}
	for i, e := range events {
		add(i, "dropped", "", slices.Delete(slices.Clone(list(events)), i, i+1).renumber())
		if i+1 < len(events) && e.Append == events[i+1].Append {
			l := slices.Clone(list(events))
			l[i], l[i+1] = l[i+1], l[i]
			add(i, "swapped", "", l.renumber())
		}
		change := func(field string, f func(*eventlog.Event)) {
			l := slices.Clone(list(events))
			f(&l[i])
			add(i, "changed "+field+" of", field, l)
		}
		change("time", func(e *eventlog.Event) { e.Time++ })
		change("actor", func(e *eventlog.Event) { e.Actor += "x" })
		p, err := event.Decode(e.Kind, e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		change("kind", func(c *eventlog.Event) {
			c.Kind = event.KindNodeStarted
			if e.Kind == c.Kind {
				c.Kind = event.KindNodeLost
			}
		})
		for _, field := range changes(reflect.ValueOf(p).Elem(), "") {
			change(field.name, func(e *eventlog.Event) {
				undo := field.change()
				e.Payload = event.Encode(p)
				undo()
			})
		}
	}
	return ms
}

type fieldChange struct {
	name   string
	change func() (undo func())
}

// changes returns a change for every field that can have another value.
func changes(v reflect.Value, name string) []fieldChange {
	set := func(x any) []fieldChange {
		return []fieldChange{{name, func() func() {
			old := reflect.New(v.Type()).Elem()
			old.Set(v)
			v.Set(reflect.ValueOf(x).Convert(v.Type()))
			return func() { v.Set(old) }
		}}}
	}
	switch v.Kind() {
	case reflect.String:
		return set(v.String() + "x")
	case reflect.Int, reflect.Int64:
		return set(v.Int() + 1)
	case reflect.Uint64:
		return set(v.Uint() + 1)
	case reflect.Bool:
		return set(!v.Bool())
	case reflect.Array:
		other := reflect.New(v.Type()).Elem()
		other.Set(v)
		other.Index(0).SetUint(v.Index(0).Uint() ^ 1)
		return set(other.Interface())
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return append(set(reflect.Zero(v.Type()).Interface()), changes(v.Elem(), name)...)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[event.Value]() {
			return set(event.MustValue(map[string]any{"changed": "x"}))
		}
		var all []fieldChange
		for i := range v.Len() {
			all = append(all, changes(v.Index(i), name)...)
		}
		if v.Len() > 0 {
			all = append(all, set(v.Slice(0, v.Len()-1).Interface())...)
		}
		return all
	case reflect.Struct:
		var all []fieldChange
		for i := range v.NumField() {
			all = append(all, changes(v.Field(i), v.Type().Field(i).Name)...)
		}
		return all
	}
	return nil
}

// facts returns which events of a history stand for something from outside, as
// the verifier takes them.
func facts(t *testing.T, m *sim, id eventlog.RunID) map[int]bool {
	v := verifier{defs: m.defs, s: newState(m.log, id)}
	out := map[int]bool{}
	for group, err := range appends(m.log, id) {
		if err != nil {
			t.Fatal(err)
		}
		var events []entry
		for _, e := range group {
			p, err := payload(e)
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, entry{e, p})
		}
		if p, ok := events[0].p.(*event.RunCreated); ok {
			v.wf, _ = m.defs.ByHash(p.Hash)
		}
		for len(events) > 0 {
			n := v.decision(events)
			if n == 0 {
				t.Fatal(jsonOf(v.verdict))
			}
			leading := true // what is lost or given up, then what that is for
			for i, e := range events[:n] {
				switch p := e.p.(type) {
				case *event.NodeLost:
					out[int(e.Version)-1] = leading
				case *event.AgentChosen, *event.CostReserved, *event.BudgetExceeded, *event.RunCancelled, *event.RunRestored:
					out[int(e.Version)-1] = true
				case *event.StateSet:
					if p.Node == "" && !p.Merge { // a person sets it
						out[int(e.Version)-1] = true
					}
				case *event.NodeSkipped:
				default:
					leading = false
				}
				if i == 0 {
					out[int(e.Version)-1] = true
				}
			}
			events = events[n:]
		}
	}
	return out
}

// Every change of one event of a history is named by Verify or refused by the
// fold. What is left are changes of a fact that give a history which is as good
// as the first: another result from which the same follows, a signal that nobody
// waited for left out. That the facts are those that were recorded is proven by
// the log's tree, not by what follows from them.
func TestVerifyNamesEveryMutation(t *testing.T) {
	t.Parallel()
	total, named, free := 0, 0, 0
	for seed := range seeds(25) {
		m := zooRun(t, 1000+seed)
		for _, r := range m.runs[:1] {
			if r.s.Version > 90 {
				continue
			}
			fact := facts(t, m, r.s.Run)
			for _, mu := range mutations(t, m.events(r.s.Run)) {
				total++
				v, err := Verify(mu.events, m.defs, r.s.Run)
				if err != nil {
					t.Fatalf("seed %d, %s: %v", seed, mu.what, err)
				}
				switch {
				case !v.OK:
					named++
					if v.Difference.Why == "" || v.Difference.Version > eventlog.Version(mu.at+1) && !fact[mu.at] {
						t.Errorf("seed %d, %s: named late: %s", seed, mu.what, jsonOf(v.Difference))
					}
					continue
				case v.NotFrom != 0 && mu.field == "Hash":
					named++
					continue
				}
				if _, err := run.Fold(mu.events, r.s.Run, run.Newest); err != nil {
					named++
					continue
				}
				if !fact[mu.at] && (mu.what[:4] != "swap" || !fact[mu.at+1]) {
					t.Errorf("seed %d, %s: not named, %s", seed, mu.what, jsonOf(v))
				}
				free++
			}
		}
	}
	t.Logf("%d mutations: %d named, %d of facts that would be as good", total, named, free)
	if named < total*8/10 {
		t.Errorf("only %d of %d mutations are named", named, total)
	}
}
