package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// self is this binary, also when another was put in its place meanwhile.
const self = "/proc/self/exe"

// processes is how many a program at full may have if it does not say: in its own user
// namespace they are counted on their own. Those of root are not counted.
const processes = 512

// Can says why programs cannot be run at a level here. It is found out once.
func Can(l Level) error {
	switch l {
	case Landlock:
		return canLandlock()
	case Full:
		return canFull()
	}
	return nil
}

var (
	canLandlock = sync.OnceValue(func() error { return trial(Landlock) })
	canFull     = sync.OnceValue(func() error {
		err := trial(Full)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("namespaces of users are not allowed here (%w): see user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns, and in a unit of systemd RestrictNamespaces", err)
		}
		return err
	})
)

// isolate gives the shim of a full sandbox namespaces of its own. It has the rights that
// it takes to arrange them, which it gives up before the program begins.
func isolate(cmd *exec.Cmd, b Box) {
	if b.Level != Full {
		return
	}
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWNS)
	if !b.Ask.Network {
		flags |= unix.CLONE_NEWNET
	}
	same := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: flags, UidMappings: same(os.Geteuid()), GidMappings: same(os.Getegid()),
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP},
	}
}

// A call of the shim is met here, before what this binary is otherwise for is set up,
// which takes much longer.
func init() {
	if len(os.Args) > 2 && os.Args[1] == word {
		os.Exit(begin(os.Args[2:]))
	}
}

// shim is what begins a program. It is one thread that matters, the one which the program
// is executed on or forked from: restrictions are put on that alone.
type shim struct {
	level               Level
	path, dir           string
	argv                []string
	read, write, only   []string
	network             bool
	cpu, mem, file, pcs uint64
}

func begin(args []string) int {
	unix.CloseOnExec(3)
	s := shim{level: Level(args[0])}
	for i, a := range args[1:] {
		if a == "--" {
			s.argv = args[i+2:]
			break
		}
		key, v, _ := strings.Cut(a, "=")
		n, _ := strconv.ParseUint(v, 10, 64)
		switch key {
		case "x":
			s.path = v
		case "d":
			s.dir = v
		case "r":
			s.read = append(s.read, v)
		case "w":
			s.write = append(s.write, v)
		case "o":
			s.only = append(s.only, v)
		case "n":
			s.network = true
		case "c":
			s.cpu = n
		case "m":
			s.mem = n
		case "f":
			s.file = n
		case "p":
			s.pcs = n
		}
	}
	if err := s.enter(); err != nil {
		return tell(saidWhy, err.Error())
	}
	switch {
	case s.path == "": // a trial
		return 0
	case s.level == Full:
		return s.attend()
	}
	return cannot(syscall.Exec(s.path, s.argv, os.Environ()))
}

func tell(kind byte, text string) int {
	if _, err := unix.Write(3, append([]byte{kind}, text...)); err != nil {
		fmt.Fprintln(os.Stderr, text)
	}
	return 125
}

func cannot(err error) int {
	errno, _ := err.(syscall.Errno)
	return tell(saidExec, strconv.Itoa(int(errno)))
}

// enter puts this thread under the restrictions of its level.
func (s *shim) enter() error {
	// Where memory is short, a program goes before the engine does.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	if s.level == Full {
		if err := s.mounts(); err != nil {
			return err
		}
		s.pcs = cmp.Or(s.pcs, processes)
	}
	for _, l := range []struct {
		what int
		n    uint64
	}{{unix.RLIMIT_CPU, s.cpu}, {unix.RLIMIT_DATA, s.mem}, {unix.RLIMIT_FSIZE, s.file}, {unix.RLIMIT_NPROC, s.pcs}, {unix.RLIMIT_CORE, 0}} {
		if l.n == 0 && l.what != unix.RLIMIT_CORE {
			continue
		}
		if err := limit(l.what, l.n); err != nil {
			return err
		}
	}
	if !s.level.Confines() {
		return nil
	}
	if err := giveUp(); err != nil {
		return err
	}
	if err := s.landlock(); err != nil {
		return err
	}
	return filter(s.network)
}

func limit(what int, n uint64) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(what, &l); err != nil {
		return err
	}
	l.Cur, l.Max = min(n, l.Max), min(n, l.Max)
	if err := unix.Setrlimit(what, &l); err != nil {
		return fmt.Errorf("limit %d to %d: %w", what, n, err)
	}
	return nil
}

// mounts makes everything read-only but what the program may write, and gives it a /proc
// of its own where the kernel allows that; otherwise it has none.
func (s *shim) mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	for _, path := range s.write {
		if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("a read-only system: %w", err)
	}
	for _, path := range s.write {
		if err := unix.MountSetattr(unix.AT_FDCWD, path, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return fmt.Errorf("%s cannot be written to: %w", path, err)
		}
	}
	if unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "") == nil {
		s.read = append(s.read, "/proc")
	}
	if err := unix.Chdir(s.dir); err != nil { // the same directory, by its new mount
		return fmt.Errorf("%s: %w", s.dir, err)
	}
	return nil
}

// giveUp gives up every right but that of the user, for good.
func giveUp() error {
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	// From here on to be root is to be a user. Who may not say so has no such rights.
	const noRoot, locked = 1 << 0, 1 << 1
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noRoot|locked, 0, 0, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("rights of root: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	return nil
}

// attend begins the program and waits for it, as the first process of its namespace: what
// is left of them when it returns is killed by the kernel.
func (s *shim) attend() int {
	// A signal to the group is for the program; this one goes when that has gone.
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM)
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	pid, err := syscall.ForkExec(s.path, s.argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return cannot(err)
	}
	for fd := range 3 { // who reads sees the program close them
		_ = unix.Close(fd)
	}
	for {
		var status unix.WaitStatus
		if p, err := unix.Wait4(-1, &status, 0, nil); err != nil && err != unix.EINTR || p == pid {
			tell(saidEnded, strconv.Itoa(int(status)))
			return 0
		}
	}
}
