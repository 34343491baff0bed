package trace

import (
	"errors"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
)

// What is a traceparent is taken, of later versions too, and nothing else is.
func TestTraceparent(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	c, err := Parse(good)
	if err != nil || c.String() != good {
		t.Errorf("%s, %v", c, err)
	}
	const unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	if u, err := Parse(unsampled); err != nil || u.String() != unsampled || c.Unsampled || !u.Unsampled {
		t.Errorf("%s, %v", u, err)
	}
	if _, err := Parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"", "00", "00---", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", good + "-more", "ff" + good[2:],
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319x-b7ad6b7169203331-01",
		"0g" + good[2:],
	} {
		if _, err := Parse(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%q is taken: %v", bad, err)
		}
	}
}

// Names differ where what they name does, and are what they were: traces that were sent
// are found by them.
func TestNames(t *testing.T) {
	id := eventlog.RunID{1, 2, 3}
	seen := map[Span]bool{}
	for _, s := range []Span{
		OfRun(id), OfRun(eventlog.RunID{1}), OfAttempt(id, "a", 1, 1), OfAttempt(id, "a", 1, 11), OfAttempt(id, "a", 11, 1), OfAttempt(id, "a1", 1, 1),
		OfCall(id, "a", 1, 1, 0), OfCall(id, "a", 1, 1, 1),
	} {
		if seen[s] || s.IsZero() {
			t.Errorf("%x names two things", s)
		}
		seen[s] = true
	}
}
