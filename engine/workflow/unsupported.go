package workflow

import (
	"fmt"

	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Unsupported names what is valid in a definition but has no engine yet: plan nodes.
// The engine refuses to start such a workflow with these words.
func (w *Workflow) Unsupported() Problems {
	var problems Problems
	for _, n := range w.Nodes {
		if n.Kind != Plan {
			continue
		}
		path := source.Join("nodes", n.ID)
		p := Problem{Severity: Error, Code: CodeUnsupported, Path: path, Node: n.ID,
			Message: fmt.Sprintf("%s is %s, which this version cannot run yet", n.ID, nodeWords(n.Kind)),
			Hint:    "agent nodes with a loop can stand in for it"}
		w.Def.src.Locate(&p, w.Def.src.PlaceOf(path, true))
		problems = append(problems, p)
	}
	return problems.Sorted()
}
