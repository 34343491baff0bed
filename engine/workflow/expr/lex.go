package expr

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokName
	tokNumber
	tokText
	tokOp
)

type token struct {
	kind     tokenKind
	text     string
	from, to int // bytes
}

// endsValue reports whether a value may end with t, so that an operator and no
// other value must follow.
func (t token) endsValue() bool {
	switch t.kind {
	case tokName:
		return t.text != "in"
	case tokNumber, tokText:
		return true
	case tokOp:
		return t.text == ")" || t.text == "]" || t.text == "}"
	}
	return false
}

func (t token) startsValue() bool {
	switch t.kind {
	case tokName:
		return t.text != "in"
	case tokNumber, tokText:
		return true
	}
	return false
}

var longOperators = []string{"===", "!==", "==", "!=", "<=", ">=", "&&", "||", "<>", "=>", "=<", "--"}

// lex cuts text into tokens. It knows as much of CEL as is needed to find the
// end of a text literal, and it stops with an error where CEL's own would be
// hard to read.
func lex(text string) ([]token, *Error) {
	var toks []token
	for i := 0; i < len(text); {
		c, w := utf8.DecodeRuneInString(text[i:])
		switch {
		case c == utf8.RuneError && w == 1:
			return nil, syntax(text, i, 1, "this is not UTF-8", "")
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			i += w
		case strings.HasPrefix(text[i:], "//"):
			if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(text)
			}
		case c == '"' || c == '\'':
			end, err := lexText(text, i, i, false)
			if err != nil {
				return nil, err
			}
			toks, i = append(toks, token{tokText, text[i:end], i, end}), end
		case c == '_' || unicode.IsLetter(c):
			end := i
			for end < len(text) {
				r, n := utf8.DecodeRuneInString(text[end:])
				if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
					break
				}
				if r > unicode.MaxASCII {
					return nil, syntax(text, end, n, "names in expressions are plain letters a-z, digits and _", `write state["`+wordAt(text, i)+`"] for a key with other letters`)
				}
				end += n
			}
			if end < len(text) && (text[end] == '"' || text[end] == '\'') && isPrefix(text[i:end]) {
				stop, err := lexText(text, i, end, strings.ContainsAny(text[i:end], "rR"))
				if err != nil {
					return nil, err
				}
				toks, i = append(toks, token{tokText, text[i:stop], i, stop}), stop
				break
			}
			toks, i = append(toks, token{tokName, text[i:end], i, end}), end
		case c >= '0' && c <= '9' || c == '.' && i+1 < len(text) && isDigit(text[i+1]) && (len(toks) == 0 || !toks[len(toks)-1].endsValue()):
			end := i
			for end < len(text) && (isDigit(text[end]) || isASCIILetter(text[end]) || text[end] == '.' && end+1 < len(text) && isDigit(text[end+1]) ||
				(text[end] == '+' || text[end] == '-') && (text[end-1] == 'e' || text[end-1] == 'E') && !strings.HasPrefix(text[i:], "0x")) {
				end++
			}
			toks, i = append(toks, token{tokNumber, text[i:end], i, end}), end
		default:
			op := text[i : i+w]
			for _, o := range longOperators {
				if strings.HasPrefix(text[i:], o) {
					op = o
					break
				}
			}
			toks, i = append(toks, token{tokOp, op, i, i + len(op)}), i+len(op)
		}
	}
	return append(toks, token{kind: tokEnd, from: len(text), to: len(text)}), nil
}

func wordAt(text string, i int) string {
	end := strings.IndexFunc(text[i:], func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if end < 0 {
		return text[i:]
	}
	return text[i : i+end]
}

func isPrefix(s string) bool {
	switch strings.ToLower(s) {
	case "r", "b", "rb", "br":
		return true
	}
	return false
}

func isDigit(c byte) bool       { return c >= '0' && c <= '9' }
func isASCIILetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// lexText returns the end of the text literal that starts at from, its quote at
// quote.
func lexText(text string, from, quote int, raw bool) (int, *Error) {
	mark := text[quote : quote+1]
	if triple := strings.Repeat(mark, 3); strings.HasPrefix(text[quote:], triple) {
		mark = triple
	}
	for i := quote + len(mark); i < len(text); i++ {
		switch {
		case text[i] == '\\' && !raw:
			i++
		case strings.HasPrefix(text[i:], mark):
			return i + len(mark), nil
		case text[i] == '\n' && len(mark) == 1:
			return 0, syntax(text, from, i-from, "this text has no closing "+mark+" on its line", `a line break inside is \n, which YAML's double quotes spell \\n`)
		}
	}
	return 0, syntax(text, from, len(text)-from, "this text has no closing "+mark, "")
}

func syntax(text string, offset, length int, msg, hint string) *Error {
	return (&Error{Code: "expression-syntax", Message: msg, Hint: hint}).place(text, offset, length)
}

var words = map[string]string{"and": "&&", "or": "||", "not": "!"}

// infix are the operators written between their operands by the original
// engine; CEL has them as methods.
var infix = map[string]bool{"contains": true, "startsWith": true, "endsWith": true, "matches": true}

// precheck finds the mistakes people make most, in words they understand.
func precheck(text string, toks []token) *Error {
	var open []token
	for i, t := range toks {
		var prev token
		if i > 0 {
			prev = toks[i-1]
		}
		word := words[strings.ToLower(t.text)]
		if t.kind != tokName || prev.text == "." {
			word = ""
		}
		switch {
		case word != "" && word != "!" && prev.endsValue():
			return syntax(text, t.from, len(t.text), "`"+t.text+"` is not an operator here", "write "+word)
		case word == "!" && !prev.endsValue() && i+1 < len(toks) && (toks[i+1].startsValue() || toks[i+1].text == "("):
			return syntax(text, t.from, len(t.text), "`"+t.text+"` is not an operator here", "write !")
		case prev.endsValue() && t.startsValue():
			if t.kind == tokName && infix[t.text] {
				return syntax(text, t.from, len(t.text), "`"+t.text+"` is a method, not an operator", "write "+prev.text+"."+t.text+"(…)")
			}
			return syntax(text, t.from, len(t.text), "an operator is missing between `"+clip(prev.text)+"` and `"+clip(t.text)+"`", "")
		}
		if t.kind == tokEnd {
			if prev.kind == tokOp && !prev.endsValue() {
				return syntax(text, prev.from, len(prev.text), "a value is missing after `"+prev.text+"`", "")
			}
			if i == 0 {
				return syntax(text, 0, 1, "the expression is empty", "")
			}
			break
		}
		if t.kind != tokOp {
			continue
		}
		fix := map[string]string{"=": "==", "===": "==", "!==": "!=", "<>": "!=", "&": "&&", "|": "||", "=>": ">=", "=<": "<="}[t.text]
		switch {
		case fix != "":
			return syntax(text, t.from, len(t.text), "`"+t.text+"` is not an operator", "write "+fix)
		case t.text == "(" || t.text == "[" || t.text == "{":
			open = append(open, t)
		case t.text == ")" || t.text == "]" || t.text == "}":
			if len(open) == 0 {
				return syntax(text, t.from, 1, "`"+t.text+"` closes nothing", "")
			}
			if o := open[len(open)-1]; closer[o.text] != t.text {
				return syntax(text, t.from, 1, "`"+t.text+"` cannot close the `"+o.text+"` before it", "")
			}
			open = open[:len(open)-1]
		case !strings.Contains("== != <= >= && || < > ! + - * / % ? : . , --", t.text):
			return syntax(text, t.from, len(t.text), "`"+t.text+"` has no meaning in an expression", "")
		}
	}
	if len(open) > 0 {
		o := open[len(open)-1]
		return syntax(text, o.from, 1, "this `"+o.text+"` is never closed", "")
	}
	return nil
}

var closer = map[string]string{"(": ")", "[": "]", "{": "}"}

func clip(s string) string {
	if r := []rune(s); len(r) > 24 {
		return string(r[:23]) + "…"
	}
	return s
}

// RewriteInfix turns the original engine's `key contains 'x'` into CEL's
// key.contains('x'), likewise startsWith. Other text is left alone.
func RewriteInfix(text string) string {
	toks, err := lex(text)
	if err != nil {
		return text
	}
	var b strings.Builder
	done := 0
	for i := 1; i+1 < len(toks); i++ {
		t := toks[i]
		if t.kind != tokName || !infix[t.text] || !toks[i-1].endsValue() || !toks[i+1].startsValue() {
			continue
		}
		last := i + 1
		for last+2 < len(toks) && toks[last].kind == tokName && toks[last+1].text == "." && toks[last+2].kind == tokName {
			last += 2
		}
		b.WriteString(text[done:toks[i-1].to])
		b.WriteString("." + t.text + "(" + text[toks[i+1].from:toks[last].to] + ")")
		done, i = toks[last].to, last
	}
	return b.String() + text[done:]
}
