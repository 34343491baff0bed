package zseal

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

func sealed(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unsealed(b []byte, limit int64) ([]byte, error) {
	r, err := NewReader(iotest.OneByteReader(bytes.NewReader(b)), limit)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 39, 40, 41, 1000, 200_000} {
		content := make([]byte, n)
		for i := range content {
			content[i] = byte(rand.IntN(1 + i%7))
		}
		got, err := unsealed(sealed(t, content), int64(n))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: %d, %v", n, len(got), err)
		}
	}
}

// Every bit matters, and every byte at the end.
func TestFlippedBits(t *testing.T) {
	whole := sealed(t, []byte(strings.Repeat("some text that is repeated and then some; ", 20)))
	for at := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[at] ^= 1 << bit
			if _, err := unsealed(b, 1<<20); !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d, bit %d of %d: %v", at, bit, len(whole), err)
			}
		}
	}
	for n := range whole {
		if _, err := unsealed(whole[:n], 1<<20); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for _, more := range [][]byte{{0}, whole, make([]byte, 100)} {
		if _, err := unsealed(append(bytes.Clone(whole), more...), 1<<20); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes more: %v", len(more), err)
		}
	}
}

// What unpacks to more than is allowed is refused before it is unpacked.
func TestLimit(t *testing.T) {
	bomb := sealed(t, make([]byte, 64<<20))
	if len(bomb) > 64<<10 {
		t.Fatalf("%d bytes", len(bomb))
	}
	got, err := unsealed(bomb, 1<<20)
	if !errors.Is(err, ErrDamaged) || len(got) > 1<<20 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// A frame that asks for a window of a gigabyte.
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(1<<29))
	if err != nil {
		t.Fatal(err)
	}
	w.Write(make([]byte, 1<<20))
	w.Write(bytes.Repeat([]byte("x"), 100))
	w.Close()
	if _, err := unsealed(append(b.Bytes(), make([]byte, sealLen)...), 1<<30); !errors.Is(err, ErrDamaged) {
		t.Errorf("a large window: %v", err)
	}
}

// An error of the file is that, and not damage.
func TestReadError(t *testing.T) {
	broken := errors.New("input/output error")
	whole := sealed(t, make([]byte, 1000))
	r, err := NewReader(io.MultiReader(bytes.NewReader(whole[:20]), iotest.ErrReader(broken)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, broken) || errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(sealed(f, []byte("some text")))
	f.Add(sealed(f, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := unsealed(b, 1<<16)
		if err == nil && len(got) > 1<<16 {
			t.Errorf("%d bytes", len(got))
		}
	})
}
