package eventlog

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// archivedRuns compares what archives have of events with the hashes that the events
// keep, as these come by in the order of the log: a run's lie close to each other, so
// that few frames are unpacked more than once.
type archivedRuns struct {
	of     map[RunID][]placedFrame // by first version
	sorted bool

	unpacked map[placedFrame][]archived
	recent   []placedFrame // that are unpacked, in the order in which they were
	bytes    int64         // unpacked
}

type placedFrame struct {
	id ArchiveID
	frame
}

// keepUnpacked bounds the bytes of the frames that stay unpacked.
const keepUnpacked = 32 << 20

func (a *archivedRuns) add(id ArchiveID, fr frame) {
	if a.of == nil {
		a.of, a.unpacked = make(map[RunID][]placedFrame), make(map[placedFrame][]archived)
	}
	a.of[fr.run] = append(a.of[fr.run], placedFrame{id, fr})
}

// check compares the content of an erased event, if an archive has it.
func (a *archivedRuns) check(dir string, ring *crypt.Ring, seq Seq, r *record) error {
	if !a.sorted {
		for _, list := range a.of {
			slices.SortFunc(list, func(x, y placedFrame) int { return cmp.Compare(x.first, y.first) })
		}
		a.sorted = true
	}
	list := a.of[r.run]
	i, found := slices.BinarySearchFunc(list, r.version, func(f placedFrame, v Version) int { return cmp.Compare(f.first, v) })
	if !found {
		i--
	}
	if i < 0 || r.version >= list[i].first+Version(list[i].count) {
		return nil // it was erased
	}
	events, err := a.unpack(dir, ring, list[i])
	if errors.Is(err, fs.ErrNotExist) {
		return nil // an open log has thrown it away since
	}
	if err == nil {
		if e := &events[r.version-list[i].first]; payloadHash(&e.salt, e.payload) != r.hash {
			err = errArchivedOther
		}
	}
	if err != nil {
		return &CorruptError{File: list[i].id.name(), Seq: seq, Run: r.run, What: "archive", Err: err}
	}
	return nil
}

func (a *archivedRuns) unpack(dir string, ring *crypt.Ring, fr placedFrame) ([]archived, error) {
	if events, ok := a.unpacked[fr]; ok {
		return events, nil
	}
	f, err := os.Open(filepath.Join(dir, fr.id.name()))
	if err != nil {
		return nil, err
	}
	events, err := readFrame(f, ring, fr.frame)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	a.unpacked[fr] = events
	a.recent = append(a.recent, fr)
	a.bytes += fr.raw
	for a.bytes > keepUnpacked && len(a.recent) > 1 {
		a.bytes -= a.recent[0].raw
		delete(a.unpacked, a.recent[0])
		a.recent = a.recent[1:]
	}
	return events, nil
}
