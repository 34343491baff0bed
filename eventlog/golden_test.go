package eventlog_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// goldenDir is a data directory as format version 1 writes it: three segments,
// two of them sealed, and a blob. Every later build must read it.
const goldenDir = "testdata/v1"

func TestGoldenDirectory(t *testing.T) {
	if flag.Lookup("update").Value.String() == "true" {
		os.RemoveAll(goldenDir)
		sample(t, goldenDir, 34)
		os.Remove(filepath.Join(goldenDir, "LOCK"))
		os.Remove(filepath.Join(goldenDir, "log", "next.tmp"))
		for _, path := range files(t, goldenDir) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(path, ".db") { // without the room to grow
				os.Truncate(path, eventlog.HighWater(b))
			}
		}
		writeFile(t, goldenDir+".golden", describe(t, goldenDir))
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(goldenDir)); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(goldenDir + ".golden")
	if err != nil {
		t.Fatal(err)
	}
	check(t, dir)
	if got := describe(t, dir); got != string(want) {
		t.Errorf("the directory reads as\n%s\nwant\n%s", got, want)
	}
	d := open(t, dir, eventlog.Options{SegmentSize: tiny})
	if _, err := fillSome(d, 40, 30); err != nil {
		t.Errorf("appending to it: %v", err)
	}
}

// describe returns a log as text.
func describe(t *testing.T, dir string) string { return describeWith(t, dir, keys()) }

func describeWith(t *testing.T, dir string, keys crypt.Keys) string {
	d, err := eventlog.Open(dir, eventlog.Options{ReadOnly: true, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	events := eventsOf(t, d)
	var out strings.Builder
	st := d.Stats()
	size, root := d.TreeHead()
	fmt.Fprintf(&out, "%d segments, %d sealed, tree of %d with root %x\n", st.Segments, st.Sealed, size, root)
	for _, e := range events {
		fmt.Fprintf(&out, "%d %v %d %d %d %q %d salt %x payload %d %x leaf %x\n", e.Seq, e.Run, e.Version, e.Time, e.Kind, e.Actor, e.Append, e.Salt, len(e.Payload), e.PayloadHash(), eventlog.Leaf(e))
	}
	return out.String()
}

func writeFile(t *testing.T, path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
