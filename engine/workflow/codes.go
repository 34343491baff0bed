package workflow

import "github.com/wfd-dev/wfd/engine/workflow/source"

// Codes of problems. They are stable: scripts and editors may rely on them.
const (
	CodeSyntax        = source.CodeSyntax       // the text is no YAML or JSON
	CodeLimit         = source.CodeLimit        // something is larger than its limit
	CodeDuplicateKey  = source.CodeDuplicateKey // a key or field is given twice
	CodeDuplicateID   = "duplicate-id"          // a node id is given twice
	CodeUnknownField  = "unknown-field"         // there is no such field
	CodeMissingField  = "missing-field"         // a field is needed
	CodeType          = "type"                  // a value has the wrong type
	CodeRange         = "range"                 // a number is too small or too large
	CodeChoice        = "choice"                // a word is none of those allowed
	CodeDuration      = "duration"              // no duration
	CodeSchema        = "schema"                // no JSON Schema
	CodeName          = "name"                  // no name
	CodeID            = "id"                    // no id
	CodeKind          = "kind"                  // a node does not say what it does
	CodeContradiction = "contradiction"         // fields exclude each other
	CodeNoEffect      = "no-effect"             // a field does nothing here
	CodeForeach       = "foreach"               // what a foreach cannot do
	CodeTemplate      = "template"              // a template of the original engine, to be imported
	CodeStateKey      = "state-key"             // no name for a state key
	CodeReservedKey   = "reserved-key"          // a state key called like a variable or a word of CEL
	CodeDefault       = "default-type"          // a default of another type than its key
	CodeReduce        = "reduce"                // a reducer that cannot work on its key
	CodeUnknownKey    = "undeclared-key"        // a state key nobody declares
	CodeUnknownInput  = "undeclared-input"      // a property of the input its schema does not have
	CodeUnknownNode   = "unknown-node"          // a node that is not there
	CodeCondition     = "condition"             // a condition or ${…} that cannot be compiled
	CodeSecret        = "secret"                // secrets where they could leak
	CodeTooEarly      = "too-early"             // reads the result of a node that cannot have run
	CodeDuplicateEdge = "duplicate-edge"        // the same edge twice
	CodeSelfEdge      = "self-edge"             // a node leads to itself without max_visits
	CodeAmbiguous     = "ambiguous-default"
	CodeNoEdges       = "no-edges"           // a decision or parallel leads nowhere
	CodeAfterEnd      = "after-end"          // an edge leaves an end
	CodeUnreachable   = "unreachable"        // no path leads to a node
	CodeIrreducible   = "irreducible-loop"   // a loop with two ways in
	CodeEndlessLoop   = "endless-loop"       // a loop without a way out
	CodeUnboundLoop   = "unbounded-loop"     // a loop bounded by the default alone
	CodeSpinningLoop  = "spinning-loop"      // a loop that goes on whatever happens
	CodeEntry         = "entry"              // no node to start with
	CodeWriters       = "parallel-writers"   // parallel nodes write one key without a reducer
	CodeOverlap       = "overlap"            // two conditions of a node can be met at once
	CodeGap           = "gap"                // no condition of a node is met
	CodeShadowed      = "never-taken"        // an edge behind one that is always taken
	CodeSingleInput   = "single-input"       // a converge that joins nothing
	CodeExclusive     = "exclusive-converge" // a converge of branches of which one is taken
	CodeKeyIsNode     = "key-is-node"        // a condition reads a key called like a node
	CodeImport        = "import"             // what importing changed
	CodeNextNodes     = "next-nodes"         // next_nodes says something else than edges
)
