package crash

import (
	"fmt"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/invariant"
	"github.com/wfd-dev/wfd/eventlog"
)

// read reads every run of the log, and holds it against the rules.
func read(log eventlog.Log) (map[string]*invariant.History, error) {
	all := map[string]*invariant.History{}
	var seq eventlog.Seq
	for {
		page, err := log.ReadFrom(seq, 1000)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return all, nil
		}
		for _, e := range page {
			if e.Seq != seq+1 {
				return nil, fmt.Errorf("seq %d follows %d", e.Seq, seq)
			}
			seq = e.Seq
			if e.Run.IsSystem() {
				continue
			}
			h := all[e.Run.String()]
			if h == nil {
				h = &invariant.History{}
				all[e.Run.String()] = h
			}
			if err := h.Add(e); err != nil {
				return nil, err
			}
		}
	}
}
