// Package workflow is the definition language: text in, a graph ready to run
// out.
//
//	w, problems := workflow.Load("review.yaml", text)
//	problems.Render(os.Stderr, true)
//	if w == nil { … } // there are errors
//
// Load is Parse and Compile. Parse reads YAML or JSON into a Definition, the one
// model for all spellings, and keeps the place of every value. Compile compiles
// expressions, analyses the graph and checks all of it. Both report every
// problem they find, not the first, each with a stable code, the place in the
// text and, where there is one, a fix. Import does the same for templates of the
// original engine; Pattern and Compose build definitions.
//
// A Definition's MarshalJSON is its canonical form, which Parse reads back, and
// Hash its identity: two spellings of one meaning are equal, and so are the
// Workflows compiled from them. Workflows are immutable, safe for concurrent use
// and a pure function of the definition: nothing here reads a clock, a file or
// the environment.
//
// Text from outside is bounded before it is understood (see MaxFile and what
// follows it): bytes, values, depth, keys per map, aliases. Each limit is refused
// by name. Any file is answered in well under a second.
//
// The graph is what the engine's core asks: which nodes start with a run, which
// edges leave a node in which order, Blocks (may a node start yet) and
// ConvergeAfter (where does a failure go). The join rule behind them is
// docs/adr/0004; the language for users is docs/definitions.md.
//
// Files: tree.go, yaml.go and json.go turn text into values with places;
// parse*.go give them meaning by the tables in fields.go, of which schema_json.go
// also makes the JSON Schema; compile.go, settings.go, graph.go, check.go and conditions.go
// make and check the Workflow; import*.go, export.go, pattern.go and compose.go
// are ways in and out. Expressions are in expr.
//
// Known holes: places inside folded YAML text (>) are those of the line, not of
// the character. Overlapping conditions are found only where they compare keys
// with literals. Compose renames nodes in expressions by their text.
package workflow
