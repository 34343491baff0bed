package source

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// File is the text of a file and where the values of paths stand in it.
type File struct {
	Name   string
	Keys   map[string]Place // by path: the key, for entries of maps
	Values map[string]Place // by path: the value

	lines []string
	words Words
}

// NewFile returns a file of which no path is bound yet.
func NewFile(name, text string) *File {
	return &File{Name: name, lines: strings.Split(text, "\n"), Keys: map[string]Place{}, Values: map[string]Place{}}
}

// Join is the path of an entry below path.
func Join(path string, step any) string {
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

// Parent cuts the last step off a path.
func Parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

// Bind records that t and what is in it stand at path.
func (s *File) Bind(path string, t *Tree) {
	s.Values[path] = t.Place
	for i, x := range t.Items {
		if t.Kind == Map {
			sub := Join(path, t.Keys[i].Value.(string))
			s.Keys[sub] = t.Keys[i].Place
			s.Bind(sub, x)
		} else {
			s.Bind(Join(path, i), x)
		}
	}
}

// Wrong returns an error that is where t begins.
func (s *File) Wrong(code string, t *Tree, msg, hint string) Problem {
	p := Problem{Severity: Error, Code: code, Message: msg, Hint: hint}
	s.Locate(&p, Place{Line: t.Place.Line, Column: t.Place.Column})
	return p
}

// Locate fills in the place of a problem.
func (s *File) Locate(p *Problem, m Place) {
	p.File = s.Name
	if m.Line <= 0 || m.Line > len(s.lines) {
		return
	}
	p.Line, p.Column, p.Width = m.Line, m.Column, max(1, m.Width)
	line := []rune(strings.TrimRight(s.lines[m.Line-1], "\r"))
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

// PlaceOf returns the place of a path: its value, or its key if it has none or is an object, or that
// of what it stands in.
func (s *File) PlaceOf(path string, key bool) Place {
	for {
		k, isEntry := s.Keys[path]
		v, ok := s.Values[path]
		switch {
		case isEntry && (key || !ok):
			return k
		case ok:
			return v
		case path == "":
			return Place{}
		}
		path, key = Parent(path), true
	}
}

// Inside is the place of a byte offset in the text at path, which is written in
// the file with quotes, escapes or as a block.
func (s *File) Inside(path, text string, offset, width int) Place {
	m, ok := s.Values[path]
	if !ok || m.Line <= 0 || m.Line > len(s.lines) {
		return s.PlaceOf(path, false)
	}
	if m.style == '|' || m.style == '>' {
		return s.insideBlock(m, offset, width)
	}
	line, col := m.Line-1, m.Column-1
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
	return Place{Line: line + 1, Column: col + 1, Width: width}
}

func (s *File) insideBlock(m Place, offset, width int) Place {
	indent := -1
	for i := m.Line; i < len(s.lines); i++ {
		l := s.lines[i]
		if indent < 0 {
			if strings.TrimSpace(l) == "" {
				continue
			}
			indent = len(l) - len(strings.TrimLeft(l, " "))
		}
		body := l[min(indent, len(l)):]
		if offset <= len(body) {
			return Place{Line: i + 1, Column: indent + utf8.RuneCountInString(body[:offset]) + 1, Width: width}
		}
		offset -= len(body) + 1
	}
	return m
}
