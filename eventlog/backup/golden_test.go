package backup_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/backup"
)

var update = flag.Bool("update", false, "make the golden backups anew; only for a format that was never released")

// Backups of every released format are restored for ever, in both forms.
func TestGoldenBackups(t *testing.T) {
	golden := filepath.Join("testdata", "v1")
	if *update {
		os.RemoveAll(golden)
		if err := os.MkdirAll(golden, 0o755); err != nil {
			t.Fatal(err)
		}
		w := newWorld(t)
		w.fill(8)
		for _, name := range []string{"backup", "backup.tar.zst"} {
			w.mustBackup(filepath.Join(golden, name))
		}
		os.Remove(filepath.Join(golden, "backup", "LOCK"))
	}
	var first []eventlog.Event
	for _, name := range []string{"backup", "backup.tar.zst"} {
		path := filepath.Join(golden, name)
		r := intact(t, path)
		dir := filepath.Join(t.TempDir(), "data")
		restore(t, path, dir, backup.RestoreOptions{})
		db, err := eventlog.Open(dir, eventlog.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		all := events(t, db)
		db.Close()
		if r.Head != 24 || len(all) != 24 || len(all[11].Payload) != eventlog.BlobOver+3+1 {
			t.Errorf("%s has %d events", name, len(all))
		}
		holds(t, dir, all)
		if first == nil {
			first = all
		}
		for i := range all {
			if eventlog.Leaf(all[i]) != eventlog.Leaf(first[i]) {
				t.Errorf("event %d is not the same in both forms", i+1)
			}
		}
		if rep, err := audit.VerifyDir(dir, audit.VerifyOptions{Keys: keysOf(t, dir)}); err != nil || len(rep.Problems) != 1 {
			t.Errorf("%s: %v, %v", name, rep, err) // it goes on under a key that does not exist yet
		}
	}
}

// keysOf returns the key that the restored log was signed with before.
func keysOf(t *testing.T, dir string) []*audit.Keys {
	past := read(t, dir, "audit.past")
	from := bytes.Index(past, []byte(`"public":"`)) + len(`"public":"`)
	k, err := audit.ParseKeys(past[from : from+bytes.IndexByte(past[from:], '\\')])
	if err != nil {
		t.Fatal(err)
	}
	return []*audit.Keys{k}
}
