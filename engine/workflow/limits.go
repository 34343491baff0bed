package workflow

import "github.com/wfd-dev/wfd/engine/workflow/source"

// Limits of a definition. What is over one is refused with its name and value.
const (
	MaxFile       = source.MaxFile
	MaxValues     = source.MaxValues
	MaxDepth      = source.MaxDepth
	MaxKeys       = source.MaxKeys
	MaxAliases    = source.MaxAliases
	MaxNodes      = 2_000
	MaxEdges      = 10_000
	MaxID         = 128      // bytes of a node id or state key
	MaxName       = 256      // characters of a name
	MaxText       = 64 << 10 // bytes of a prompt, a message or a description
	MaxVisitLimit = 1_000_000
	MaxAttempts   = 1_000
)
