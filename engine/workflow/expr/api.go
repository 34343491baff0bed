package expr

// Vars gives expressions their variables by name: "input", "state", "result",
// "nodes", "run", "item" (and a foreach's own name for it), "env", "secrets".
// A value is nil, bool, int64, float64, string, []any, map[string]any, or an
// Object. ok is false for a name that has no value here.
type Vars interface {
	Var(name string) (value any, ok bool)
}

// Object is a map that is read key by key, so that a condition on one key of a
// large state does not decode the rest.
type Object interface {
	Get(key string) (value any, ok bool)
	Keys() []string // sorted
}

// Read is one value an expression looked at.
type Read struct {
	Name    string // as "state.score"
	Value   any    // plain (no Object); nil if missing
	Missing bool
}

// Outcome is what became of a condition.
type Outcome struct {
	Met   bool
	Reads []Read // in order of first appearance in the text
	Err   string // why it could not be evaluated, "" if it could; Met is then false
}
