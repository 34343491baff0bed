package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const planted = `s3cr&t/"pä+ss` + "\tw0rd<>"

func redactorOf(values ...string) *Redactor {
	known := map[string]string{}
	for i, v := range values {
		known[v] = fmt.Sprintf("S%d", i)
	}
	return newRedactor(known)
}

// A secret is found in every form that what echoes it is likely to use.
func TestForms(t *testing.T) {
	js := func(s string) string {
		b, _ := json.Marshal(s)
		return string(b)
	}
	std, raw := base64.StdEncoding, base64.RawURLEncoding
	for name, text := range map[string]string{
		"itself":            planted,
		"in a text":         "the key is " + planted + ", keep it",
		"JSON":              js(planted),
		"JSON in JSON":      js(js(planted)),
		"quoted by Go":      fmt.Sprintf("%q", planted),
		"quoted as ASCII":   fmt.Sprintf("%+q", planted),
		"query":             "https://h/?k=" + url.QueryEscape(planted),
		"path":              "https://h/" + url.PathEscape(planted),
		"query, lower case": strings.ToLower(url.QueryEscape(planted)),
		"HTML":              "<p>" + html.EscapeString(planted),
		"hexadecimal":       hex.EncodeToString([]byte(planted)),
		"HEXADECIMAL":       strings.ToUpper(hex.EncodeToString([]byte(planted))),
		"base64":            std.EncodeToString([]byte(planted)),
		"base64 for URLs":   raw.EncodeToString([]byte(planted)),
		"Basic":             std.EncodeToString([]byte("user:" + planted)),
		"Basic, another":    std.EncodeToString([]byte("me:" + planted + "!")),
		"Basic, a third":    raw.EncodeToString([]byte("root:" + planted + "???")),
		"twice":             planted + planted,
		"read as a query":   strings.ReplaceAll(planted, "+", " "),
	} {
		r := redactorOf(planted)
		got := r.Text(text)
		if got == text || !strings.Contains(got, "[secret S0]") {
			t.Errorf("%s: %q stays %q", name, text, got)
		}
		for _, form := range forms(planted) {
			if strings.Contains(got, form) {
				t.Errorf("%s: %q is left in %q", name, form, got)
			}
		}
	}
	pem := "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nAQEFAASCBKcwggSjAgEAAoIBAQ\n-----END KEY-----\n"
	if got := redactorOf(pem).Text("> AQEFAASCBKcwggSjAgEAAoIBAQ"); strings.Contains(got, "AQEF") {
		t.Errorf("a line of a key is left: %q", got)
	}
}

// Where one secret begins like another the longer counts, and what is no secret stays.
func TestLongestCounts(t *testing.T) {
	r := redactorOf("token", "token-of-more")
	for text, want := range map[string]string{
		"a token-of-more, a token, a toke": "a [secret S1], a [secret S0], a toke",
		"tokentoken-of-mor":                "[secret S0][secret S0]-of-mor",
		"":                                 "",
		"nothing here":                     "nothing here",
	} {
		if got := r.Text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	var none *Redactor
	if got := none.Text("token"); got != "token" || none.Value("token") != "token" || none.Longest() != 0 || none.Tail("token") != "token" || none.Head("token", 3) != "tok" {
		t.Error("no redactor changes texts")
	}
}

// Values are cleaned to any depth, keys and numbers included; what is clean is not
// copied, what is given is not changed.
func TestValues(t *testing.T) {
	r := redactorOf("hunter22", "1234567")
	clean := map[string]any{"n": int64(1), "f": 1.5, "list": []any{true, nil, "x"}}
	if got := r.Value(clean); reflect.ValueOf(got).Pointer() != reflect.ValueOf(clean).Pointer() {
		t.Error("a clean value is copied")
	}
	dirty := map[string]any{
		"a": []any{"hunter22", int64(5)}, "hunter22": "x", "pin": int64(1234567), "float": 1234567.25, "json": json.Number("1234567"),
		"deep": map[string]any{"er": []any{[]any{"is hunter22"}}}, "fine": "fine",
	}
	want := map[string]any{
		"a": []any{"[secret S0]", int64(5)}, "[secret S0]": "x", "pin": "[secret S1]", "float": "[secret S1].25", "json": "[secret S1]",
		"deep": map[string]any{"er": []any{[]any{"is [secret S0]"}}}, "fine": "fine",
	}
	if got := r.Value(dirty); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if _, kept := dirty["hunter22"]; !kept || dirty["pin"] != int64(1234567) || dirty["a"].([]any)[0] != "hunter22" {
		t.Errorf("the value that was given has changed: %v", dirty)
	}
}

// What is cut keeps no part of a secret that the cut went through.
func TestCuts(t *testing.T) {
	r := redactorOf("correct-horse-battery")
	long := strings.Repeat("x", 500) + "correct-horse-battery" + strings.Repeat("y", 500)
	for at := 490; at < 530; at++ {
		if got := r.Tail(long[at:]); strings.Contains(got, "tery") || strings.Contains(got, "corr") {
			t.Errorf("beginning cut at %d: %.60q", at, got)
		}
		if got := r.Head(long[:at+r.Longest()], at); strings.Contains(got, "corr") || strings.Contains(got, "tery") || len(got) > at {
			t.Errorf("end cut at %d: %q", at, got[max(0, len(got)-60):])
		}
	}
	if got := r.Head("short", 100); got != "short" {
		t.Errorf("what is not cut becomes %q", got)
	}
}

// A text in pieces is cleaned as if it were whole, wherever the pieces end, and
// nothing is shown before it is known to be no secret.
func TestStreamIsText(t *testing.T) {
	values := []string{"aabab", "ababbb", "abba", "bbaaba", "baaaaab"}
	r := redactorOf(values...)
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.StringOfN(rapid.RuneFrom([]rune("ab.")), 0, 6, -1)).Draw(t, "pieces")
		s, out := r.Stream(), ""
		for _, p := range pieces {
			out += s.Add(p)
			if len(s.held) >= r.Longest() {
				t.Fatalf("%d bytes are held", len(s.held))
			}
		}
		out += s.End()
		if want := r.Text(strings.Join(pieces, "")); out != want {
			t.Fatalf("%q: %q, want %q", pieces, out, want)
		}
	})
	s := redactorOf("hunter22").Stream()
	if got := s.Add("the key: hun"); got != "the key: " {
		t.Errorf("shows %q", got)
	}
	if got := s.Add("t") + s.End(); got != "hunt" {
		t.Errorf("then %q", got)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("hunter22", "xx hunter22 yy")
	f.Add(planted, base64.StdEncoding.EncodeToString([]byte("a:"+planted)))
	f.Add("    ", "0")
	f.Add("00000000", "000000000000000000000")
	f.Fuzz(func(t *testing.T, value, text string) {
		if !usable(value) || len(value) > 200 || strings.Contains("[secret S0]", value) {
			return
		}
		r := redactorOf(value)
		for _, in := range []string{text, text + value, value + text, strconv.Quote(value) + text} {
			s, out := r.Stream(), ""
			for i := range len(in) {
				out += s.Add(in[i : i+1])
			}
			if out += s.End(); out != r.Text(in) {
				t.Fatalf("%q in pieces gives %q, whole %q", in, out, r.Text(in))
			}
		}
	})
}

func BenchmarkText(b *testing.B) {
	known := map[string]string{}
	for i := range 200 {
		known[fmt.Sprintf("key-%d-%x", i, i*7919*104729)] = fmt.Sprint("K", i)
	}
	r := newRedactor(known)
	text := strings.Repeat("The quick brown fox jumps over the lazy dog, key by key. ", 1<<14)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		r.Text(text)
	}
}
