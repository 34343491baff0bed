package run

import (
	"errors"
	"fmt"
	"math"

	"github.com/wfd-dev/wfd/eventlog"
)

// ErrNotFound: the run, or the position in it, does not exist.
var ErrNotFound = errors.New("not found")

// Newest is the end of a history, for Fold.
const Newest = eventlog.Version(math.MaxUint64)

// foldPage is how many events Fold reads at once.
const foldPage = 1024

// Begin returns the state of a run of which the log has nothing.
func Begin(log eventlog.Log, id eventlog.RunID) *State {
	s := New(id)
	(&folder{log: log, past: map[position][]byte{}}).equip(s)
	return s
}

// Fold reads a run from the log and folds it up to and including version at. A
// run without events gives a pending state; a position past the end is
// ErrNotFound.
func Fold(log eventlog.Log, id eventlog.RunID, at eventlog.Version) (*State, error) {
	s, err := FoldWhile(log, id, func(e eventlog.Event) bool { return e.Version <= at })
	if err == nil && at != Newest && s.Version < at {
		return nil, fmt.Errorf("run %s, version %d: %w: it is at version %d", id, at, ErrNotFound, s.Version)
	}
	return s, err
}

// FoldWhile folds a run's events as long as more says so.
func FoldWhile(log eventlog.Log, id eventlog.RunID, more func(eventlog.Event) bool) (*State, error) {
	return (&folder{log: log, past: map[position][]byte{}}).fold(id, more)
}

// FoldOn folds what the log has of a run after s, which was restored from a
// snapshot of that run.
func FoldOn(log eventlog.Log, s *State) error {
	f := &folder{log: log, past: map[position][]byte{}}
	f.equip(s)
	return f.foldOn(s, func(eventlog.Event) bool { return true })
}

// A folder folds runs and the pasts that their restores and forks go back to. Each
// past is folded once, however many restores lie one behind the other.
type folder struct {
	log  eventlog.Log
	past map[position][]byte // snapshots
}

type position struct {
	run     eventlog.RunID
	version eventlog.Version
}

func (f *folder) fold(id eventlog.RunID, more func(eventlog.Event) bool) (*State, error) {
	s := New(id)
	f.equip(s)
	if err := f.foldOn(s, more); err != nil {
		return nil, err
	}
	return s, nil
}

func (f *folder) foldOn(s *State, more func(eventlog.Event) bool) error {
	for {
		page, err := f.log.ReadRun(s.Run, s.Version, foldPage)
		if err != nil {
			return err
		}
		for _, e := range page {
			if !more(e) {
				return nil
			}
			if err := s.Apply(e); err != nil {
				return err
			}
		}
		if len(page) == 0 {
			return nil
		}
	}
}

// equip lets s go back: to its own past, and to that of others.
func (f *folder) equip(s *State) {
	id := s.Run
	s.Past = func(v eventlog.Version) (*State, error) { return f.at(id, v) }
	s.Other = f.at
}

func (f *folder) at(id eventlog.RunID, v eventlog.Version) (*State, error) {
	key := position{id, v}
	if b := f.past[key]; b != nil {
		s, err := Restore(b)
		if err == nil {
			f.equip(s)
		}
		return s, err
	}
	s, err := f.fold(id, func(e eventlog.Event) bool { return e.Version <= v })
	if err != nil {
		return nil, err
	}
	if s.Version < v {
		return nil, fmt.Errorf("run %s, version %d: %w: it is at version %d", id, v, ErrNotFound, s.Version)
	}
	if f.past[key], err = s.Snapshot(); err != nil {
		return nil, err
	}
	return s, nil
}
