// Package limits knows what the system lets this process have of files, processes and
// threads, address space and memory, and whether a daemon can do with it.
//
// What it lacks is said before anything is opened, with the name of the limit: the runtime
// of Go ends a process that gets no thread, or none of the memory it asks for, wherever it
// is just then, and there is nothing that a program could do about it.
package limits

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/limits/first"
)

// What a daemon needs at least. With less it would end, sooner or later, for want of it.
const (
	// daemonFiles are those that a daemon holds while nothing happens, and as many again.
	daemonFiles = 32
	// FewFiles is below what a busy daemon may need: 2,048 connections, segments, programs and their pipes.
	FewFiles = 4096

	// anyTasks are threads that the runtime makes for a command.
	anyTasks = 8
	// daemonTasks are threads and processes: reservedThreads, and what one program needs.
	daemonTasks = 24
	// fewTasks is where a daemon sees to it that its programs leave it the threads it needs.
	fewTasks = 512
	// reservedThreads are those of a busy daemon beside one for each program: it idles on 8.
	reservedThreads = 16
	// programTasks is what is reckoned for a program: itself, a child, who waits for it, and
	// what its sandbox takes at its beginning.
	programTasks = 4

	// daemonSpace is what the maps of files take that are as large as they may become, and the
	// runtime of Go reserves: most of it is never touched.
	daemonSpace = 4 << 30
	// daemonMemory is a daemon with nothing to do, and the headroom of its collector.
	daemonMemory = 48 << 20
)

// Short is a limit that is too low.
type Short struct {
	What string // a sentence: what may be had, and by which limit
	Need string // what is needed
	Fix  string // how more is to be had
}

func (s *Short) Error() string { return s.What + "; " + s.Need + "\nhint: " + s.Fix }

// init looks whether there are threads for a command: the runtime makes them as the first
// garbage is collected, which is early. Whether there are files is looked at still earlier.
func init() {
	if err := threads("a command", anyTasks); err != nil {
		fmt.Fprintf(os.Stderr, "wfd: %v\n", err)
		os.Exit(first.ExitCode)
	}
}

// Daemon looks at what a daemon needs.
func Daemon() error {
	if n, ok := Files(); ok && n < daemonFiles {
		return &Short{
			What: fmt.Sprintf("only %d files may be open at once (RLIMIT_NOFILE)", n),
			Need: fmt.Sprintf("a daemon needs at least %d", daemonFiles),
			Fix:  FilesFix(),
		}
	}
	if n, ok := rlimit(syscall.RLIMIT_AS); ok && n < daemonSpace {
		return &Short{
			What: fmt.Sprintf("the address space is limited to %d MB (RLIMIT_AS)", n>>20),
			Need: fmt.Sprintf("a daemon needs %d, most of which it only reserves", daemonSpace>>20),
			Fix:  "ulimit -v unlimited, or LimitAS=infinity in the unit; memory is limited by a control group, as with MemoryMax=",
		}
	}
	if m := memory(); m.known && m.n < daemonMemory {
		return &Short{
			What: fmt.Sprintf("memory is limited to %d MB (%s)", m.n>>20, m.of),
			Need: fmt.Sprintf("a daemon needs %d", daemonMemory>>20),
			Fix:  "raise it, as with MemoryMax= in the unit or --memory of a container",
		}
	}
	return threads("a daemon", daemonTasks)
}

func threads(who string, least uint64) error {
	t := tasks()
	if !t.known || t.n >= least {
		return nil
	}
	return &Short{
		What: fmt.Sprintf("only %d more threads and processes may be made (%s)", t.n, t.of),
		Need: fmt.Sprintf("%s needs %d", who, least),
		Fix:  fmt.Sprintf("ulimit -u %[1]d, TasksMax=%[1]d in the unit, or --pids-limit of a container", fewTasks),
	}
}

// FilesFix says how more files are to be had.
func FilesFix() string {
	return fmt.Sprintf("ulimit -n %[1]d, or LimitNOFILE=%[1]d in the unit", FewFiles)
}

// Files returns how many files may be open at once.
func Files() (n uint64, limited bool) { return rlimit(syscall.RLIMIT_NOFILE) }

// Memory returns what the control group lets this process have, and whether it is limited.
func Memory() (n uint64, limited bool) {
	m := memory()
	return m.n, m.known
}

// Programs returns how many programs may run at once so that threads are left for the daemon
// itself, and what limits them; "": nothing that comes near.
func Programs() (n int, of string) {
	t := tasks()
	if !t.known || t.n >= fewTasks {
		return 0, ""
	}
	if t.n < daemonTasks {
		return 1, t.of
	}
	return int(t.n-reservedThreads) / programTasks, t.of
}

// ReserveThreads has the runtime make the threads that a daemon will need beside as many
// programs, each of which one waits for. The runtime keeps what it has made; a thread that
// it can not make any more, because programs have taken the room, is its end.
func ReserveThreads(programs int) {
	var made, released sync.WaitGroup
	release := make(chan struct{})
	for range reservedThreads + programs {
		made.Add(1)
		released.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			made.Done()
			<-release
		})
	}
	made.Wait()
	close(release)
	released.Wait()
}

// Of returns which limit an error is of, or nil. What the error says is not said again.
func Of(err error) *Short {
	var s *Short
	switch {
	case errors.As(err, &s):
		return s
	case errors.Is(err, syscall.EMFILE):
		n, _ := Files()
		return &Short{Need: fmt.Sprintf("%d files may be open at once (RLIMIT_NOFILE)", n), Fix: FilesFix()}
	case errors.Is(err, syscall.ENFILE):
		return &Short{Need: "the whole machine has no more (fs.file-max)", Fix: "sysctl fs.file-max raises it; who holds so many?"}
	case errors.Is(err, syscall.ENOMEM):
		return &Short{Need: "neither memory nor address space is left (RLIMIT_AS, vm.max_map_count, vm.overcommit_memory)", Fix: "ulimit -v unlimited, or free memory"}
	}
	return nil
}

// room is how much more may be had of something.
type room struct {
	n     uint64
	of    string // what says so
	known bool
}

// less takes r2 if there is less of it.
func (r room) less(r2 room) room {
	if r2.known && (!r.known || r2.n < r.n) {
		return r2
	}
	return r
}

// rlimit returns a limit of this process, and whether there is one.
func rlimit(of int) (n uint64, limited bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(of, &l); err != nil || l.Cur >= 1<<62 {
		return 0, false
	}
	return uint64(l.Cur), true
}
