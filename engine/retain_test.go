package engine

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseRetention(t *testing.T) {
	got, err := ParseRetention([]string{"after=30d, runs=1000", "nightly: after=36h,bytes=2GiB,drop", "audited: drop_after=365d,after=1d"})
	want := Retention{
		Default: Policy{After: 30 * 24 * time.Hour, Runs: 1000},
		Workflows: map[string]Policy{
			"nightly": {After: 36 * time.Hour, Bytes: 2 << 30, Drop: true},
			"audited": {After: 24 * time.Hour, DropAfter: 365 * 24 * time.Hour},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for spec, part := range map[string]string{
		"after=":             "length of time",
		"after=-1h":          "length of time",
		"after=0d":           "length of time",
		"after=99999999999d": "length of time",
		"runs=0":             "number of runs",
		"runs=x":             "number of runs",
		"bytes=10XB":         "number of bytes",
		"bytes=-1":           "number of bytes",
		"bytes=99999999TB":   "number of bytes",
		"size=3":             "no limit",
		"":                   "no limit",
		"drop":               "there is none",
		"drop=yes,runs=1":    "no value",
		": runs=1":           "no workflow",
	} {
		if _, err := ParseRetention([]string{spec}); err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), spec) {
			t.Errorf("%q: %v", spec, err)
		}
	}
	if _, err := ParseRetention([]string{"runs=1", "runs=2"}); err == nil {
		t.Error("two policies for the same runs")
	}
}
