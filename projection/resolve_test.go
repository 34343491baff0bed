package projection

import (
	"context"
	"errors"
	"testing"

	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection/event"
)

// People name workflows as they remember them. What could be several is refused,
// with the candidates.
func TestResolve(t *testing.T) {
	log := eventlogtest.NewMemory()
	for i, name := range []string{"Code Review Workflow", "code-style", "old one", "Old_One", "Nightly"} {
		appendTo(t, log, Workflows, &event.DefinitionRegistered{Name: name, Version: 1, Hash: string(rune('a' + i)), Definition: "{}"})
	}
	v := open(t, t.TempDir(), log)
	defer closed(t, v)
	for name, want := range map[string]string{
		"Code Review Workflow": "Code Review Workflow",
		"code-review-workflow": "Code Review Workflow",
		"code_review":          "Code Review Workflow",
		"CODE-STYLE":           "code-style",
		"nightly":              "Nightly",
		"Old_One":              "Old_One", // to the letter beats alike
	} {
		if got, err := v.Resolve(context.Background(), "", name); err != nil || got != want {
			t.Errorf("%q is %q, want %q: %v", name, got, want, err)
		}
	}
	for name, want := range map[string]error{
		"code": ErrAmbiguous, "old-one": ErrAmbiguous, "night": ErrNotFound, "cod": ErrNotFound, "": ErrNotFound,
	} {
		if got, err := v.Resolve(context.Background(), "", name); !errors.Is(err, want) {
			t.Errorf("%q is %q, want an error: %v", name, got, err)
		}
	}
}
