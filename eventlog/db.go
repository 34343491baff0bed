package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/durable"
)

// DB is a Log in a directory.
//
// Three cursors move over it: durable ≤ committed ≤ enqueued. The committed
// one is the writer's alone and differs from the durable one only inside a
// commit.
type DB struct {
	dir      string
	opts     Options
	log      *slog.Logger
	lock     *dirLock
	catalog  *store
	ring     *crypt.Ring
	blobs    blobs
	archives archives
	pool     filePool // of the sealed segments

	quarantine quarantine

	// What readers see. A published list is never changed; its last segment is
	// the open one.
	segs    atomic.Pointer[[]*segment]
	durable atomic.Pointer[treeHead] // size is the head
	commits atomic.Uint64

	mu      sync.Mutex
	batch   *batch            // open: the writer takes it when it is free
	pending map[RunID]runHead // heads of runs with enqueued appends
	failed  error             // why the log accepts nothing more
	closing bool
	busy    bool // somebody stores a batch: the writer, or who has appended it
	alone   bool // the last batch was one append, or there was none

	wake       chan struct{} // there may be a batch, or closing is set
	writerDone chan struct{}

	// Of whoever is busy.
	synced   *os.File // log/synced
	edge     edge     // of the tree, all commits included
	lastTime int64    // the latest time of any event
	packer   chunkWriter
	packed   written // the last batch: its memory is the next one's
	spare    []*entry

	// The keeper prepares and seals segments in the background.
	keep       chan struct{}
	keeperDone chan struct{}
	sealing    sync.Mutex   // one at a time seals
	erasing    sync.RWMutex // one at a time rewrites; held shared by snapshots
	rewriting  sync.RWMutex // held shared while chunks are walked in several transactions, excludes replace
	cuts       []chan error // wait for the open segment to be closed; guarded by mu
	nextMu     sync.Mutex
	nextReady  bool // log/next.tmp is complete; guarded by nextMu
	wantNext   atomic.Bool
}

var _ Log = (*DB)(nil)

// Open opens the log in dir, and creates it if there is none. The directory
// belongs to this DB until Close; if another process has it, the error is a
// [*LockedError].
func Open(dir string, opts Options) (_ *DB, err error) {
	if opts.Failpoint == nil {
		if opts.Failpoint, err = Killpoint(); err != nil {
			return nil, err
		}
	}
	if !opts.ReadOnly {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return nil, err
		}
		if err := makeDir(dir); err != nil {
			return nil, err
		}
	} else if _, err := os.Stat(filepath.Join(dir, catalogName)); err != nil {
		return nil, fmt.Errorf("no log to read: %w", err)
	}
	d := &DB{
		dir: dir, opts: opts, log: opts.logger(),
		pending: make(map[RunID]runHead), batch: newBatch(nil),
		alone: true, wake: make(chan struct{}, 1), writerDone: make(chan struct{}),
		keep: make(chan struct{}, 1), keeperDone: make(chan struct{}),
	}
	d.blobs.dir, d.blobs.opts = dir, &d.opts
	d.pool.limit, d.pool.log = opts.openSegments(), d.log
	d.segs.Store(new([]*segment))
	if d.lock, err = lockDir(dir, opts.ReadOnly); err != nil {
		return nil, err
	}
	if err := d.load(); err != nil {
		return nil, errors.Join(err, d.release())
	}
	if opts.ReadOnly {
		close(d.writerDone)
		close(d.keeperDone)
		return d, nil
	}
	go d.write()
	go d.keepUp()
	poke(d.keep) // a crash may have left a full segment unsealed
	return d, nil
}

// load reads the directory: the catalog, then the segments that are not sealed.
func (d *DB) load() (err error) {
	mended, err := d.loadRing() // before anything is changed
	if err != nil {
		return err
	}
	if !d.opts.ReadOnly {
		if err := d.prepareDir(); err != nil {
			return err
		}
	}
	if err := d.fromDisk(catalogName); err != nil {
		return err
	}
	if d.catalog, err = openCatalog(d.dir, d.opts.ReadOnly); err != nil {
		return err
	}
	if err := d.openRing(mended); err != nil {
		return err
	}
	list, err := listCatalog(d.catalog)
	if err != nil {
		return err
	}
	strays, err := strayFiles(d.dir, list)
	if err != nil {
		return err
	}
	for _, first := range strays {
		if err := dropStray(d.dir, first, d.opts.ReadOnly); err != nil {
			return err
		}
	}
	var segs []*segment
	d.edge = edge{}
	for i, e := range list {
		s := newSegment(d.dir, d.ring, e.first, e.info.start)
		segs = append(segs, s)
		d.segs.Store(&segs) // so that release closes it
		if i > 0 && e.first != segs[i-1].last+1 {
			return &CorruptError{File: s.name, Seq: segs[i-1].last + 1, What: "events are missing before this segment"}
		}
		if e.info.sealed {
			s.last, s.minTime, s.maxTime = e.info.last, e.info.minTime, e.info.maxTime
			filter := e.filter
			s.isSealed = true
			s.filter.Store(&filter)
			s.digested = e.digest.now != fileDigest{} && e.digest.next == fileDigest{}
			s.pool.Store(&d.pool)
			d.lastTime = max(d.lastTime, s.maxTime)
			continue
		}
		if i > 0 && !segs[i-1].isSealed && d.edge != s.start {
			return &CorruptError{File: s.name, Seq: s.first, What: "the tree before the segment does not match the events"}
		}
		d.edge = s.start
		if err := d.fromDisk(s.name); err != nil {
			return err
		}
		if err := d.openUnsealed(s, i == len(list)-1); err != nil {
			return err
		}
		d.lastTime = max(d.lastTime, s.maxTime)
	}
	if n := len(segs); n > 0 && segs[n-1].isSealed {
		// The open segment is never sealed before the next one is listed.
		return &CorruptError{File: catalogName, Seq: segs[n-1].last + 1, What: "the open segment is not listed"}
	}
	d.segs.Store(&segs)
	if len(segs) == 0 && !d.opts.ReadOnly {
		if err := d.addSegment(); err != nil {
			return err
		}
	}
	if !d.opts.ReadOnly {
		if err := d.openSynced(d.open()); err != nil {
			return err
		}
	}
	d.publish()
	d.lock.unclean = false
	for _, c := range d.quarantine.found {
		d.log.Error("the log is damaged; the runs concerned are shut off", "file", c.File, "seq", c.Seq, "run", c.Run.String(), "error", c)
	}
	return nil
}

// openUnsealed opens a segment that is not sealed, and scans it.
func (d *DB) openUnsealed(s *segment, last bool) error {
	read := func(q *quarantine) error {
		if last {
			found, err := s.settle(d.dir, d.opts.ReadOnly)
			found.report(d.log, s.name)
			if err != nil {
				return err
			}
		}
		if err := d.openGrowing(s); err != nil {
			return err
		}
		return s.scan(&d.edge, q)
	}
	if !d.opts.Quarantine {
		return read(nil)
	}
	d.quarantine.before = (*d.segs.Load())[:len(*d.segs.Load())-1]
	edge, found := d.edge, d.quarantine.clone()
	err := read(&d.quarantine)
	var damage *CorruptError
	if errors.As(err, &damage) && last && !d.opts.ReadOnly && !errors.Is(err, crypt.ErrNoDataKey) {
		d.edge, d.quarantine = edge, found
		_, err = s.release()
		if err == nil {
			err = d.salvage(s, damage)
		}
		if err == nil {
			err = read(&d.quarantine)
		}
	}
	if err == nil {
		err = d.salvaged(s)
	}
	return err
}

// fromDisk is fromDisk for a file that the last writer may have written to, if that
// was ended: what it had not synced was acknowledged to nobody, but what is decided
// on it now may be, and a power cut could take it away from under that.
func (d *DB) fromDisk(name string) error {
	if !d.lock.unclean {
		return nil
	}
	if err := fromDisk(filepath.Join(d.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// prepareDir creates what a new data directory needs and clears away what a
// crash left unfinished.
func (d *DB) prepareDir() error {
	for _, sub := range []string{logDir, "blobs"} {
		if err := makeDir(filepath.Join(d.dir, sub)); err != nil {
			return err
		}
	}
	// makeDir does not sync a name it finds: its maker may have died before it could.
	if err := durable.SyncDir(d.dir); err != nil {
		return err
	}
	for _, sub := range []string{d.dir, filepath.Join(d.dir, logDir)} {
		if err := removeTemporary(sub); err != nil {
			return err
		}
	}
	_, err := os.Stat(filepath.Join(d.dir, catalogName))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The catalog comes first in a new directory: segments without one are the
	// remains of a log, not the beginning of one.
	entries, err := os.ReadDir(filepath.Join(d.dir, logDir))
	if err == nil && len(entries) > 0 {
		return &CorruptError{File: catalogName, What: "the file is missing, and there are segments"}
	}
	if err != nil {
		return err
	}
	return createCatalog(d.dir)
}

// strayFiles checks that every listed segment has its file, and returns the
// segments that have a file and are not listed.
func strayFiles(dir string, list []catalogEntry) (strays []Seq, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, logDir))
	if err != nil {
		return nil, err
	}
	have := make(map[Seq]bool)
	for _, e := range entries {
		if first, ok := parseSegmentName(e.Name()); ok {
			have[first] = true
		} else if strings.HasSuffix(e.Name(), ".db") {
			return nil, &CorruptError{File: filepath.Join(logDir, e.Name()), What: "not a segment's name"}
		}
	}
	for _, e := range list {
		if !have[e.first] {
			return nil, &CorruptError{File: segmentName(e.first), Seq: e.first, What: "the file is missing"}
		}
		delete(have, e.first)
	}
	return slices.Sorted(maps.Keys(have)), nil
}

// dropStray removes a segment that is not listed: a rotation died there, so it
// has no event. It is an error if it has one.
func dropStray(dir string, first Seq, readOnly bool) error {
	s := newSegment(dir, nil, first, edge{})
	empty := true
	err := s.view(func(tx storeTx) error {
		if c, ok := tx.cursor(bucketChunks); ok {
			k, _ := c.First()
			empty = k == nil && c.last() == 0
		}
		return nil
	})
	if err = errors.Join(err, s.close()); err != nil {
		return err
	}
	if !empty {
		return &CorruptError{File: s.name, Seq: first, What: "the segment has events and is not listed in " + catalogName}
	}
	if readOnly {
		return nil
	}
	if err := os.Remove(s.path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Join(dir, logDir))
}

// openGrowing opens a segment that is not sealed. It is mapped as large as it can grow.
func (d *DB) openGrowing(s *segment) error {
	size := d.opts.segmentSize()
	err := s.open(d.opts.ReadOnly, int(size*5/4)+MaxAppend+MaxAppend/2)
	if err == nil {
		s.file.full = size
	}
	return err
}

// publish makes the writer's position the durable one.
func (d *DB) publish() {
	d.durable.Store(&treeHead{size: d.edge.size, root: d.edge.root(), time: d.lastTime})
}

// open returns the open segment.
func (d *DB) open() *segment {
	segs := *d.segs.Load()
	return segs[len(segs)-1]
}

// Head implements [Log].
func (d *DB) Head() Seq { return Seq(d.durable.Load().size) }

// TreeHead returns the size and root of the Merkle tree over all durable
// events.
func (d *DB) TreeHead() (size uint64, root [32]byte) {
	h := d.durable.Load()
	return h.size, h.root
}

// SetAddress writes into LOCK where this process can be reached, for the
// [LockedError] of whoever comes second.
func (d *DB) SetAddress(address string) error {
	if d.opts.ReadOnly {
		return ErrReadOnly
	}
	return d.lock.write(address)
}

// Stats are figures of a DB.
type Stats struct {
	Segments int
	Sealed   int
	Bytes    int64 // of the segments' files
	Events   uint64
	Commits  uint64 // since Open
}

// Stats returns the log's figures.
func (d *DB) Stats() Stats {
	segs := *d.segs.Load()
	st := Stats{Segments: len(segs), Events: uint64(d.Head()), Commits: d.commits.Load()}
	for _, s := range segs {
		if fi, err := os.Stat(s.path); err == nil {
			st.Bytes += fi.Size()
		}
		s.mu.RLock()
		if s.isSealed {
			st.Sealed++
		}
		s.mu.RUnlock()
	}
	return st
}

// Err returns why the log accepts no more appends, nil while it does.
func (d *DB) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// Close implements [Log]. Segments that are full are sealed before it returns.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closing {
		d.mu.Unlock()
		return ErrClosed
	}
	d.closing = true
	d.mu.Unlock()
	poke(d.wake)
	<-d.writerDone
	close(d.keep)
	<-d.keeperDone
	return d.release()
}

// release closes all files and gives up the lock.
func (d *DB) release() error {
	var errs []error
	for _, s := range *d.segs.Load() {
		errs = append(errs, s.close())
	}
	if d.catalog != nil {
		errs = append(errs, d.catalog.close())
	}
	if d.synced != nil {
		errs = append(errs, d.synced.Sync(), d.synced.Close())
	}
	d.lock.unclean = d.lock.unclean || d.Err() != nil // what the kernel holds may not be on the disk
	return errors.Join(append(errs, d.lock.close(d.opts.ReadOnly))...)
}

// stop makes the log refuse all further appends.
func (d *DB) stop(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed == nil {
		d.failed = err
		d.log.Error("the log has stopped: only a fresh start decides what is stored", "error", err)
	}
}

// poke sends to a channel of capacity one, unless a token is there already.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
