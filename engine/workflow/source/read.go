// Package source reads YAML and JSON into trees of values that know their
// places, so that whoever gives them a meaning can say where it is wrong.
//
//	file, tree, problem := source.Read("review.yaml", text, words)
//
// A Tree is the same for both syntaxes: numbers, keys and what a scalar means
// follow the core schema of YAML 1.2, of which JSON is a part. A File keeps the
// lines; a caller that binds trees to paths (nodes.review.if) can later ask for
// the place of a path, and of a byte in a text that is written with escapes or
// over several lines. A Problem is one thing that is wrong, and Problems are
// rendered for people, or as one line each.
//
// Reading is bounded by the limits below in time and memory, whatever the text
// is. It knows nothing of what a file is for: that is in Words.
package source

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Limits of a file. What is over one is refused with its value.
const (
	MaxFile    = 1 << 20 // bytes of a file
	MaxValues  = 20_000  // values in a file, aliases counted as often as used
	MaxDepth   = 64      // lists and maps inside one another
	MaxKeys    = 2_000   // keys of one map
	MaxAliases = 100     // uses of YAML anchors
)

// Words are what messages say of a kind of file.
type Words struct {
	Content   string // what a file holds: "definition"
	Empty     string // hint for a file without any
	Documents string // hint for one with several YAML documents
	Syntax    bool   // faults of the syntax begin with its name, YAML or JSON
}

// Read parses a file written in YAML or JSON, told apart by the text, not by the
// file's name. The problem, nil if there is none, is why it cannot be read.
func Read(name string, text []byte, words Words) (*File, *Tree, *Problem) {
	if len(text) > MaxFile {
		return nil, nil, &Problem{Severity: Error, Code: CodeLimit, File: name, Message: fmt.Sprintf("the file has %d bytes, the limit is %d", len(text), MaxFile)}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	src := NewFile(name, string(text))
	src.words = words
	if !utf8.Valid(text) {
		line, col := 1, 1
		for i := 0; i < len(text); {
			r, w := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && w == 1 {
				break
			}
			if col++; r == '\n' {
				line, col = line+1, 1
			}
			i += w
		}
		return nil, nil, src.fault(CodeSyntax, Place{Line: line, Column: col}, "the file is not UTF-8", "save it as UTF-8")
	}
	trimmed := bytes.TrimLeft(text, " \t\r\n")
	if len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		t, problem := jsonTree(src, string(text))
		if problem == nil || strings.EqualFold(filepath.Ext(name), ".json") || problem.Code != CodeSyntax {
			return src, t, problem
		}
		if t, other := yamlTree(src, text); other == nil { // YAML's own braces
			return src, t, nil
		}
		return src, nil, problem
	}
	t, problem := yamlTree(src, text)
	return src, t, problem
}

// fault is an error of the text itself.
func (s *File) fault(code string, at Place, msg, hint string) *Problem {
	p := &Problem{Severity: Error, Code: code, Message: msg, Hint: hint}
	s.Locate(p, at)
	return p
}

// syntaxFault is one of YAML or JSON.
func (s *File) syntaxFault(syntax string, at Place, msg, hint string) *Problem {
	if s.words.Syntax {
		msg = syntax + ": " + msg
	}
	return s.fault(CodeSyntax, at, msg, hint)
}
