package workflow

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a definition. What is over one is refused with its name and value.
const (
	MaxFile       = 1 << 20 // bytes of a file
	MaxValues     = 20_000  // values in a file, aliases counted as often as used
	MaxDepth      = 64      // lists and maps inside one another
	MaxKeys       = 2_000   // keys of one map
	MaxAliases    = 100     // uses of YAML anchors
	MaxNodes      = 2_000
	MaxEdges      = 10_000
	MaxID         = 128      // bytes of a node id or state key
	MaxName       = 256      // characters of a name
	MaxText       = 64 << 10 // bytes of a prompt, a message or a description
	MaxVisitLimit = 1_000_000
	MaxAttempts   = 1_000
)

type shape uint8

const (
	aScalar shape = iota
	aList
	aMap
)

// tree is a value of a file with its place: what YAML and JSON become before
// anything looks at their meaning.
type tree struct {
	shape  shape
	scalar any     // nil, bool, int64, float64, string
	keys   []*tree // of a map, as text
	items  []*tree
	mark   mark
}

// mark is a place in a file.
type mark struct {
	line, col int // from 1, in characters
	width     int
	style     byte // of text: 0 plain, ' or " quoted, | or > block
}

func (t *tree) get(key string) *tree {
	if t == nil {
		return nil
	}
	for i, k := range t.keys {
		if k.scalar == key {
			return t.items[i]
		}
	}
	return nil
}

func (t *tree) isNull() bool { return t.shape == aScalar && t.scalar == nil }

// kind names what t is, for messages.
func (t *tree) kind() string {
	switch t.shape {
	case aList:
		return "a list"
	case aMap:
		return "an object"
	}
	switch t.scalar.(type) {
	case nil:
		return "nothing"
	case bool:
		return "true or false"
	case string:
		return "text"
	}
	return "a number"
}

// plain is t as nil, bool, int64, float64, string, []any, map[string]any.
func (t *tree) plain() any {
	switch t.shape {
	case aList:
		l := make([]any, len(t.items))
		for i, x := range t.items {
			l[i] = x.plain()
		}
		return l
	case aMap:
		m := make(map[string]any, len(t.items))
		for i, x := range t.items {
			m[t.keys[i].scalar.(string)] = x.plain()
		}
		return m
	}
	return t.scalar
}

// number reads a number exactly: whole ones as int64, also if written 3.0 or
// 1e3, so that one value has one form.
func number(s string) (any, error) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	whole := !strings.ContainsAny(s, ".eE")
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case whole:
		return nil, fmt.Errorf("the number %s does not fit 64 bits", clip(s))
	case err != nil || math.IsInf(f, 0) || math.IsNaN(f):
		return nil, fmt.Errorf("the number %s is too large", clip(s))
	case f == math.Trunc(f) && math.Abs(f) <= 1<<53:
		return int64(f), nil
	}
	return f, nil
}

func clip(s string) string {
	if utf8.RuneCountInString(s) > 40 {
		return string([]rune(s)[:39]) + "…"
	}
	return s
}

// source is the text of a definition and where its values stand in it.
type source struct {
	file  string
	lines []string
	keys  map[string]mark // by path: the key, for entries of maps
	marks map[string]mark // by path: the value
}

func newSource(file, text string) *source {
	return &source{file: file, lines: strings.Split(text, "\n"), keys: map[string]mark{}, marks: map[string]mark{}}
}

// join is the path of an entry below path.
func join(path string, step any) string {
	switch s := step.(type) {
	case int:
		return fmt.Sprintf("%s[%d]", path, s)
	case string:
		plain := s != ""
		for _, r := range s {
			if r != '_' && r != '-' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') {
				plain = false
			}
		}
		switch {
		case !plain:
			return path + "[" + strconv.Quote(s) + "]"
		case path == "":
			return s
		}
		return path + "." + s
	}
	return path
}

// parent cuts the last step off a path.
func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

// bind records that t stands at path.
func (s *source) bind(path string, t *tree) {
	s.marks[path] = t.mark
	for i, x := range t.items {
		if t.shape == aMap {
			sub := join(path, t.keys[i].scalar.(string))
			s.keys[sub] = t.keys[i].mark
			s.bind(sub, x)
		} else {
			s.bind(join(path, i), x)
		}
	}
}

// put fills in the place of a problem.
func (s *source) put(p *Problem, m mark) {
	p.File = s.file
	if m.line <= 0 || m.line > len(s.lines) {
		return
	}
	p.Line, p.Column, p.Width = m.line, m.col, max(1, m.width)
	line := []rune(strings.TrimRight(s.lines[m.line-1], "\r"))
	for i, r := range line {
		if r < ' ' && r != '\t' || r == 0x7f {
			line[i] = '\uFFFD'
		}
	}
	p.Column = min(p.Column, len(line)+1)
	p.Width = max(1, min(p.Width, len(line)-p.Column+1))
	const window = 160
	if len(line) > window {
		from := max(0, min(p.Column-1-window/2, len(line)-window))
		line = line[from:min(len(line), from+window)]
		p.Shift = from
	}
	p.Source = string(line)
}

// mark of a path: its value, or its key if it has none or is an object, or that
// of what it stands in.
func (s *source) markOf(path string, key bool) mark {
	for {
		k, isEntry := s.keys[path]
		v, ok := s.marks[path]
		switch {
		case isEntry && (key || !ok):
			return k
		case ok:
			return v
		case path == "":
			return mark{}
		}
		path, key = parent(path), true
	}
}

// inside is the mark of a byte offset in the text at path, which is written in
// the file with quotes, escapes or as a block.
func (s *source) inside(path, text string, offset, width int) mark {
	m, ok := s.marks[path]
	if !ok || m.line <= 0 || m.line > len(s.lines) {
		return s.markOf(path, false)
	}
	if m.style == '|' || m.style == '>' {
		return s.insideBlock(m, offset, width)
	}
	line, col := m.line-1, m.col-1
	if m.style != 0 {
		col++
	}
	done := 0
	for done < offset {
		r := []rune(s.lines[line])
		if col >= len(r) { // folded: the break and the indent of the next line read as one blank
			if line+1 >= len(s.lines) {
				break
			}
			line++
			col = len([]rune(s.lines[line])) - len([]rune(strings.TrimLeft(s.lines[line], " \t")))
			done++
			continue
		}
		step, bytes := 1, utf8.RuneLen(r[col])
		if m.style == '\'' && r[col] == '\'' {
			step = 2
		}
		if m.style == '"' && r[col] == '\\' && col+1 < len(r) {
			step, bytes = 2, 1
			if n := map[rune]int{'u': 4, 'x': 2, 'U': 8}[r[col+1]]; n > 0 && col+2+n <= len(r) {
				code, _ := strconv.ParseUint(string(r[col+2:col+2+n]), 16, 32)
				step, bytes = 2+n, max(1, utf8.RuneLen(rune(code)))
			}
		}
		done += bytes
		col += step
	}
	return mark{line: line + 1, col: col + 1, width: width}
}

func (s *source) insideBlock(m mark, offset, width int) mark {
	indent := -1
	for i := m.line; i < len(s.lines); i++ {
		l := s.lines[i]
		if indent < 0 {
			if strings.TrimSpace(l) == "" {
				continue
			}
			indent = len(l) - len(strings.TrimLeft(l, " "))
		}
		body := l[min(indent, len(l)):]
		if offset <= len(body) {
			return mark{line: i + 1, col: indent + utf8.RuneCountInString(body[:offset]) + 1, width: width}
		}
		offset -= len(body) + 1
	}
	return m
}
