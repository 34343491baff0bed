// Package doctor looks at what a daemon depends on and cannot change: the disk, its
// file system, the clock, the limits of the process, the address. It repairs nothing,
// and leaves nothing behind.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/limits"
	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/eventlog"
)

// Status is what came of a check.
type Status string

// Statuses.
const (
	OK   Status = "ok"
	Warn Status = "warn" // wfd works, and something is worth a look
	Fail Status = "fail" // wfd does not work like this, or promises less than it should
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"`
	// Storage says that it is about what is stored.
	Storage bool `json:"-"`
}

// Input is what is looked at.
type Input struct {
	Dir  string // the data directory; it need not be there yet
	Addr string // where a daemon would listen
	Now  func() time.Time
	// Last returns the time of the log's last event, asked of whoever holds the
	// directory; zero if there is none.
	Last func(ctx context.Context, held *eventlog.LockedError) (time.Time, error)
}

// Limits: what is below, or above, is worth a word.
const (
	lowSpace  = 1 << 30  // a day of a busy daemon
	noSpace   = 64 << 20 // a segment and its successor
	fewNodes  = 1000     // files that can still be made
	fewFiles  = limits.FewFiles
	noFiles   = 256
	slowSync  = 50 * time.Millisecond
	tooQuick  = 20 * time.Microsecond // no disk is as quick
	aheadOf   = time.Second
	syncs     = 25
	syncBytes = 4096
	// syncTime bounds the measuring on a disk that hardly moves.
	syncTime = 5 * time.Second
)

// Run looks at everything.
func Run(ctx context.Context, in Input) []Check {
	var found []Check
	add := func(c Check) { found = append(found, c) }
	place, dir := directory(in.Dir)
	add(dir)
	held, err := eventlog.Holder(in.Dir)
	add(lock(held, err))
	if place != "" {
		for _, c := range disk(place) {
			add(c)
		}
		if dir.Status != Fail {
			add(syncTimes(place))
		}
	}
	add(in.clock(ctx, held))
	add(files())
	add(programs())
	add(port(in.Addr, held))
	return found
}

// directory looks at the data directory, and returns it or the nearest one above it that
// is there.
func directory(dir string) (place string, c Check) {
	c = Check{Name: "directory", Status: OK, Storage: true}
	fi, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		for place = filepath.Dir(dir); ; place = filepath.Dir(place) {
			if fi, err = os.Stat(place); err == nil || place == filepath.Dir(place) {
				break
			}
		}
		c.Found = dir + " is not there yet; a daemon makes it"
		if err == nil && !fi.IsDir() {
			c.Status, c.Found, c.Remedy = Fail, place+" is no directory", "name another one with --data"
			return "", c
		}
	case err != nil:
		c.Status, c.Found, c.Remedy = Fail, err.Error(), "let this user into it"
		return "", c
	case !fi.IsDir():
		c.Status, c.Found, c.Remedy = Fail, dir+" is no directory", "name another one with --data"
		return "", c
	default:
		place = dir
		c.Found = fmt.Sprintf("%s, %v", dir, fi.Mode().Perm())
		if fi.Mode().Perm()&0o077 != 0 {
			c.Status, c.Remedy = Warn, "chmod 700: others on this machine can read what agents and people said"
		}
	}
	if syscall.Access(place, 2|1) != nil { // to write, and to go into
		c.Status, c.Found, c.Remedy = Fail, place+" cannot be written by this user", "chown it, or run as its owner"
	}
	return place, c
}

func lock(held *eventlog.LockedError, err error) Check {
	c := Check{Name: "lock", Status: OK, Storage: true}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR):
		c.Status, c.Found = Warn, "cannot be looked at: "+err.Error()
	case err != nil:
		c.Status, c.Found, c.Remedy = Fail, "the file system has no locks: "+err.Error(), "keep the directory on a local disk"
	case held == nil:
		c.Found = "nobody holds the directory"
	default:
		c.Found = fmt.Sprintf("held by process %d", held.PID)
		if held.Address != "" {
			c.Found += " at " + held.Address
		}
	}
	return c
}

// disk looks at the space and the file system of a directory.
func disk(place string) []Check {
	v, err := volumeOf(place)
	if err != nil {
		return []Check{{Name: "space", Status: Warn, Found: "cannot be told: " + err.Error(), Storage: true}}
	}
	space := Check{Name: "space", Status: OK, Found: bytesOf(v.free) + " free of " + bytesOf(v.all), Storage: true}
	switch {
	case v.free < noSpace:
		space.Status, space.Remedy = Fail, "make space: a commit that does not fit is refused (wfd du, wfd compact)"
	case v.nodes > 0 && v.nodesFree < fewNodes:
		space.Status, space.Remedy = Fail, fmt.Sprintf("only %d more files can be made", v.nodesFree)
	case v.free < lowSpace || v.free < v.all/20:
		space.Status, space.Remedy = Warn, "make space, or set --retain"
	}
	kind := Check{Name: "filesystem", Status: OK, Found: v.kind, Storage: true}
	switch {
	case slices.Contains(network, v.kind):
		kind.Status, kind.Found = Fail, v.kind+", which is on the network"
		kind.Remedy = "keep the directory on a local disk: locks, maps and syncs of a network file system are not what the log builds on"
	case slices.Contains(volatile, v.kind):
		kind.Status, kind.Found = Warn, v.kind+", which is gone after a restart of the machine"
		kind.Remedy = "keep the directory on a disk, unless this is a trial"
	case v.kind == "overlayfs":
		kind.Status, kind.Found = Warn, "overlayfs, which usually goes with its container"
		kind.Remedy = "mount a volume for the data directory"
	case v.kind == "fuse":
		kind.Status = Warn
		kind.Remedy = "what a FUSE file system does at a sync is up to its program: know it, or use another"
	}
	return []Check{space, kind}
}

// volume is the file system that a directory is on.
type volume struct {
	kind             string // "" if it is not known
	free, all        uint64 // bytes
	nodes, nodesFree uint64 // 0, 0: not counted
}

// network and volatile are kinds of file systems as volumeOf names them.
var (
	network  = []string{"nfs", "cifs", "smb2", "smb", "smbfs", "9p", "afs", "ceph", "lustre", "ocfs2", "gfs2", "vboxsf"}
	volatile = []string{"tmpfs", "ramfs"}
)

// syncTimes measures what a commit waits for.
func syncTimes(place string) Check {
	c := Check{Name: "sync", Status: OK, Storage: true}
	times, err := measure(place)
	if err != nil {
		c.Status, c.Found, c.Remedy = Fail, err.Error(), "look at the disk"
		return c
	}
	slices.Sort(times)
	middle, worst := times[len(times)/2], times[len(times)-1]
	c.Found = fmt.Sprintf("%s in the middle, %s at worst, of %d", round(middle), round(worst), len(times))
	switch {
	case middle < tooQuick:
		c.Status, c.Remedy = Warn, "no disk is as quick: either it is memory, or it does not do what it is told, and loses what was acknowledged when the power fails"
	case middle > slowSync:
		c.Status, c.Remedy = Warn, "every step of a run waits for one: use a quicker disk"
	}
	return c
}

// measure writes to a file of its own, and syncs it, again and again.
func measure(place string) (times []time.Duration, err error) {
	f, err := os.CreateTemp(place, ".doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, syncBytes)
	for end := time.Now().Add(syncTime); len(times) < syncs && (len(times) == 0 || time.Now().Before(end)); {
		block[0]++
		if _, err := f.WriteAt(block, 0); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(began))
	}
	return times, nil
}

// clock holds the clock against the log's last event, which is never later.
func (in Input) clock(ctx context.Context, held *eventlog.LockedError) Check {
	c := Check{Name: "clock", Status: OK}
	now := in.Now()
	last, err := in.Last(ctx, held)
	switch {
	case err != nil:
		c.Status, c.Found = Warn, "the log's last event cannot be read: "+err.Error()
		c.Remedy = "where a daemon has it, give --token; otherwise run wfd check"
	case last.Sub(now) > aheadOf:
		c.Status, c.Found = Fail, fmt.Sprintf("it is %s, and the log's last event is of %s", stamp(now), stamp(last))
		c.Remedy = "set the clock: timers and deadlines wait until it has caught up"
	default:
		c.Found = stamp(now)
		if !last.IsZero() {
			c.Found += ", the last event is of " + stamp(last)
		}
		if !synchronised() {
			c.Status, c.Remedy = Warn, "nothing keeps it right: run chrony, ntpd or systemd-timesyncd"
		}
	}
	return c
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func files() Check {
	c := Check{Name: "files", Status: OK}
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		c.Status, c.Found = Warn, err.Error()
		return c
	}
	n := uint64(l.Cur)
	c.Found = fmt.Sprintf("%d may be open at once", n)
	switch {
	case n < noFiles:
		c.Status = Fail
	case n < fewFiles:
		c.Status = Warn
	}
	if c.Status != OK {
		c.Remedy = limits.FilesFix()
	}
	return c
}

// programs says in which sandboxes programs can be run.
func programs() Check {
	c := Check{Name: "sandbox", Status: OK, Found: string(sandbox.Full)}
	for _, l := range []sandbox.Level{sandbox.Full, sandbox.Landlock, sandbox.Rlimits} {
		err := sandbox.Can(l)
		if err == nil {
			break
		}
		if c.Status == OK {
			c.Remedy = fmt.Sprintf("%s is what programs that are to be kept from more need: %v", l, err)
		}
		c.Status, c.Found = Warn, "less than "+string(l)
	}
	return c
}

func port(addr string, held *eventlog.LockedError) Check {
	c := Check{Name: "address", Status: OK, Found: addr + " is free"}
	l, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		l.Close()
	case errors.Is(err, syscall.EADDRINUSE) && held != nil && same(held.Address, addr):
		c.Found = addr + " is the daemon's that holds the directory"
	case errors.Is(err, syscall.EADDRINUSE):
		c.Status, c.Found, c.Remedy = Fail, addr+" is taken by another process", "--addr names another; port 0 is any"
	default:
		c.Status, c.Found, c.Remedy = Fail, err.Error(), "--addr names another: host:port"
	}
	return c
}

// same reports whether an address that a daemon holds, which may be a URL, is at addr.
func same(held, addr string) bool {
	if _, rest, isURL := strings.Cut(held, "://"); isURL {
		held = rest
	}
	a, err := net.ResolveTCPAddr("tcp", held)
	if err != nil {
		return held == addr
	}
	b, err := net.ResolveTCPAddr("tcp", addr)
	return err == nil && a.Port == b.Port && (a.IP.Equal(b.IP) || anywhere(a.IP) || anywhere(b.IP))
}

// anywhere reports whether an address is every one of this machine.
func anywhere(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }

func bytesOf(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	x, i := float64(n), 0
	for x >= 1000 && i < len(units)-1 {
		x, i = x/1000, i+1
	}
	return fmt.Sprintf("%.3g %s", x, units[i])
}

// round keeps two or three digits.
func round(d time.Duration) time.Duration {
	unit := time.Microsecond
	for d > 1000*unit {
		unit *= 10
	}
	return d.Round(unit)
}
