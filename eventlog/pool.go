package eventlog

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultOpenSegments is how many sealed segments are kept open. Each is a file
// descriptor and its size in addresses; opening one anew reads its inner pages, a
// fraction of a millisecond. Of full segments these are 16 GB.
const DefaultOpenSegments = 512

// filePool bounds how many sealed segments are open at a time: beyond that, the
// one that was read the longest ago is closed. Segments that are not sealed are
// not in it, for the writer holds their files.
type filePool struct {
	limit int
	log   *slog.Logger
	clock atomic.Uint64 // counts reads
	long  atomic.Pointer[longEntry]

	mu   sync.Mutex
	open []*segment
}

// longEntry is the decoded entry of a long run, the last one that was read: the run is
// read in pages, and each page would decode all of its offsets.
type longEntry struct {
	in  *segment
	run RunID
	runEntry
}

// longFrom is from how many events on that is worth keeping.
const longFrom = 4096

func (p *filePool) longOf(s *segment, run RunID) (runEntry, bool) {
	if p == nil {
		return runEntry{}, false
	}
	if l := p.long.Load(); l != nil && l.in == s && l.run == run {
		return l.runEntry, true
	}
	return runEntry{}, false
}

func (p *filePool) keepLong(s *segment, run RunID, e runEntry) {
	if p != nil && len(e.offs) >= longFrom {
		p.long.Store(&longEntry{s, run, e})
	}
}

// touch notes that s is being read.
func (p *filePool) touch(s *segment) {
	if p != nil {
		s.touched.Store(p.clock.Add(1))
	}
}

// add takes charge of s, which has been opened, and closes others for it. A
// segment that is being read at this moment is passed over: whoever reads may
// in turn be waiting for this one.
func (p *filePool) add(s *segment) {
	if p == nil {
		return
	}
	p.touch(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.open, s) {
		p.open = append(p.open, s)
	}
	if len(p.open) <= p.limit {
		return
	}
	slices.SortFunc(p.open, func(a, b *segment) int { return cmp.Compare(a.touched.Load(), b.touched.Load()) })
	excess := len(p.open) - p.limit
	p.open = slices.DeleteFunc(p.open, func(old *segment) bool {
		if excess == 0 || old == s {
			return false
		}
		released, err := old.release()
		if err != nil {
			// Nothing was written through it: what it held is on disk.
			p.log.Warn("a segment could not be closed", "file", old.name, "error", err)
		}
		if released {
			excess--
		}
		return released
	})
}

// release closes the file of s until it is needed again, unless it is in use.
func (s *segment) release() (released bool, err error) {
	if !s.fileMu.TryLock() {
		return false, nil
	}
	defer s.fileMu.Unlock()
	if s.file != nil {
		err = s.file.close()
		s.file = nil
	}
	return true, err
}
