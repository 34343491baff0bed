package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	// minLine is the shortest line of a value that is a secret by itself.
	minLine = 16
	// minPartial is the shortest form that is looked for where it is only a part of
	// what the value was encoded to.
	minPartial = 8
)

// forms returns what a value may look like, without repetitions.
func forms(value string) []string {
	texts := []string{value, strings.TrimSpace(value)}
	if lines := strings.FieldsFunc(value, func(r rune) bool { return r == '\n' || r == '\r' }); len(lines) > 1 {
		for _, l := range lines {
			if l = strings.TrimSpace(l); len(l) >= minLine {
				texts = append(texts, l)
			}
		}
	}
	var all []string
	for _, t := range slices.DeleteFunc(texts, func(t string) bool { return len(t) < MinValue }) {
		all = append(all, t)
		all = append(all, escaped(t)...)
		all = append(all, encoded(t)...)
	}
	all = slices.DeleteFunc(all, func(f string) bool { return len(f) < MinValue })
	slices.Sort(all)
	return slices.Compact(all)
}

// escaped returns a text as it stands inside other languages.
func escaped(t string) []string {
	query, path := url.QueryEscape(t), url.PathEscape(t)
	all := []string{query, path, lowerEscapes(query), lowerEscapes(path), html.EscapeString(t), inner(strconv.Quote(t)), inner(strconv.QuoteToASCII(t))}
	if plain, err := url.QueryUnescape(t); err == nil { // stood in an address as it is
		all = append(all, plain)
	}
	for _, escapeHTML := range []bool{true, false} {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(escapeHTML)
		if enc.Encode(t) == nil {
			js := inner(strings.TrimSuffix(b.String(), "\n"))
			all = append(all, js, strings.ReplaceAll(js, "/", `\/`), inner(strconv.Quote(js))) // also JSON in JSON
		}
	}
	return all
}

// inner takes the quotes off.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

// lowerEscapes writes %2F as %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], strings.ToLower(s[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}

// encoded returns a text in hexadecimal and in base64, the latter also at each offset
// modulo 3 that it may have in what was encoded: the characters that hold bits of
// nothing else.
func encoded(t string) []string {
	all := []string{}
	if h := hex.EncodeToString([]byte(t)); len(h) >= minPartial {
		all = append(all, h, strings.ToUpper(h))
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		all = append(all, enc.EncodeToString([]byte(t)))
		for offset := range 3 {
			s := enc.EncodeToString(append(make([]byte, offset), t...))
			from := (offset*8 + 5) / 6
			to := (offset + len(t)) * 8 / 6
			if whole := s[from:to]; len(whole) >= minPartial {
				all = append(all, whole)
			}
		}
	}
	return all
}
