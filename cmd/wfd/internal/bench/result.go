package bench

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Result is what was measured. What a step is depends on the workload: a node that was
// carried from its start to its result in most, an event for log, a row for list.
type Result struct {
	Workload   string  `json:"workload"`
	What       string  `json:"what"`
	Runs       int     `json:"runs"`    // done
	StepsOfRun int     `json:"steps"`   // of each
	Clients    int     `json:"clients"` // at once
	Seconds    float64 `json:"seconds"` // for all
	StepsPerS  float64 `json:"steps_per_s"`
	P50        float64 `json:"p50_ms"` // from the request to the result, of a run
	P99        float64 `json:"p99_ms"`

	// Raw is the steps a second if the disk alone had to be waited for, Ratio how much
	// of that was reached.
	Raw    float64 `json:"raw"`
	Ratio  float64 `json:"ratio"`
	RawP50 float64 `json:"raw_p50_ms"`
	RawP99 float64 `json:"raw_p99_ms"`

	// Log is the same for the log with nothing around it: the same appends, by as many
	// clients.
	Log *Alone `json:"log,omitempty"`

	Cost    *Cost              `json:"cost,omitempty"`
	Targets []Target           `json:"targets,omitempty"`
	Figures map[string]float64 `json:"figures,omitempty"` // of this workload alone
	Notes   []string           `json:"notes,omitempty"`
	Machine Machine            `json:"machine"`
}

// Alone is what the log does without an engine.
type Alone struct {
	StepsPerS float64 `json:"steps_per_s"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	// Times is how many times as long a run takes at the median.
	Times float64 `json:"times"`
}

// Cost is what a step takes of the machine.
type Cost struct {
	CPU     float64 `json:"cpu_us"` // user and system, of the whole process
	Allocs  float64 `json:"allocs"`
	Bytes   float64 `json:"alloc_bytes"`
	Events  float64 `json:"events"`
	Commits float64 `json:"commits"`
	Written float64 `json:"written_bytes"` // handed to the operating system
}

// Target is one of the figures that the design asks for.
type Target struct {
	Name string  `json:"name"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	Want float64 `json:"want_ms"` // less than
	N    int     `json:"n"`
}

// Machine is where it was measured.
type Machine struct {
	Cores      int       `json:"cores"`
	CPU        string    `json:"cpu,omitempty"`
	OS         string    `json:"os"`
	Go         string    `json:"go"`
	Date       time.Time `json:"date"`
	LoadBefore float64   `json:"load_before"` // of the last minute
	LoadAfter  float64   `json:"load_after"`
}

func here() Machine {
	return Machine{
		Cores: runtime.GOMAXPROCS(0), CPU: field("/proc/cpuinfo", "model name"), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), Date: time.Now().UTC().Truncate(time.Second), LoadBefore: load(),
	}
}

// load is the machine's load of the last minute, 0 where that is not told.
func load() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	x, _ := strconv.ParseFloat(first, 64)
	return x
}

// field returns what a file of /proc says under a name, "" if it does not.
func field(file, name string) string {
	b, _ := os.ReadFile(file)
	for l := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// number reads the number at the front of a field of /proc.
func number(file, name string) float64 {
	first, _, _ := strings.Cut(field(file, name), " ")
	x, _ := strconv.ParseFloat(first, 64)
	return x
}

// inMemory reports whether a directory is on a file system without a disk.
func inMemory(dir string) bool {
	const tmpfs = 0x01021994
	var st syscall.Statfs_t
	return syscall.Statfs(dir, &st) == nil && st.Type == tmpfs
}

// spent is what the process has taken of the machine so far.
type spent struct {
	cpu            time.Duration
	allocs, bytes  uint64
	written        float64
	events, commit uint64
}

func spentBy(l *life) spent {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for no argument that is given here
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := spent{
		cpu:    time.Duration(u.Utime.Nano() + u.Stime.Nano()),
		allocs: m.Mallocs, bytes: m.TotalAlloc, written: number("/proc/self/io", "wchar"),
	}
	if l != nil {
		st := l.log.Stats()
		s.events, s.commit = st.Events, st.Commits
	}
	return s
}

// since returns what each of n steps took.
func (s spent) since(b spent, n float64) *Cost {
	return &Cost{
		CPU: float64((s.cpu - b.cpu).Microseconds()) / n, Allocs: float64(s.allocs-b.allocs) / n, Bytes: float64(s.bytes-b.bytes) / n,
		Events: float64(s.events-b.events) / n, Commits: float64(s.commit-b.commit) / n, Written: (s.written - b.written) / n,
	}
}

// spread is a number of durations.
type spread []time.Duration

// at returns a quantile in milliseconds.
func (s spread) at(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	return ms(s[min(int(q*float64(len(s))), len(s)-1)])
}

func (s spread) sum() (d time.Duration) {
	for _, x := range s {
		d += x
	}
	return d
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
