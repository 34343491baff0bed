package source

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Severity of a Problem.
type Severity string

// Severities. A file with an Error is not used.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// Problem is one thing wrong with a file, or worth knowing about it. Its JSON
// form is part of the API.
type Problem struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"` // a stable slug
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"` // what to do about it
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`   // from 1; 0: there is no text
	Column   int      `json:"column,omitempty"` // from 1, in characters
	Width    int      `json:"width,omitempty"`  // characters concerned, at least 1
	Source   string   `json:"source,omitempty"` // the line, possibly a stretch of it
	Shift    int      `json:"shift,omitempty"`  // characters of the line left out before Source
	Path     string   `json:"path,omitempty"`   // as nodes.review.set.score or edges[2].if
	Node     string   `json:"node,omitempty"`
}

// Problems are all problems of a file, in the order of its text. As an
// error it is one line per problem.
type Problems []Problem

// HasErrors reports whether one of p is an error.
func (p Problems) HasErrors() bool { return p.Count(Error) > 0 }

// Count returns how many of p have a severity.
func (p Problems) Count(s Severity) int {
	n := 0
	for i := range p {
		if p[i].Severity == s {
			n++
		}
	}
	return n
}

// Err returns p as an error if it has errors, else nil.
func (p Problems) Err() error {
	if p.HasErrors() {
		return p
	}
	return nil
}

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// String is the problem on one line, as compilers print it.
func (p *Problem) String() string {
	var b strings.Builder
	switch {
	case p.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", p.file(), p.Line, p.Column)
	case p.File != "":
		b.WriteString(p.File + ": ")
	}
	fmt.Fprintf(&b, "%s[%s]: %s", p.Severity, p.Code, p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

func (p *Problem) file() string {
	if p.File == "" {
		return "definition"
	}
	return p.File
}

// Sorted puts problems in the order of the text and drops repetitions.
func (p Problems) Sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(rank(a.Severity), rank(b.Severity)), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(p)
}

func rank(s Severity) int {
	switch s {
	case Error:
		return 0
	case Warning:
		return 1
	}
	return 2
}

// Render writes the problems with the lines they are about, a mark under what
// is meant and a hint, then a line that counts them. With color it uses ANSI
// colours.
func (p Problems) Render(w io.Writer, color bool) error {
	paint := func(code, s string) string {
		if !color || s == "" {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	var b strings.Builder
	for i := range p {
		x := &p[i]
		tint := map[Severity]string{Error: "1;31", Warning: "1;33", Note: "1;36"}[x.Severity]
		fmt.Fprintf(&b, "%s: %s\n", paint(tint, string(x.Severity)+"["+x.Code+"]"), paint("1", x.Message))
		hint := x.Hint
		gutter := "  "
		if x.Line > 0 {
			num := fmt.Sprint(x.Line)
			gutter = strings.Repeat(" ", len(num)+1)
			fmt.Fprintf(&b, "%s%s %s:%d:%d\n", gutter[1:], paint("1;34", "-->"), x.file(), x.Line, x.Column)
			bar := paint("1;34", "|")
			fmt.Fprintf(&b, "%s%s\n", gutter, bar)
			fmt.Fprintf(&b, "%s %s %s\n", paint("1;34", num), bar, strings.ReplaceAll(x.Source, "\t", " "))
			pad := strings.Repeat(" ", max(0, x.Column-1-x.Shift))
			under := strings.Repeat("^", max(1, x.Width))
			if len([]rune(hint)) <= 64 && !strings.Contains(hint, "\n") {
				under += " " + hint
				hint = ""
			}
			fmt.Fprintf(&b, "%s%s %s%s\n", gutter, bar, pad, paint(tint, strings.TrimRight(under, " ")))
		}
		if hint != "" {
			fmt.Fprintf(&b, "%s%s %s\n", gutter, paint("1;34", "="), "help: "+strings.ReplaceAll(hint, "\n", "\n"+gutter+"        "))
		}
		if x.Line == 0 && x.Path != "" {
			fmt.Fprintf(&b, "%s%s %s\n", gutter, paint("1;34", "="), "at "+x.Path)
		}
		b.WriteByte('\n')
	}
	if len(p) > 0 {
		b.WriteString(p.Summary() + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary counts: "2 errors, 1 warning".
func (p Problems) Summary() string {
	var parts []string
	for _, s := range []Severity{Error, Warning, Note} {
		switch n := p.Count(s); n {
		case 0:
		case 1:
			parts = append(parts, "1 "+string(s))
		default:
			parts = append(parts, fmt.Sprintf("%d %ss", n, s))
		}
	}
	if len(parts) == 0 {
		return "no problems"
	}
	return strings.Join(parts, ", ")
}
