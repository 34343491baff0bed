package engine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
)

// ParseRetention reads policies as people write them: "after=30d,runs=1000" for
// all workflows, "nightly: after=7d,drop" for one.
func ParseRetention(specs []string) (Retention, error) {
	r := Retention{}
	seen := map[string]bool{}
	for _, spec := range specs {
		name, rest, named := strings.Cut(spec, ":")
		if !named {
			name, rest = "", spec
		}
		name = strings.TrimSpace(name)
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("%w: retention %q: %s; want [WORKFLOW:]limit,… of after=30d, runs=1000, bytes=10GB, drop, drop_after=365d",
				machine.ErrInvalid, spec, fmt.Sprintf(format, args...))
		}
		if named && name == "" {
			return r, wrong("no workflow is named before the colon")
		}
		if seen[name] {
			return r, wrong("a second policy for the same workflows")
		}
		seen[name] = true
		p, err := parsePolicy(rest)
		if err != nil {
			return r, wrong("%v", err)
		}
		if name == "" {
			r.Default = p
			continue
		}
		if r.Workflows == nil {
			r.Workflows = map[string]Policy{}
		}
		r.Workflows[name] = p
	}
	return r, nil
}

func parsePolicy(s string) (p Policy, err error) {
	for part := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "after":
			p.After, err = ParseAge(value)
		case "drop_after":
			p.DropAfter, err = ParseAge(value)
		case "runs":
			if p.Runs, err = strconv.Atoi(value); err != nil || p.Runs < 1 {
				err = fmt.Errorf("%q is not a number of runs from 1", value)
			}
		case "bytes":
			p.Bytes, err = parseBytes(value)
		case "drop":
			if p.Drop = true; value != "" {
				err = fmt.Errorf("drop takes no value")
			}
		default:
			err = fmt.Errorf("%q is no limit", key)
		}
		if err != nil {
			return p, err
		}
	}
	if p.Drop && !p.limits() {
		return p, fmt.Errorf("drop says what to do with what passes a limit, and there is none")
	}
	return p, nil
}

// ParseAge reads a duration, with days besides: 30d, 36h, 90m.
func ParseAge(s string) (time.Duration, error) {
	days, ok := strings.CutSuffix(s, "d")
	if n, err := strconv.ParseUint(days, 10, 16); ok && err == nil && n > 0 {
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a length of time, as 30d or 12h", s)
	}
	return d, nil
}

// units are those of bytes, in steps of 1000 as disks are sold, or of 1024.
var units = map[string]int64{
	"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
}

func parseBytes(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKMGTIbkmgti ")
	unit, ok := units[strings.ToUpper(strings.TrimSpace(s[len(digits):]))]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n < 1 || n > 1<<62/unit {
		return 0, fmt.Errorf("%q is not a number of bytes, as 500MB or 10GiB", s)
	}
	return n * unit, nil
}
