package run

import (
	"math"
	"testing"

	"github.com/wfd-dev/wfd/projection/event"
)

// Every reducer, on an unset key and on a set one, and what it refuses. The whole
// fold is tested with the machine that makes its events.
func TestReduce(t *testing.T) {
	type list = []any
	type object = map[string]any
	for _, c := range []struct {
		how          string
		old, operand any
		want         any // nil: refused
	}{
		{"append", nil, list{1}, list{1}},
		{"append", list{1}, list{2, 3}, list{1, 2, 3}},
		{"append", list{1}, "x", list{1, "x"}},
		{"append", "a", "b", list{"a", "b"}},
		{"union", list{1, 2}, list{2, 3}, list{1, 2, 3}},
		{"union", nil, list{1, 1}, list{1}},
		{"sum", nil, 2, 2},
		{"sum", 2, 3, 5},
		{"sum", 2, 0.5, 2.5},
		{"sum", "a", 1, nil},
		{"min", 3, 2, 2},
		{"min", 2, 2.5, 2},
		{"max", 3, 2.5, 3},
		{"max", -1, 4, 4},
		{"merge", object{"a": 1}, object{"b": 2}, object{"a": 1, "b": 2}},
		{"merge", object{"a": 1}, object{"a": 2}, object{"a": 2}},
		{"merge", object{}, list{}, nil},
		{"and", true, false, false},
		{"or", false, true, true},
		{"or", 1, true, nil},
		{"median", 1, 2, nil},
	} {
		old := event.Value(nil)
		if c.old != nil {
			old = event.MustValue(c.old)
		}
		got, err := Reduce(c.how, old, event.MustValue(c.operand))
		switch {
		case c.want == nil && err == nil:
			t.Errorf("%s of %v and %v is %s, want it refused", c.how, c.old, c.operand, show(got))
		case c.want != nil && err != nil:
			t.Errorf("%s of %v and %v: %v", c.how, c.old, c.operand, err)
		case c.want != nil && show(got) != show(event.MustValue(c.want)):
			t.Errorf("%s of %v and %v is %s, want %v", c.how, c.old, c.operand, show(got), c.want)
		}
	}
	// A sum beyond the integers does not wrap around.
	if got, err := Reduce("sum", event.MustValue(int64(math.MaxInt64)), event.MustValue(1)); err == nil && show(got)[0] == '-' {
		t.Errorf("the largest integer plus one is %s", show(got))
	}
}

func show(v event.Value) string {
	b, err := v.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestItemNames(t *testing.T) {
	for _, i := range []int{0, 7, 99_999} {
		if of, n, ok := ItemOf(ItemName("each", i)); !ok || of != "each" || n != i {
			t.Errorf("item %d of each is %s, %d, %v", i, of, n, ok)
		}
	}
	for _, id := range []string{"", "each", "each]", "[1]", "each[]", "each[x]", "each[-1]", "each[99999999999999999999]"} {
		if of, n, ok := ItemOf(id); ok {
			t.Errorf("%q is item %d of %s", id, n, of)
		}
	}
}

func TestSnapshotRefuses(t *testing.T) {
	s := New([16]byte{1})
	b, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(b); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, {SnapshotVersion + 1}, b[:len(b)/2]} {
		if _, err := Restore(bad); err == nil {
			t.Errorf("%x was taken for a snapshot", bad)
		}
	}
}
