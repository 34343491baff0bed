package expr

import (
	"sort"
	"strings"
)

// Limits of expressions.
const (
	MaxCondition = 1 << 10  // bytes of a condition
	MaxTemplate  = 16 << 10 // bytes of one ${…}
	MaxNesting   = 40       // levels of an expression
	MaxMacros    = 2        // comprehensions (all, exists, map, filter) inside one another
	CostLimit    = 100_000  // of one evaluation, in CEL's units
)

// Scope says which variables an expression may use.
type Scope struct {
	// Vars are the names that are variables. Any other bare name is a key of the
	// state.
	Vars []string
	// Item is a foreach's own name for `item`, "" if it has none.
	Item string
	// Refused are names that are variables elsewhere but not here, with the
	// sentence that says why.
	Refused map[string]string
}

func (s *Scope) has(name string) bool {
	for _, v := range s.Vars {
		if v == name {
			return true
		}
	}
	return s.Item != "" && s.Item == name
}

// Variables are the names that are a variable somewhere. No key of the state
// may be called so.
var Variables = []string{"input", "state", "result", "nodes", "run", "item", "env", "secrets"}

// TriggerVariables are variables of what starts runs, and of nothing in a definition: a
// key of the state may be called so.
var TriggerVariables = []string{"schedule", "webhook"}

// ToolVariables are variables of the tools that agents' files make, likewise.
var ToolVariables = []string{"arguments"}

// reserved are the words CEL keeps for itself; types are names that stand for a
// type after it.
var (
	reserved = []string{
		"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
		"namespace", "null", "package", "return", "true", "var", "void", "while",
	}
	typeNames = []string{"bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "uint"}
)

// ReservedKey reports whether a key of the state may not be called name, and
// what name is instead.
func ReservedKey(name string) (why string, ok bool) {
	for _, v := range Variables {
		if v == name {
			return "is a variable of expressions", true
		}
	}
	for _, v := range reserved {
		if v == name {
			return "is a word of the expression language", true
		}
	}
	for _, v := range typeNames {
		if v == name {
			return "is a type of the expression language", true
		}
	}
	return "", false
}

// Error is one mistake in an expression.
type Error struct {
	Code    string // "expression-syntax", "-function", "-variable", "-type", "-limit"
	Message string
	Hint    string
	Path    []any  // in a template: the keys and indexes that lead to the string
	Text    string // the string that holds the mistake
	Offset  int    // byte offset of the mistake in Text
	Length  int    // bytes it covers, at least 1
	Line    int    // in Text, from 1
	Column  int    // in characters, from 1
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

// Errors are all mistakes of a condition or template. It is what
// CompileCondition and CompileTemplate return as error.
type Errors []*Error

func (e Errors) Error() string {
	s := make([]string, len(e))
	for i, x := range e {
		s[i] = x.Error()
	}
	return strings.Join(s, "; ")
}

// place fills in line and column of e, found at an offset of text.
func (e *Error) place(text string, offset, length int) *Error {
	offset = min(max(offset, 0), len(text))
	e.Text, e.Offset, e.Length = text, offset, max(length, 1)
	before := text[:offset]
	e.Line = 1 + strings.Count(before, "\n")
	e.Column = 1 + len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))
	return e
}

// Closest returns the member of names nearest to name by edit distance, "" if
// none is near enough to be what was meant.
func Closest(name string, names []string) string {
	best, at := "", min(max(len([]rune(name))/3, 1), 3)+1
	if len([]rune(name)) < 2 {
		at = 1
	}
	low := strings.ToLower(name)
	fold := strings.NewReplacer("_", "", "-", "", " ", "")
	sorted := append([]string(nil), names...)
	sort.Strings(sorted)
	for _, n := range sorted {
		if n == name {
			continue
		}
		l := strings.ToLower(n)
		if fold.Replace(l) == fold.Replace(low) {
			return n
		}
		if d := distance(low, l, at); d < at {
			best, at = n, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b; above limit it may be any number above limit.
func distance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) > limit || len(y)-len(x) > limit {
		return limit + 1
	}
	prev2, prev, cur := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		cur[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(y)]
}
