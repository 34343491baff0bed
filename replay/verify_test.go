package replay

import (
	"testing"
)

// Every history that the machine decides verifies, whatever happened to the run.
func TestVerifyRandomRuns(t *testing.T) {
	n := uint64(300)
	if testing.Short() {
		n = 60
	}
	events := 0
	for seed := range n {
		m := zooRun(t, seed)
		for _, r := range m.runs {
			v, err := Verify(m.log, m.defs, r.s.Run)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if !v.OK || v.NotFrom != 0 || v.Verified != r.s.Version {
				t.Fatalf("seed %d, %s: %s", seed, r.wf.Name, jsonOf(v))
			}
			events += int(v.Version)
		}
	}
	t.Logf("%d events", events)
	if events < int(n)*15 {
		t.Fatalf("only %d events in %d simulations", events, n)
	}
}
