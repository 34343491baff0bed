package lease

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/projection/event"
)

var someRun = eventlog.RunID{1, 2, 3}

func task(node string, visit int) ID { return ID{Run: someRun, Node: node, Visit: visit} }

func open(t *testing.T, path string) *Book {
	t.Helper()
	b, err := Open(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func someLease(node string, attempt int) Lease {
	return Lease{
		Task: task(node, 1), Claim: Claim{Attempt: attempt, Worker: "w é/1"}, Length: 30 * time.Second, Since: event.Time(attempt), Deadline: 99,
		Checkpoint: event.MustValue(map[string]any{"page": 3, "of": []any{1.5, nil}}),
	}
}

// What was noted is there after the process died, and a token is known again.
func TestBookOutlivesItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	b := open(t, path)
	a, c := someLease("a", 1), someLease("c", 2)
	b.Put(a, c)
	b.Put(someLease("gone", 1))
	b.End(task("gone", 1), 1)
	a.Attempt, a.Checkpoint = 2, event.MustValue("further")
	b.Put(a)
	b.End(task("a", 1), 1) // an earlier attempt's: nothing
	token := b.Token(a.Task, a.Claim)

	again := open(t, path) // the first was not closed
	if got := again.Leases(); !reflect.DeepEqual(got, []Lease{a, c}) {
		t.Fatalf("%+v", got)
	}
	if got, err := again.Claim(a.Task, token); err != nil || got != a.Claim {
		t.Fatal(got, err)
	}
}

// A token is good for the task it was handed out for, by the book it is of, as it is.
func TestTokens(t *testing.T) {
	b, other := open(t, ""), open(t, "")
	id, c := task("a", 1), Claim{Attempt: 7, Worker: "w.1"}
	token := b.Token(id, c)
	if got, err := b.Claim(id, token); err != nil || got != c {
		t.Fatal(got, err)
	}
	higher := b.Token(id, Claim{Attempt: 8, Worker: "w.1"})
	parts, others := strings.Split(token, "."), strings.Split(higher, ".")
	for what, try := range map[string]struct {
		book  *Book
		id    ID
		token string
	}{
		"another node":          {b, task("b", 1), token},
		"another visit":         {b, task("a", 2), token},
		"another book":          {other, id, token},
		"another number":        {b, id, others[0] + "." + parts[1] + "." + parts[2]},
		"another code":          {b, id, parts[0] + "." + parts[1] + "." + others[2]},
		"another name":          {b, id, parts[0] + ".dzI." + parts[2]},
		"no code":               {b, id, parts[0] + "." + parts[1] + "."},
		"a shorter code":        {b, id, token[:len(token)-4]},
		"nothing":               {b, id, ""},
		"four parts":            {b, id, token + ".x"},
		"a number that is none": {b, id, "x." + parts[1] + "." + parts[2]},
	} {
		if got, err := try.book.Claim(try.id, try.token); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

// Every task has one ID, which needs no escaping.
func TestIDs(t *testing.T) {
	for _, id := range []ID{task("draft", 1), task("a-b_c", 12), task("each[0]", 3), task("each[99]", 1)} {
		s := id.String()
		if got, err := ParseID(s); err != nil || got != id {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
		if strings.ContainsAny(s, "/[]%?# ") {
			t.Errorf("%s needs escaping", s)
		}
	}
	s := task("each[1]", 1).String()
	for _, bad := range []string{"", "x", s + ".1", strings.ToLower(s), s[:28], "01." + s[27:], strings.Replace(s, ".1.", ".01.", 1), strings.Replace(s, ".1.", ".-1.", 1),
		s[:len(s)-1] + "01", strings.Repeat(".", 100), "system:work.1.a", strings.Repeat("x", 100_000)} {
		if id, err := ParseID(bad); !errors.Is(err, ErrID) || len(err.Error()) > 200 {
			t.Errorf("%.40q: %+v, %.200v", bad, id, err)
		}
	}
}

// Whatever happened to the file, the book opens, and what it then says was noted once:
// never something else.
func TestBookDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "leases")
	b := open(t, path)
	for i := range 20 {
		b.Put(someLease(fmt.Sprintf("n%d", i), 1))
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 80 {
		text := append([]byte{}, whole...)
		what := ""
		switch i % 4 {
		case 0:
			at := rng.IntN(len(text))
			what, text[at] = fmt.Sprint("byte ", at), text[at]^byte(1+rng.IntN(255))
		case 1:
			what, text = "cut", text[:rng.IntN(len(text))]
		case 2:
			what, text = "zeros", append(text[:rng.IntN(len(text))], make([]byte, 100)...)
		case 3:
			at := rng.IntN(len(text))
			what, text = "hole", append(text[:at:at], text[min(len(text), at+rng.IntN(500)):]...)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, path)
		for _, l := range b.Leases() {
			if want := someLease(l.Task.Node, 1); !reflect.DeepEqual(l, want) {
				t.Errorf("%s: %+v", what, l)
			}
		}
		b.Put(someLease("new", 1))
		b.Close()
		if b := open(t, path); len(b.Leases()) == 0 {
			t.Errorf("%s: what was noted since is gone", what)
		} else {
			b.Close()
		}
	}
}

// The file does not grow with what is over.
func TestBookStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	b := open(t, path)
	big := someLease("a", 1)
	big.Checkpoint = event.MustValue(strings.Repeat("x", 60_000))
	for i := range 300 {
		big.Attempt = i
		b.Put(big)
		if i%3 == 0 {
			b.End(big.Task, i)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 2*spare || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Size(), info.Mode(), err)
	}
	if got := open(t, path).Leases(); len(got) != 1 || got[0].Attempt != 299 {
		t.Fatalf("%d leases", len(got))
	}
}

// What was scrubbed is in no file any more.
func TestBookScrubbed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	b := open(t, path)
	l := someLease("a", 1)
	l.Checkpoint = event.MustValue("pl4nted")
	b.Put(l, someLease("b", 1))
	b.End(l.Task, 1)
	if err := b.Scrub(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), "pl4nted") || len(open(t, path).Leases()) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
}

// A book that cannot be written goes on, and is whole again once it can.
func TestBookThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "leases")
	b := open(t, path)
	b.file.Close()
	b.Put(someLease("a", 1)) // fails
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	b.Put(someLease("b", 1)) // fails
	if len(b.Leases()) != 2 {
		t.Fatal(b.Leases())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.Put(someLease("c", 1))
	if got := open(t, path).Leases(); len(got) != 3 {
		t.Fatalf("%+v", got)
	}
}

// The book of an encrypted log is encrypted: a line of one that is not is read, and gone
// with the next start; what the keys do not open is begun anew.
func TestBookIsSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	l := someLease("a", 1)
	l.Checkpoint = event.MustValue("pl4nted")
	open(t, path).Put(l)
	keys := crypt.Keys{crypt.NewKey()}
	ring, _, err := crypt.Load(t.TempDir(), keys)
	if err == nil {
		err = ring.Begin(keys)
	}
	if err != nil {
		t.Fatal(err)
	}
	life := func(held int) {
		t.Helper()
		b, err := Open(path, ring, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(b.Leases()); n != held {
			t.Errorf("%d leases are held, not %d", n, held)
		}
		b.Put(someLease(string(rune('b'+held)), 1))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || ring.Seals() && (strings.Contains(string(text), "pl4nted") || strings.Contains(string(text), "w é")) {
			t.Errorf("%v: %s", err, text)
		}
	}
	life(1)
	life(2)
	if err := ring.Rotate(keys); err != nil {
		t.Fatal(err)
	}
	life(3)
	if err := ring.Forget(); err != nil { // all is written with the new one since
		t.Fatal(err)
	}
	life(4)
	if err := ring.Stop(); err != nil {
		t.Fatal(err)
	}
	life(5)
	if err := ring.Forget(); err != nil {
		t.Fatal(err)
	}
	life(6)
}
