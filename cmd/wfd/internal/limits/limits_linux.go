package limits

import (
	"os"
	"strconv"
	"strings"
)

// rlimitTasks is RLIMIT_NPROC, which package syscall does not have.
const rlimitTasks = 6

// groups is where control groups are mounted.
const groups = "/sys/fs/cgroup"

// tasks returns how many more threads and processes may be made.
func tasks() room {
	var least room
	own := membership(readText("/proc/self/cgroup"))
	for dir := range own.dirs(groups, "pids") {
		if r := roomOf(dir, "pids.max", "pids.current"); r.known {
			least = least.less(r)
		}
	}
	return least.less(ofUser())
}

// memory returns how much memory there is for this process's control group.
func memory() room {
	var least room
	own := membership(readText("/proc/self/cgroup"))
	for dir := range own.dirs(groups, "memory") {
		for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
			if r := roomOf(dir, name, ""); r.known && r.n < 1<<60 { // the older ones have a number for none
				least = least.less(r)
			}
		}
	}
	return least
}

// controllers are this process's control groups by controller; "" is that of version 2.
type controllers map[string]string

// membership reads /proc/self/cgroup.
func membership(text string) controllers {
	own := controllers{}
	for line := range strings.Lines(text) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 {
			for _, c := range strings.Split(f[1], ",") {
				own[c] = f[2]
			}
		}
	}
	return own
}

// dirs yields the directories of a controller's groups, from this process's own upwards:
// what limits one limits all below it. In a container only the last of them may be there.
func (c controllers) dirs(root, controller string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name, top := range map[string]string{controller: root + "/" + controller, "": root} {
			path, ok := c[name]
			for path = strings.TrimSuffix(path, "/"); ok; path = path[:strings.LastIndexByte(path, '/')] {
				if !yield(top + path) {
					return
				}
				if path == "" {
					break
				}
			}
		}
	}
}

// roomOf reads a limit of a control group and what is used of it.
func roomOf(dir, limit, used string) room {
	n, err := strconv.ParseUint(strings.TrimSpace(readText(dir+"/"+limit)), 10, 64)
	if err != nil {
		return room{} // "max", or there is none
	}
	r := room{n: n, of: dir + "/" + limit, known: true}
	if used == "" {
		return r
	}
	u, err := strconv.ParseUint(strings.TrimSpace(readText(dir+"/"+used)), 10, 64)
	if err != nil {
		return room{}
	}
	r.n -= min(u, n)
	return r
}

// ofUser returns what is left of RLIMIT_NPROC, which counts the threads of all processes of
// a user. Root has no such limit. What is far off is not counted.
func ofUser() room {
	n, ok := rlimit(rlimitTasks)
	if !ok || n >= 8*fewTasks || os.Getuid() == 0 {
		return room{}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return room{}
	}
	var used uint64
	for _, e := range entries {
		if e.Name()[0] >= '1' && e.Name()[0] <= '9' {
			used += threadsOf(readText("/proc/"+e.Name()+"/status"), os.Getuid())
		}
	}
	return room{n: n - min(used, n), of: "RLIMIT_NPROC", known: true}
}

// threadsOf returns how many threads a process has, by its status, if it is a user's.
func threadsOf(status string, uid int) (n uint64) {
	for line := range strings.Lines(status) {
		switch f := strings.Fields(line); {
		case len(f) < 2:
		case f[0] == "Uid:" && f[1] != strconv.Itoa(uid):
			return 0
		case f[0] == "Threads:":
			n, _ = strconv.ParseUint(f[1], 10, 64)
		}
	}
	return n
}

// readText returns what is in a file of the kernel; "" if it cannot be read.
func readText(name string) string {
	b, _ := os.ReadFile(name)
	return string(b)
}
