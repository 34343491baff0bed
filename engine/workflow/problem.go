package workflow

import "github.com/wfd-dev/wfd/engine/workflow/source"

// A Problem is one thing wrong with a definition, or worth knowing about it;
// Code is one of those below. Problems are all of them, in the order of its
// text. A definition with an Error cannot run.
type (
	Problem  = source.Problem
	Problems = source.Problems
	Severity = source.Severity
)

// Severities.
const (
	Error   = source.Error
	Warning = source.Warning
	Note    = source.Note
)

// words are what is said of a file that cannot be read.
var words = source.Words{
	Content:   "definition",
	Empty:     "a definition starts with name: and nodes:",
	Documents: "put each definition into a file of its own",
}

// beyond returns the errors of more that are not likely consequences of earlier
// ones: those on other lines.
func beyond(earlier, more Problems) Problems {
	lines := map[int]bool{}
	for i := range earlier {
		lines[earlier[i].Line] = true
	}
	var rest Problems
	for i := range more {
		if more[i].Severity == Error && !lines[more[i].Line] {
			rest = append(rest, more[i])
		}
	}
	return rest
}
