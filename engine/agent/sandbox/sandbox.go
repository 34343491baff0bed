// Package sandbox keeps programs that wfd runs from what is none of their business, at
// named levels:
//
//	none      a process group of its own that ends as a whole, no more
//	rlimits   and the limits that are asked for, no core files
//	landlock  and it reads the system, writes to directories that it is given, and has no
//	          sockets; a deny list of system calls; no rights of root
//	full      and its own processes, network and IPC; all else is read-only, /proc its own
//
// At landlock and full the program is begun by this binary, called again: that puts
// itself under the restrictions, which last through exec, and becomes the program, or at
// full waits for it as the first of its processes, so that what is left of them ends with
// it. Every binary that links this package can be called so, tests too: the call is met
// before anything else is set up.
//
// What a kernel cannot do is found out by doing it once. It is never left out silently: a
// program gets the level that it was to have, or one that is allowed instead, or does not
// run.
//
// Not kept from it, by landlock: to see which files there are and to change modes and
// times of those that are this user's (full does), to send signals to this user's other
// processes where the kernel is older than 6.12, and to see processes.
package sandbox

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Level says what a program is kept from; see the package.
type Level string

// Levels, from the weakest; each has all of those before it.
const (
	None     Level = "none"
	Rlimits  Level = "rlimits"
	Landlock Level = "landlock"
	Full     Level = "full"
)

var levels = []Level{None, Rlimits, Landlock, Full}

func (l Level) rank() int { return slices.Index(levels, l) }

// Confines reports whether a program at l reaches only what it is given.
func (l Level) Confines() bool { return l.rank() >= Landlock.rank() }

// Ask is what a program asks for.
type Ask struct {
	// Level is what it is to run at; "": what the policy says. Least is what it may run
	// at where the machine cannot give that; "": nothing less.
	Level, Least Level
	// Read and Write are what it reaches besides the system and its own directories.
	Read, Write []string
	Network     bool
	// Limits of each of its processes, and of how many they are; 0: none.
	CPU                     time.Duration
	Memory, File, Processes int64
}

// Policy is what all programs of an engine are held to.
type Policy struct {
	Level Level // of those that ask for none; "": rlimits, or none where that is all there is
	Least Level // of all; "": none
	// Hidden is what no program is to be given: the data directory, secrets.
	Hidden []string
}

// ParsePolicy reads LEVEL or LEVEL:LEAST.
func ParsePolicy(s string) (p Policy, err error) {
	level, least, two := strings.Cut(s, ":")
	p.Level, p.Least = Level(level), Level(level)
	if two {
		p.Least = Level(least)
	}
	if p.Level.rank() < 0 || p.Least.rank() < 0 {
		return p, fmt.Errorf("%q: want none, rlimits, landlock or full, or LEVEL:LEAST, as full:landlock", s)
	}
	if p.Least.rank() > p.Level.rank() {
		return p, fmt.Errorf("%q: %s is less than %s, which is to be the least", s, p.Level, p.Least)
	}
	return p, nil
}

// Grant returns the level at which a program is run that asks for a, on this machine. The
// error says why it cannot be run.
func (p Policy) Grant(a Ask) (Level, error) { return p.grant(a, Can) }

func (p Policy) grant(a Ask, can func(Level) error) (Level, error) {
	want, least, floor := cmp.Or(p.Level, Rlimits), cmp.Or(p.Least, None), cmp.Or(p.Least, None)
	if a.Level != "" {
		want, least = a.Level, cmp.Or(a.Least, a.Level)
	}
	least = levels[max(least.rank(), floor.rank())]
	want = levels[max(want.rank(), least.rank())]
	var why error
	for i := want.rank(); i >= least.rank(); i-- {
		err := can(levels[i])
		if err == nil {
			if err := p.allows(levels[i], a); err != nil {
				return "", err
			}
			return levels[i], nil
		}
		why = err // of the least, which comes last
	}
	return "", fmt.Errorf("it is to run in the sandbox %s, which this machine cannot give it: %w", least, why)
}

// allows says why a program may not be given what it asks for at a level.
func (p Policy) allows(l Level, a Ask) error {
	for _, path := range slices.Concat(a.Read, a.Write) {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%s: what a sandbox is given is named from the root", path)
		}
		if h := p.hidden(path); l.Confines() && h != "" {
			return fmt.Errorf("%s is, has in it or is part of %s, which no program is given", path, h)
		}
	}
	return nil
}

// hidden returns what is hidden that is below path, or that path is below.
func (p Policy) hidden(path string) string {
	for _, h := range p.Hidden {
		if within(h, path) || within(path, h) {
			return h
		}
	}
	return ""
}

// within reports whether a is b or below it, by the names that they have in the end.
func within(a, b string) bool {
	rel, err := filepath.Rel(resolved(b), resolved(a))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func resolved(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	return filepath.Clean(path)
}
