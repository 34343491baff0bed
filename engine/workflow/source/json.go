package source

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonTree parses JSON, keeping order and places, which encoding/json does not.
func jsonTree(src *File, text string) (*Tree, *Problem) {
	p := &jsonReader{src: src, text: text, line: 1, col: 1}
	p.blank()
	t := p.value(0)
	if p.bad == nil {
		p.blank()
		if p.at < len(p.text) {
			p.bad = src.fault(CodeSyntax, p.here(), "something follows the end of the "+src.words.Content, "")
		}
	}
	if p.bad != nil {
		return nil, p.bad
	}
	return t, nil
}

type jsonReader struct {
	src       *File
	text      string
	at        int
	line, col int
	values    int
	bad       *Problem
}

func (p *jsonReader) here() Place { return Place{Line: p.line, Column: p.col, Width: 1} }

func (p *jsonReader) fail(code, msg, hint string) { p.failAt(code, p.here(), msg, hint) }

func (p *jsonReader) failAt(code string, m Place, msg, hint string) {
	if p.bad == nil {
		if code == CodeSyntax {
			p.bad = p.src.syntaxFault("JSON", m, msg, hint)
		} else {
			p.bad = p.src.fault(code, m, msg, hint)
		}
		p.at = len(p.text)
	}
}

// skip moves over n bytes.
func (p *jsonReader) skip(n int) {
	for n > 0 && p.at < len(p.text) {
		w := 1
		if c := p.text[p.at]; c == '\n' {
			p.line, p.col = p.line+1, 1
		} else {
			if c >= utf8.RuneSelf {
				_, w = utf8.DecodeRuneInString(p.text[p.at:])
			}
			p.col++
		}
		p.at += w
		n -= w
	}
}

func (p *jsonReader) blank() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.skip(1)
	}
	if strings.HasPrefix(p.text[p.at:], "//") || strings.HasPrefix(p.text[p.at:], "/*") {
		p.fail(CodeSyntax, "JSON has no comments", "write the "+p.src.words.Content+" as YAML to have comments")
	}
}

func (p *jsonReader) next() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *jsonReader) value(depth int) *Tree {
	t := &Tree{Place: p.here()}
	if p.bad != nil {
		return t
	}
	p.values++
	switch {
	case p.values > MaxValues:
		p.fail(CodeLimit, fmt.Sprintf("the file holds more than %d values", MaxValues), "")
		return t
	case depth > MaxDepth:
		p.fail(CodeLimit, fmt.Sprintf("lists and objects are nested deeper than the limit of %d", MaxDepth), "")
		return t
	}
	switch c := p.next(); {
	case c == '{':
		p.object(t, depth)
	case c == '[':
		p.list(t, depth)
	case c == '"':
		t.Value, t.Place = p.string()
	case c == '-' || c >= '0' && c <= '9':
		p.number(t)
	default:
		word := p.word()
		t.Place.Width = max(1, len(word))
		switch word {
		case "true", "false":
			t.Value = word == "true"
		case "null":
		case "":
			msg, hint := "a value is missing", ""
			if p.at < len(p.text) {
				msg = fmt.Sprintf("%q cannot start a value", []rune(p.text[p.at:min(len(p.text), p.at+4)])[0])
				if c == '\'' {
					hint = `JSON quotes text with "`
				}
			}
			p.fail(CodeSyntax, msg, hint)
			return t
		default:
			hint := `text needs quotes: "` + word + `"`
			if l := strings.ToLower(word); l == "true" || l == "false" || l == "null" {
				hint = "write " + l
			} else if l == "none" || l == "nil" || l == "undefined" {
				hint = "write null"
			}
			p.failAt(CodeSyntax, t.Place, "`"+Clip(word)+"` is no JSON value", hint)
			return t
		}
		p.skip(len(word))
	}
	return t
}

func (p *jsonReader) word() string {
	end := p.at
	for end < len(p.text) && (p.text[end] == '_' || p.text[end]|0x20 >= 'a' && p.text[end]|0x20 <= 'z' || p.text[end] >= '0' && p.text[end] <= '9') {
		end++
	}
	return p.text[p.at:end]
}

func (p *jsonReader) object(t *Tree, depth int) {
	t.Kind = Map
	open := p.here()
	p.skip(1)
	seen := map[string]int{}
	for first := true; ; first = false {
		p.blank()
		switch c := p.next(); {
		case p.bad != nil:
			return
		case c == '}' && first:
			p.skip(1)
			return
		case c == '}':
			p.fail(CodeSyntax, "a comma stands before this `}`", "remove the comma")
			return
		case p.at >= len(p.text):
			p.failAt(CodeSyntax, open, "this `{` is never closed", "")
			return
		case c != '"':
			hint := `keys are in quotes: "` + p.word() + `"`
			if p.word() == "" {
				hint = ""
			}
			p.fail(CodeSyntax, "a key was expected", hint)
			return
		}
		key, m := p.string()
		if p.bad != nil {
			return
		}
		if line, ok := seen[key]; ok {
			p.failAt(CodeDuplicateKey, m, fmt.Sprintf("the key %q is there twice", Clip(key)), fmt.Sprintf("the first is at line %d", line))
			return
		}
		if seen[key] = m.Line; len(seen) > MaxKeys {
			p.failAt(CodeLimit, open, fmt.Sprintf("an object has more than %d keys", MaxKeys), "")
			return
		}
		p.values++
		p.blank()
		if p.next() != ':' {
			p.fail(CodeSyntax, "a `:` is missing after the key", "")
			return
		}
		p.skip(1)
		p.blank()
		t.Keys = append(t.Keys, &Tree{Value: key, Place: m})
		t.Items = append(t.Items, p.value(depth+1))
		if p.bad != nil || p.end('}', open) {
			return
		}
	}
}

func (p *jsonReader) list(t *Tree, depth int) {
	t.Kind = List
	open := p.here()
	p.skip(1)
	for first := true; ; first = false {
		p.blank()
		switch {
		case p.bad != nil:
			return
		case p.next() == ']' && first:
			p.skip(1)
			return
		case p.next() == ']':
			p.fail(CodeSyntax, "a comma stands before this `]`", "remove the comma")
			return
		case p.at >= len(p.text):
			p.failAt(CodeSyntax, open, "this `[` is never closed", "")
			return
		}
		t.Items = append(t.Items, p.value(depth+1))
		if p.bad != nil || p.end(']', open) {
			return
		}
	}
}

// end moves over what follows an entry; it reports whether that was the last.
func (p *jsonReader) end(closer byte, open Place) bool {
	p.blank()
	switch c := p.next(); {
	case p.bad != nil:
		return true
	case c == ',':
		p.skip(1)
		return false
	case c == closer:
		p.skip(1)
		return true
	case p.at >= len(p.text):
		p.failAt(CodeSyntax, open, fmt.Sprintf("this `%c` is never closed", map[byte]byte{'}': '{', ']': '['}[closer]), "")
	default:
		p.fail(CodeSyntax, fmt.Sprintf("a comma or `%c` was expected", closer), "")
	}
	return true
}

func (p *jsonReader) number(t *Tree) {
	end := p.at
	for end < len(p.text) && strings.IndexByte("+-0123456789.eE", p.text[end]) >= 0 {
		end++
	}
	s := p.text[p.at:end]
	digits := strings.TrimPrefix(s, "-")
	t.Place.Width = len(s)
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		p.failAt(CodeSyntax, t.Place, "a number cannot start with 0", "")
		return
	}
	v, err := Number(s)
	if err != nil || strings.HasPrefix(digits, ".") || strings.HasSuffix(digits, ".") || strings.Contains(digits, ".e") {
		msg := "`" + Clip(s) + "` is no number"
		if err != nil && digits != "" && digits[0] >= '0' && digits[0] <= '9' {
			msg = err.Error()
		}
		p.failAt(CodeSyntax, t.Place, msg, "put it in quotes if it is text")
		return
	}
	t.Value = v
	p.skip(len(s))
}

func (p *jsonReader) string() (string, Place) {
	m := p.here()
	m.style = '"'
	startCol := p.col
	p.skip(1)
	var b strings.Builder
	for {
		if p.at >= len(p.text) || p.text[p.at] == '\n' {
			p.failAt(CodeSyntax, m, "this text is never closed", `a " is missing`)
			return "", m
		}
		c := p.text[p.at]
		switch {
		case c == '"':
			p.skip(1)
			m.Width = p.col - startCol
			return b.String(), m
		case c < ' ':
			p.fail(CodeSyntax, "a control character is not allowed in text", `write it as \t, \n or \u00XX`)
			return "", m
		case c != '\\':
			end := p.at
			for end < len(p.text) && p.text[end] != '"' && p.text[end] != '\\' && p.text[end] >= ' ' {
				end++
			}
			b.WriteString(p.text[p.at:end])
			p.skip(end - p.at)
			continue
		}
		if p.at+1 >= len(p.text) {
			p.skip(1)
			continue
		}
		if i := strings.IndexByte(`"\/bfnrt`, p.text[p.at+1]); i >= 0 {
			b.WriteByte("\"\\/\b\f\n\r\t"[i])
			p.skip(2)
			continue
		}
		r, ok := p.escaped(p.at)
		if !ok {
			p.fail(CodeSyntax, `this \ starts no escape JSON knows`, `write \\ for a backslash`)
			return "", m
		}
		p.skip(6)
		if utf16.IsSurrogate(r) {
			low, ok := p.escaped(p.at)
			if full := utf16.DecodeRune(r, low); ok && full != utf8.RuneError {
				r = full
				p.skip(6)
			} else {
				p.fail(CodeSyntax, "half a character: this escape needs its second half", "")
				return "", m
			}
		}
		b.WriteRune(r)
	}
}

// escaped reads \uXXXX at an offset.
func (p *jsonReader) escaped(at int) (rune, bool) {
	if at+6 > len(p.text) || p.text[at] != '\\' || p.text[at+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(p.text[at+2:at+6], 16, 32)
	return rune(n), err == nil
}
