package source

// Codes of what Read finds. They are stable.
const (
	CodeSyntax       = "syntax"        // the text is no YAML or JSON
	CodeLimit        = "limit"         // something is larger than its limit
	CodeDuplicateKey = "duplicate-key" // a key or field is given twice
)
