package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
)

func jsonString(t testing.TB, b []byte) []byte {
	t.Helper()
	out, err := json.Marshal(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The key is made once, kept from others, and refused if it was not.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := filepath.Join(w.dir, "audit.key")
	if st, err := os.Stat(key); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", st.Mode(), err)
	}
	origin, public := w.a.Origin(), w.a.PublicKey()
	if string(read(t, w.dir, "audit.pub")) != public+"\n" || !strings.HasPrefix(public, origin+"+") || !strings.HasPrefix(origin, "wfd.dev/") {
		t.Errorf("%q, %q", origin, public)
	}
	w.reopen()
	if w.a.Origin() != origin || w.a.PublicKey() != public {
		t.Error("a second start made another key")
	}
	refused := func(fix string) {
		t.Helper()
		_, err := audit.Open(w.dir, w.db, audit.Options{})
		if !errors.Is(err, audit.ErrKey) || !strings.Contains(err.Error(), fix) {
			t.Errorf("%v; want the fix %q named", err, fix)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		os.Chmod(key, mode)
		refused("chmod 600")
	}
	os.Chmod(key, 0o600)
	b := read(t, key)
	os.Remove(key)
	refused("restore it from a backup")
	os.Symlink(filepath.Join(w.dir, "elsewhere"), key)
	refused("not a regular file")
	os.Remove(key)
	write(t, []byte("PRIVATE+KEY+nonsense\n"), key)
	refused("not a private key")
	other := newWorld(t)
	write(t, read(t, other.dir, "audit.key"), key)
	refused("restore it from a backup")
	write(t, b, key)
	os.Remove(filepath.Join(w.dir, "audit.pub")) // a first start that died
	w.reopen()
	if string(read(t, w.dir, "audit.pub")) != public+"\n" {
		t.Error("audit.pub was not made again")
	}
	// For reading, no private key is needed.
	os.Remove(key)
	a, err := audit.Open(w.dir, w.db, audit.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Sign(); !errors.Is(err, audit.ErrReadOnly) {
		t.Errorf("signing: %v", err)
	}
	if _, err := a.Rotate(nil); !errors.Is(err, audit.ErrReadOnly) {
		t.Errorf("rotating: %v", err)
	}
}

// A stranger with the first key follows the chain to later ones. What the old
// key signs after it was replaced does not count, nor does another key.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(30)
	first := w.keys()
	w.sign()
	w.close()
	thief := &world{t: t, dir: copyDir(t, w.dir), n: w.n} // has the first key
	t.Cleanup(thief.close)
	w.open()
	w.fill(10)
	r, err := w.a.Rotate(nil)
	public := r.To
	if err != nil || public == string(bytes.TrimSpace(read(t, thief.dir, "audit.pub"))) {
		t.Fatal(public, err)
	}
	w.reopen()
	if w.a.PublicKey() != public {
		t.Error("the new key is forgotten")
	}
	w.fill(10)
	w.sign()
	if _, err := w.a.Rotate(nil); err != nil {
		t.Fatal(err)
	}
	w.fill(10)
	_, note := w.sign()
	doc, err := w.a.Prove(5, false)
	if err != nil {
		t.Fatal(err)
	}
	last := w.keys()
	for name, k := range map[string]*audit.Keys{"first": first, "last": last, "own": w.a.Keys()} {
		if p, err := audit.CheckProof(doc, k); err != nil || p.Checkpoint.Size != 60 {
			t.Errorf("%s key: %v", name, err)
		}
		w.close()
		want(t, verify(t, w.dir, audit.VerifyOptions{Keys: []*audit.Keys{k}}))
		w.open()
	}
	chain := read(t, w.dir, "audit.keys")
	followed, err := first.Follow(chain)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.OpenCheckpoint(note, first); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("a key nobody has heard of: %v", err)
	}
	if _, err := audit.OpenCheckpoint(note, followed); err != nil {
		t.Error(err)
	}

	// The thief goes on with the old key.
	thief.open()
	thief.fill(40)
	_, forged := thief.sign()
	if _, err := audit.OpenCheckpoint(forged, first); err != nil {
		t.Errorf("without the chain nobody knows that the key was replaced: %v", err)
	}
	if _, err := audit.OpenCheckpoint(forged, followed); !errors.Is(err, audit.ErrSignature) || !strings.Contains(err.Error(), "was replaced at size 40") {
		t.Errorf("an old key after its rotation: %v", err)
	}
	if _, err := thief.a.Rotate(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := followed.Follow(read(t, thief.dir, "audit.keys")); !errors.Is(err, audit.ErrForked) {
		t.Errorf("a second chain: %v", err)
	}

	// A new key speaks from its beginning on, a stranger's never.
	w.close()
	write(t, append(read(t, w.dir, "checkpoints.txt"), append(forged, '\n')...), w.dir, "checkpoints.txt")
	want(t, verify(t, w.dir, audit.VerifyOptions{}), audit.ErrSignature)
	stranger := newWorld(t)
	if _, err := audit.CheckProof(doc, stranger.keys()); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("with another log's key: %v", err)
	}
	if _, err := stranger.keys().Follow(chain); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("another log's chain: %v", err)
	}
	for at := rand.IntN(5); at < len(chain); at += 5 {
		b := bytes.Clone(chain)
		b[at] ^= 1 << rand.IntN(8)
		if k, err := first.Follow(b); err == nil && k != first {
			t.Fatalf("a changed bit at %d of the chain is accepted", at)
		}
	}
	// The chain cut after its first rotation does not lead to the last key.
	one := chain[:bytes.Index(chain, []byte("key rotation\n2\n"))]
	one = one[:bytes.LastIndex(one, []byte("\n\n"))+2]
	if k, err := first.Follow(one); err != nil {
		t.Error(err)
	} else if _, err := audit.OpenCheckpoint(note, k); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("half a chain: %v", err)
	}
}

// A rotation dies at each of its steps; the next start has one key, which is
// the one that the chain names.
func TestRotationCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(10)
	w.sign()
	w.close()
	before := copyDir(t, w.dir)
	w.open()
	if _, err := w.a.Rotate(nil); err != nil {
		t.Fatal(err)
	}
	w.close()
	oldKey, newKey := read(t, before, "audit.key"), read(t, w.dir, "audit.key")
	oldPub := read(t, before, "audit.pub")
	for _, c := range []struct {
		name           string
		key, next      []byte
		chain, rotated bool
	}{
		{"after the next key", oldKey, newKey, false, false},
		{"after the chain", oldKey, newKey, true, true},
		{"after the rename", newKey, nil, true, true},
	} {
		dir := copyDir(t, before)
		write(t, c.key, dir, "audit.key")
		if c.next != nil {
			write(t, c.next, dir, "audit.key.next")
		}
		if c.chain {
			write(t, read(t, w.dir, "audit.keys"), dir, "audit.keys")
		}
		x := &world{t: t, dir: dir, n: w.n}
		x.open()
		want := oldPub
		if c.rotated {
			want = read(t, w.dir, "audit.pub")
		}
		if x.a.PublicKey()+"\n" != string(want) || !bytes.Equal(read(t, dir, "audit.pub"), want) {
			t.Errorf("%s: the key is %s", c.name, x.a.PublicKey())
		}
		if _, err := os.Stat(filepath.Join(dir, "audit.key.next")); !os.IsNotExist(err) {
			t.Errorf("%s: audit.key.next is still there", c.name)
		}
		x.fill(5)
		x.sign()
		x.close()
		if p := verify(t, dir, audit.VerifyOptions{}); len(p) > 0 {
			t.Errorf("%s: %v", c.name, p)
		}
	}
	// The chain has gone on and the key has not.
	write(t, oldKey, w.dir, "audit.key")
	if _, err := audit.Open(w.dir, w.db, audit.Options{}); !errors.Is(err, audit.ErrKey) {
		t.Errorf("an old key beside a longer chain: %v", err)
	}
}

// A rotation that was announced in the log is carried out, wherever it dies, and
// one that was not is undone. Nothing is signed between the two.
func TestRotationAnnounced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(10)
	w.sign()
	first := w.keys()
	w.close()
	before := copyDir(t, w.dir)
	w.open()
	var said audit.Rotation
	r, err := w.a.Rotate(func(r audit.Rotation) error {
		said = r
		w.fill(1) // the event
		return nil
	})
	if err != nil || r != said || r.Number != 1 || r.At != 10 || r.From != strings.TrimSpace(string(read(t, before, "audit.pub"))) || r.To != w.a.PublicKey() {
		t.Fatalf("%+v, announced as %+v: %v", r, said, err)
	}
	w.close()
	next := read(t, w.dir, "audit.key")
	if p := verify(t, w.dir, audit.VerifyOptions{Keys: []*audit.Keys{first}}); len(p) > 0 {
		t.Error(p)
	}

	reopened := func(dir string, announced *audit.Rotation) (*audit.Auditor, error) {
		x := &world{t: t, dir: dir, n: w.n}
		t.Cleanup(x.close)
		err := x.openWith(audit.Options{Announced: func(to string) (*audit.Rotation, error) {
			if announced == nil || announced.To != to {
				return nil, nil
			}
			return announced, nil
		}})
		return x.a, err
	}
	cut := func() string { // the event is there, the chain is not
		dir := copyDir(t, w.dir)
		for _, name := range []string{"audit.key", "audit.pub", "checkpoints.txt"} {
			write(t, read(t, before, name), dir, name)
		}
		os.Remove(filepath.Join(dir, "audit.keys"))
		write(t, next, dir, "audit.key.next")
		return dir
	}
	dir := cut()
	a, err := reopened(dir, &r)
	if err != nil || a.PublicKey() != r.To || !bytes.Equal(read(t, dir, "audit.key"), next) {
		t.Fatalf("announced and cut off: %v", err)
	}
	_, note, err := a.Sign()
	if err != nil {
		t.Fatal(err)
	}
	led, err := first.Follow(read(t, dir, "audit.keys"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.OpenCheckpoint(note, led); err != nil {
		t.Error(err)
	}
	if a, err := reopened(cut(), nil); err != nil || a.PublicKey() != r.From {
		t.Errorf("not announced: %v", err)
	}
	for what, wrong := range map[string]audit.Rotation{
		"of another key":     {Number: 1, From: r.To, To: r.To, At: 10},
		"of another number":  {Number: 2, From: r.From, To: r.To, At: 10},
		"of events to come":  {Number: 1, From: r.From, To: r.To, At: 12},
		"of what was signed": {Number: 1, From: r.From, To: r.To, At: 9},
	} {
		if _, err := reopened(cut(), &wrong); !errors.Is(err, audit.ErrKey) {
			t.Errorf("a rotation %s: %v", what, err)
		}
	}
}

// A rotation whose announcement is refused has not been; one of which nobody knows
// keeps the auditor from signing until it is opened anew.
func TestRotationRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(10)
	public := w.a.PublicKey()
	full := errors.New("the disk is full")
	if _, err := w.a.Rotate(func(audit.Rotation) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "audit.key.next")); !os.IsNotExist(err) {
		t.Errorf("the next key is there: %v", err)
	}
	w.sign()
	w.fill(1)
	if _, err := w.a.Rotate(func(audit.Rotation) error { return eventlog.ErrUnknown }); !errors.Is(err, eventlog.ErrUnknown) {
		t.Error(err)
	}
	if _, _, err := w.a.Sign(); !errors.Is(err, audit.ErrKey) {
		t.Errorf("it signs: %v", err)
	}
	if _, err := w.a.Copy(true); !errors.Is(err, audit.ErrKey) {
		t.Errorf("it is copied with its key: %v", err)
	}
	w.reopen()
	w.sign()
	if w.a.PublicKey() != public {
		t.Error("the key has changed")
	}
}

// Whoever has the old key and takes the rotation out of audit.keys is given away by
// the event, which he cannot take out: the old key counts up to there and no
// further. Of an export the same is found.
func TestRotationTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(10)
	w.sign()
	first := w.keys()
	w.close()
	stolen := copyDir(t, w.dir)
	w.open()
	r, err := w.a.Rotate(func(audit.Rotation) error { w.fill(1); return nil })
	if err != nil {
		t.Fatal(err)
	}
	w.sign()
	e, err := w.db.ReadFrom(10, 1)
	if err != nil {
		t.Fatal(err)
	}
	event := e[0].Payload
	o := audit.VerifyOptions{Keys: []*audit.Keys{first}, Announced: func(kind eventlog.Kind, payload []byte) *audit.Rotation {
		if bytes.Equal(payload, event) {
			return &r
		}
		return nil
	}}
	w.close()
	if p := verify(t, w.dir, o); len(p) > 0 {
		t.Error(p)
	}
	for _, name := range []string{"audit.key", "audit.pub", "checkpoints.txt"} {
		write(t, read(t, stolen, name), w.dir, name)
	}
	chain := read(t, w.dir, "audit.keys")
	os.Remove(filepath.Join(w.dir, "audit.keys"))
	w.open()
	w.sign()
	var out bytes.Buffer
	if _, err := w.a.Export(t.Context(), &out, 1, 0, audit.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.VerifyExport(bytes.NewReader(out.Bytes()), first, audit.VerifyExportOptions{Announced: o.Announced}); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("an export: %v", err)
	}
	fresh, err := w.a.VerifyNew(o)
	if err != nil {
		t.Fatal(err)
	}
	want(t, fresh.Problems, audit.ErrSignature)
	w.close()
	problems := verify(t, w.dir, o)
	want(t, problems, audit.ErrSignature)
	if p := has(problems, audit.ErrSignature); p.From != 11 || !strings.Contains(p.What, "was replaced by") {
		t.Errorf("%+v", p)
	}
	// Another chain that leads elsewhere is not it either.
	w.open()
	if _, err := w.a.Rotate(nil); err != nil {
		t.Fatal(err)
	}
	w.close()
	want(t, verify(t, w.dir, o), audit.ErrSignature)
	write(t, chain, w.dir, "audit.keys")
	want(t, verify(t, w.dir, o), audit.ErrSignature) // by the checkpoints of the old key
}

// The journal's last entry is cut at every length: the next start signs again
// behind what is whole.
func TestTornJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(5)
	w.sign()
	one := len(read(t, w.dir, "checkpoints.txt"))
	w.fill(5)
	w.sign()
	w.close()
	whole := read(t, w.dir, "checkpoints.txt")
	for cut := one; cut < len(whole); cut += 17 {
		write(t, whole[:cut], w.dir, "checkpoints.txt")
		if p := verify(t, w.dir, audit.VerifyOptions{}); (has(p, audit.ErrDamaged) != nil) != (cut > one) {
			t.Errorf("cut to %d: %v", cut, p)
		}
		w.open()
		if c, _ := w.a.Last(); c.Size != 5 {
			t.Errorf("cut to %d: the last checkpoint is of %d events", cut, c.Size)
		}
		w.sign()
		w.close()
		if b := read(t, w.dir, "checkpoints.txt"); !bytes.Equal(b, whole) {
			t.Errorf("cut to %d: the journal is\n%s", cut, b)
		}
	}
	write(t, append(whole, make([]byte, 5000)...), w.dir, "checkpoints.txt")
	if _, err := audit.Open(w.dir, w.db, audit.Options{}); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("a long tail: %v", err)
	}
	write(t, whole, w.dir, "checkpoints.txt")
}
