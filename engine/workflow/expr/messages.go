package expr

import (
	"fmt"
	"strings"
)

func byteOffset(text string, runes int) int {
	for i := range text {
		if runes == 0 {
			return i
		}
		runes--
	}
	return len(text)
}

func offsetOf(text string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			break
		}
		at += n + 1
	}
	return at + byteOffset(text[at:], max(column, 0))
}

// parseError puts CEL's syntax error into our words.
func parseError(text, msg string, line, column int) *Error {
	at := offsetOf(text, line, column)
	msg = strings.TrimPrefix(msg, "Syntax error: ")
	word := wordAt(text, at)
	switch {
	case strings.HasPrefix(msg, "reserved identifier: "):
		name := strings.TrimPrefix(msg, "reserved identifier: ")
		return syntax(text, at, len(name), "`"+name+"` is a word of the expression language", `a key of that name is state["`+name+`"]`)
	case strings.Contains(msg, "invalid argument to has() macro"):
		arg := strings.TrimLeft(text[at:], "( \t")
		return syntax(text, at, 1, "has() needs a path with a dot", "write has(state."+wordAt(arg, 0)+")")
	case strings.Contains(msg, "recursion limit"), strings.Contains(msg, "max recursion depth"):
		e := syntax(text, at, 1, fmt.Sprintf("the expression is nested more than %d levels deep", MaxNesting), "")
		e.Code = "expression-limit"
		return e
	case msg == "invalid int literal" || msg == "invalid uint literal":
		return syntax(text, at, 1, "this number does not fit 64 bits", "")
	case strings.Contains(msg, "<EOF>") && at >= len(text):
		return syntax(text, len(text), 1, "the expression ends too early", "")
	case strings.HasPrefix(msg, "mismatched input"), strings.HasPrefix(msg, "extraneous input"), strings.HasPrefix(msg, "no viable alternative"), strings.HasPrefix(msg, "token recognition error"):
		if word == "" && at < len(text) {
			word = text[at : at+1]
		}
		return syntax(text, at, len(word), "`"+word+"` was not expected here", "")
	}
	return syntax(text, at, len(word), strings.SplitN(msg, "\n", 2)[0], "")
}

// typeError puts CEL's type check into our words.
func typeError(text, msg string, line, column int) *Error {
	at := offsetOf(text, line, column)
	hint := ""
	if rest, ok := strings.CutPrefix(msg, "found no matching overload for "); ok {
		op, args, _ := strings.Cut(rest, " applied to ")
		op = strings.Trim(op, "'")
		args = strings.Trim(args, "'")
		name := strings.ReplaceAll(strings.Trim(op, "_"), "_", " ")
		msg = "`" + name + "` cannot be applied to " + typeWords.Replace(strings.Trim(args, "()"))
		if strings.ContainsAny(name, "<>") && strings.Contains(args, "string") {
			msg = "text has no order: `" + name + "` compares numbers and times"
			hint = "write numbers without quotes, compare times as timestamp(…)"
		}
	}
	return (&Error{Code: "expression-type", Message: msg, Hint: hint}).place(text, at, 1)
}

var typeWords = strings.NewReplacer("string", "text", "int", "a number", "double", "a number", "bool", "true or false", ", ", " and ", "dyn", "anything")
