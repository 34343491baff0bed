package projection

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/projection/run"
)

// Snapshots are folds of long runs, kept so that loading one reads a snapshot and
// a short tail. They are caches: one that is missing, damaged, of another build or
// of another log costs time and nothing else. All methods may be called
// concurrently; none fails for want of a snapshot.
type Snapshots struct {
	path string
	ring *crypt.Ring

	mu     sync.RWMutex
	bucket string   // of db: which one it has says whether its values are sealed
	db     *bolt.DB // nil: it could not be opened, or is closed
}

const (
	snapshotsFile  = "snapshots.db"
	snapshotBucket = "snapshots" // run → fingerprint of its last event u64, the snapshot, checksum
	sealedBucket   = "snapshots.sealed"
)

// OpenSnapshots opens the snapshots in dir, and throws away what it cannot read. ring has
// the data keys of the log, if it is encrypted.
func OpenSnapshots(dir string, ring *crypt.Ring) (*Snapshots, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Snapshots{path: filepath.Join(dir, snapshotsFile), ring: ring}
	err := s.open()
	if isDamage(err) {
		if err = os.Remove(s.path); err == nil {
			err = s.open()
		}
	}
	return s, err
}

func (s *Snapshots) open() error {
	if err := checkFile(s.path); err != nil {
		return err
	}
	return guard(func() error {
		// Synced, so that a crash of the machine leaves a file that bbolt can read:
		// there is one write in some hundred events of a run.
		db, err := bolt.Open(s.path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType, NoStatistics: true})
		if err != nil {
			return err
		}
		bucket, other := snapshotBucket, sealedBucket
		if s.ring.Seals() {
			bucket, other = other, bucket
		}
		err = db.Update(func(tx *bolt.Tx) error {
			if tx.Bucket([]byte(other)) != nil {
				return damaged("the snapshots are encrypted and the log is not, or the other way round")
			}
			_, err := tx.CreateBucketIfNotExists([]byte(bucket))
			return err
		})
		if err != nil {
			return errors.Join(err, db.Close())
		}
		s.db, s.bucket = db, bucket
		return nil
	})
}

// Close closes the file.
func (s *Snapshots) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	return guard(db.Close)
}

// Put keeps the snapshot of a run, whose last event in it is last.
func (s *Snapshots) Put(id eventlog.RunID, last eventlog.Event, snapshot []byte) error {
	b := binary.BigEndian.AppendUint64(nil, fingerprint(last))
	b = append(b, snapshot...)
	return s.update(func(f form, bucket *bolt.Bucket) error {
		return bucket.Put(id[:], f.stored(snapshotBucket, id[:], b))
	})
}

// Drop forgets the snapshot of a run. Its bytes may stay in the file: see Scrub.
func (s *Snapshots) Drop(id eventlog.RunID) error {
	return s.update(func(_ form, bucket *bolt.Bucket) error { return bucket.Delete(id[:]) })
}

// form says how values are stored. Called with mu held.
func (s *Snapshots) form() form { return form{s.ring, s.bucket == sealedBucket} }

func (s *Snapshots) update(fn func(form, *bolt.Bucket) error) error {
	s.mu.RLock()
	db := s.db
	if db == nil {
		s.mu.RUnlock()
		return ErrClosed
	}
	err := guard(func() error {
		return db.Update(func(tx *bolt.Tx) error { return fn(s.form(), tx.Bucket([]byte(s.bucket))) })
	})
	s.mu.RUnlock()
	if isDamage(err) {
		return s.renew(db)
	}
	return err
}

// renew begins a new file in the place of one that is damaged.
func (s *Snapshots) renew(damaged *bolt.DB) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db != damaged {
		return nil // someone else has
	}
	s.db = nil
	// A panic in the middle of a commit may have left bbolt's locks held: then the
	// file stays open, under no name.
	go func() { _ = guard(damaged.Close) }()
	if err := os.Remove(s.path); err != nil {
		return err
	}
	return s.open()
}

// Load returns the fold of a run from its snapshot on, nil if there is none that
// can be used.
func (s *Snapshots) Load(log eventlog.Log, id eventlog.RunID) *run.State {
	var b []byte
	s.mu.RLock()
	if s.db != nil {
		err := guard(func() error {
			return s.db.View(func(tx *bolt.Tx) error {
				v := tx.Bucket([]byte(s.bucket)).Get(id[:])
				if v == nil {
					return nil
				}
				v, err := s.form().opened(snapshotBucket, id[:], v)
				b = append(b, v...)
				return err
			})
		})
		if err != nil {
			b = nil
		}
	}
	s.mu.RUnlock()
	if len(b) < 8 {
		return nil
	}
	state, err := run.Restore(b[8:])
	if err != nil || state.Run != id || state.Version == 0 {
		return nil
	}
	last, err := log.ReadRun(id, state.Version-1, 1)
	if err != nil || len(last) == 0 || fingerprint(last[0]) != binary.BigEndian.Uint64(b) {
		return nil // of another log, or of one that was restored to an earlier event
	}
	if err := run.FoldOn(log, state); err != nil {
		return nil
	}
	return state
}

// Scrub begins a new file, for a snapshot that is dropped leaves its bytes in free
// pages. All snapshots are forgotten.
func (s *Snapshots) Scrub() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return ErrClosed
	}
	db := s.db
	s.db = nil
	if err := errors.Join(guard(db.Close), os.Remove(s.path)); err != nil {
		return err
	}
	return s.open()
}
