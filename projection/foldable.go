package projection

import (
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Foldable reports whether the views could take in the events of one run, all of
// them from the first on. An event in the log that they cannot take in would keep
// them from every event after it.
func Foldable(id eventlog.RunID, events []eventlog.Event) error {
	row, open := Row{ID: id}, newOpenSet()
	for _, e := range events {
		f := &fact{Event: e}
		if err := row.apply(f); err != nil {
			return fmt.Errorf("version %d, %s: %w", e.Version, event.KindName(e.Kind), err)
		}
		if err := open.apply(f); err != nil {
			return fmt.Errorf("version %d, %s: %w", e.Version, event.KindName(e.Kind), err)
		}
	}
	return nil
}
