package backup

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func aManifest() *Manifest {
	m := &Manifest{Header: Header{Format: format, Origin: "wfd.dev/abcdefgh", Head: 7, Root: Hash{1, 2}, Made: time.Unix(1e9, 0).UTC(), Checkpoint: "a\n\n— b\n"}}
	for i, name := range []string{"catalog", "log/00000000000000000001.tail/00000000000000000001", "archives/a.wfda", "audit.pub"} {
		m.Files = append(m.Files, File{name, int64(i * 100), Sum{byte(i)}})
	}
	return m
}

// A manifest is read as it was written, and with no bit that is another.
func TestManifest(t *testing.T) {
	var b bytes.Buffer
	if err := aManifest().write(&b); err != nil {
		t.Fatal(err)
	}
	m, err := readManifest(bytes.NewReader(b.Bytes()))
	if err != nil || len(m.Files) != 4 || m.Files[1] != aManifest().Files[1] || m.Header != aManifest().Header || m.Bytes != 600 {
		t.Fatalf("%+v, %v", m, err)
	}
	for at := range b.Bytes() {
		for bit := range 8 {
			c := bytes.Clone(b.Bytes())
			c[at] ^= 1 << bit
			if _, err := readManifest(bytes.NewReader(c)); err == nil {
				t.Errorf("byte %d, bit %d: %q is read", at, bit, c[max(0, at-10):min(len(c), at+10)])
			}
		}
	}
	lines := strings.SplitAfter(b.String(), "\n")
	for i := range lines[:len(lines)-1] {
		without := strings.Join(lines[:i], "") + strings.Join(lines[i+1:], "")
		if _, err := readManifest(strings.NewReader(without)); err == nil {
			t.Errorf("without line %d it is read", i+1)
		}
	}
	if _, err := readManifest(strings.NewReader(b.String() + "\n")); err == nil {
		t.Error("with more behind its end it is read")
	}
}

func TestRestorable(t *testing.T) {
	hex := strings.Repeat("0123456789abcdef", 4)
	for name, want := range map[string]bool{
		"catalog": true, "catalog.db": false, "LOCK": false, "": false, "views/views.db": false, "audit.key": true, "audit.key.next": false,
		"log/00000000000000000001.db": true, "log/0000000000000000001.db": false, "log/next.tmp": false, "log/": false, "log": false,
		"log/00000000000000000001.tail/00000000000000000009": true, "log/00000000000000000001.tail/": false, "log/00000000000000000001.tail/../x": false,
		"blobs/01/23/" + hex: true, "blobs/01/24/" + hex: false, "blobs/01/23/" + strings.ToUpper(hex): false, "blobs/01/23/" + hex + "0": false, "blobs/" + hex: false,
		"archives/a.wfda": true, "archives/": false, "archives/..": false, "archives/a/b": false, "archives/.a": false, "archives": false,
		"../x": false, "/etc/passwd": false, "log/../x": false, "audit.pub\x00": false,
	} {
		if restorable(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func FuzzManifest(f *testing.F) {
	var b bytes.Buffer
	aManifest().write(&b)
	f.Add(b.Bytes())
	f.Add([]byte(`{"format":"wfd-backup-1"}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readManifest(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := m.write(&again); err != nil || !bytes.Equal(again.Bytes(), b) {
			t.Errorf("%q is read and written as %q (%v)", b, again.Bytes(), err)
		}
		for _, f := range m.Files {
			if !restorable(f.Path) {
				t.Errorf("%q", f.Path)
			}
		}
	})
}
