package projection

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// scrubName is where Scrub writes the file that is to take the place of the one
// there is. A crash leaves it: Open removes it.
const scrubName = viewsFile + ".scrub"

// scrubTx bounds a transaction of the copy, in bytes.
const scrubTx = 16 << 20

// Scrub writes the file of the views anew, with what is in the rows and no more: a
// row that was changed or removed leaves its bytes in free pages. Rows are read and
// folded meanwhile; they wait for no longer than it takes to put one file in the
// other's place, and to fold what came since the copy was begun.
func (v *Views) Scrub(ctx context.Context) error {
	if err := v.Flush(ctx); err != nil {
		return err
	}
	v.mu.RLock()
	s := v.store
	v.mu.RUnlock()
	if s == nil {
		return ErrClosed
	}
	path := filepath.Join(v.dir, scrubName)
	if err := copyStore(s, path); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return v.inTurn(ctx, func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.store != s {
			return errors.Join(ErrClosed, os.Remove(path)) // or built anew meanwhile
		}
		if v.clean {
			if err := writeMarker(v.dir, s.sealed, false); err != nil {
				return err
			}
			v.clean = false
		}
		v.store = nil
		if err := s.close(); err != nil {
			return err
		}
		if err := errors.Join(os.Rename(path, v.path()), v.removeDiscarded()); err != nil {
			return err
		}
		err := v.openFile() // at the cursor of the copy: what came since is folded again
		if isUntrusted(err) {
			err = v.discard(err.Error())
		}
		return err
	})
}

// removeDiscarded removes a file that was put aside as damaged.
func (v *Views) removeDiscarded() error {
	err := os.Remove(v.path() + discardedSuffix)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// copyStore copies the entries of s, as one snapshot, to a new file.
func copyStore(s *store, path string) error {
	return guard(func() error {
		out, err := bolt.Open(path, 0o600, &bolt.Options{NoSync: true, FreelistType: bolt.FreelistMapType, NoStatistics: true})
		if err != nil {
			return err
		}
		if s.sealed {
			return errors.Join(s.resealTo(out), out.Close())
		}
		return errors.Join(bolt.Compact(out, s.db, scrubTx), out.Close())
	})
}

// resealTo copies the entries to an empty file, sealed anew: with the data key that seals
// what is written now.
func (s *store) resealTo(out *bolt.DB) error {
	return s.db.View(func(from *bolt.Tx) error {
		return from.ForEach(func(name []byte, b *bolt.Bucket) error {
			c := b.Cursor()
			k, v := c.First()
			for first := true; first || k != nil; first = false {
				err := out.Update(func(to *bolt.Tx) error {
					bucket, err := to.CreateBucketIfNotExists(name)
					if err != nil {
						return err
					}
					bucket.FillPercent = 0.9 // as bbolt's own copy
					for n := 0; k != nil && n < scrubTx; k, v = c.Next() {
						plain, err := s.opened(string(name), k, v)
						if err != nil {
							return err
						}
						n += len(k) + len(v)
						if err := bucket.Put(k, s.stored(string(name), k, plain)); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// Reseal writes the views anew as they would be written now: sealed with another data key,
// or built again from the log, which they have to be where names in their keys are not
// what they were.
func (v *Views) Reseal(ctx context.Context) error {
	v.mu.RLock()
	s := v.store
	v.mu.RUnlock()
	if s == nil {
		return ErrClosed
	}
	if s.sealed == v.ring().Seals() {
		return v.Scrub(ctx)
	}
	err := v.inTurn(ctx, func() error { return v.repair(s, errors.New("they are to be encrypted otherwise")) })
	if err != nil {
		return err
	}
	return v.CatchUp(ctx, nil)
}

// Size returns the bytes of the files in the views' directory.
func (v *Views) Size() (n int64, err error) {
	entries, err := os.ReadDir(v.dir)
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return n, err
		}
		n += info.Size()
	}
	return n, err
}
