package projection

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
)

// verifyDir begins the name of the directory that Verify builds in.
const verifyDir = "verify-"

// A DifferenceError is what Verify found: the first row that is not what the log
// makes it.
type DifferenceError struct {
	Bucket string
	Key    string // in readable form
	What   string
}

func (e *DifferenceError) Error() string {
	return fmt.Sprintf("views differ from the log: bucket %s, key %s: %s", e.Bucket, e.Key, e.What)
}

// Verify builds all views from the log into a file beside them and compares the
// two, entry by entry. It returns a *DifferenceError for the first that differs.
// While the last events are compared, reads wait.
func (v *Views) Verify(ctx context.Context, progress func(done, head eventlog.Seq)) error {
	dir, err := os.MkdirTemp(v.dir, verifyDir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	twin, err := Open(filepath.Join(dir, "views"), v.log, v.opt)
	if err != nil {
		return err
	}
	defer twin.Close()
	if err := twin.CatchUp(ctx, progress); err != nil {
		return err
	}
	if err := v.WaitFor(ctx, twin.Applied()); err != nil {
		return err
	}
	return v.inTurn(ctx, func() error { // from here on v stands still
		if err := twin.reach(ctx, v.Applied(), progress); err != nil {
			return err
		}
		for twin.Applied() > v.Applied() { // a batch of the twin went further
			if err := v.batch(); err != nil {
				return err
			}
			if err := twin.reach(ctx, v.Applied(), progress); err != nil {
				return err
			}
		}
		if v.store == nil {
			return ErrClosed
		}
		for _, b := range allBuckets() {
			if err := compare(ctx, b, v.store, twin.store); err != nil {
				return err
			}
		}
		return nil
	})
}

// compare walks a bucket of two files in steps of one short snapshot each.
func compare(ctx context.Context, bucket string, have, want *store) error {
	var from []byte
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		a, err := have.dump(bucket, from, examine)
		if err != nil {
			return err
		}
		b, err := want.dump(bucket, from, examine)
		if err != nil {
			return err
		}
		for i := range max(len(a), len(b)) {
			switch {
			case i >= len(a) || i < len(b) && bytes.Compare(a[i].key, b[i].key) > 0:
				return &DifferenceError{bucket, readable(b[i].key), "is missing"}
			case i >= len(b) || bytes.Compare(a[i].key, b[i].key) < 0:
				return &DifferenceError{bucket, readable(a[i].key), "should not be there"}
			case !bytes.Equal(a[i].new, b[i].new):
				return &DifferenceError{bucket, readable(a[i].key), fmt.Sprintf("is %s, not %s", readable(a[i].new), readable(b[i].new))}
			}
		}
		if len(a) < examine {
			return nil
		}
		from = append(a[len(a)-1].key, 0)
	}
}

// dump returns copies of up to n entries of a bucket.
func (s *store) dump(bucket string, from []byte, n int) (list []entry, err error) {
	err = s.view(func(r *reader) error {
		list = nil
		return r.scan(bucket, nil, from, func(k, v []byte) (bool, error) {
			list = append(list, entry{bucket: bucket, key: bytes.Clone(k), new: bytes.Clone(v)})
			return len(list) < n, nil
		})
	})
	return list, err
}

// readable shows a key or value: a run's ID as such where there is one, printable
// text as text, the rest as hexadecimal digits.
func readable(b []byte) string {
	var s strings.Builder
	if len(b) >= 16 && b[0] == 1 { // a ULID of the years 2004 to 2039
		s.WriteString(eventlog.RunID(b).String())
		if b = b[16:]; len(b) > 0 {
			s.WriteByte(' ')
		}
	}
	const limit = 200
	for i, c := range b {
		if i == limit {
			s.WriteString("…")
			break
		}
		if c >= 0x20 && c < 0x7f && c != '\\' {
			s.WriteByte(c)
		} else {
			fmt.Fprintf(&s, "\\x%02x", c)
		}
	}
	return s.String()
}
