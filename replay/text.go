package replay

import (
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// maxShown is how many characters of a value a sentence repeats.
const maxShown = 80

// jsonOf returns x as JSON; what has no JSON is shown as its error.
func jsonOf(x any) string {
	b, err := json.Marshal(x)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// shown returns JSON cut to what a sentence bears; "absent" for none.
func shown(b []byte) string {
	if len(b) == 0 {
		return "absent"
	}
	if utf8.RuneCount(b) <= maxShown {
		return string(b)
	}
	return string([]rune(string(b[:min(len(b), 4*maxShown)]))[:maxShown]) + "…"
}

// viewOf returns e in JSON as people see it, none if it cannot be read.
func viewOf(e eventlog.Event) json.RawMessage {
	v, err := event.ViewOf(e)
	if err != nil {
		return nil
	}
	return json.RawMessage(jsonOf(v))
}

// sortedKeys returns the keys of several maps together, sorted.
func sortedKeys[V any](ms ...map[string]V) []string {
	all := map[string]bool{}
	for _, m := range ms {
		for k := range m {
			all[k] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
