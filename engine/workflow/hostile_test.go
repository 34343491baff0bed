package workflow

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// within fails the test if f needs more than 200 ms of its thread, three times; the
// race detector slows everything down and gets 5 s. What the machine does besides
// does not count.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	limit, tries := 200*time.Millisecond, 3
	if raceEnabled {
		limit, tries = 5*time.Second, 1
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var took time.Duration
	for range tries {
		start := threadTime(t)
		f()
		if took = threadTime(t) - start; took < limit {
			return
		}
	}
	t.Errorf("%s took %v", what, took)
}

// threadTime returns how long the calling thread has been at work.
func threadTime(t *testing.T) time.Duration {
	const thread = 1 // RUSAGE_THREAD of Linux
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		t.Skip("threads are not accounted for here:", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestHostileFiles(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i <= 'i'; i++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", i, i, strings.TrimSuffix(strings.Repeat("*"+string(i-1)+",", 9), ","))
	}
	keys := func(n int, form string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, form, i)
		}
		return b.String()
	}
	aliases := "x: &x {a: 1}\ny: [" + strings.Repeat("*x, ", 200) + "]\n"
	for _, c := range []struct{ name, text, code string }{
		{"alias bomb", bomb, CodeLimit}, {"many aliases", aliases, CodeLimit},
		{"40,000 keys", keys(40_000, "k%d: 1\n"), CodeLimit}, {"40,000 keys in JSON", "{" + strings.TrimSuffix(keys(40_000, `"k%d":1,`), ",") + "}", CodeLimit},
		{"21,000 values", "a:\n" + keys(21_000, "- %d\n"), CodeLimit}, {"21,000 values in JSON", `{"a":[` + strings.TrimSuffix(keys(21_000, "%d,"), ",") + "]}", CodeLimit},
		{"deep", strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), CodeLimit}, {"deep JSON", strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), CodeLimit},
		{"deep YAML", "a: " + strings.Repeat("{a: ", 70) + "1" + strings.Repeat("}", 70), CodeLimit},
		{"1 MB of [", strings.Repeat("[", 1<<20), ""}, {"1 MB of {", strings.Repeat("{", 1<<20), ""}, {"1 MB of -", strings.Repeat("- ", 1<<19), ""},
		{"1 MB of ?", strings.Repeat("? ", 1<<19), ""}, {"1 MB of &", "a: " + strings.Repeat("&a ", 1<<18), ""}, {"1 MB of text", strings.Repeat("a", 1<<20), CodeType},
		{"1 MB of blanks", strings.Repeat(" ", 1<<20), CodeSyntax}, {"1 MB of lines", strings.Repeat("\n", 1<<20), CodeSyntax}, {"1 MB of comments", strings.Repeat("#\n", 1<<19), CodeSyntax},
		{"1 MB of quotes", `{"a": "` + strings.Repeat(`\"`, 1<<19-10) + `"}`, CodeUnknownField}, {"too large", strings.Repeat("a", 1<<20+1), CodeLimit},
		{"not UTF-8", "name: \xff\xfe", CodeSyntax}, {"UTF-16", "\xff\xfen\x00a\x00", CodeSyntax}, {"NUL", "name: a\x00b", CodeSyntax}, {"NUL in JSON", `{"name": "a` + "\x00" + `"}`, CodeSyntax},
		{"escaped NUL", `{"name": "n", "nodes": {"a": {"agent": "x", "prompt": "a\u0000b"}}}`, CodeSyntax},
		{"merge keys", "a: &a {x: 1}\nb:\n  <<: *a\n", CodeSyntax}, {"binary", "name: !!binary aGVsbG8=", CodeSyntax}, {"custom tag", "name: !exec x", CodeSyntax},
		{"huge number", "name: x\nnodes: {a: {agent: x, max_tokens: 99999999999999999999}}", CodeSyntax}, {"1e999", "name: x\nmetadata: {a: 1e999}", CodeSyntax},
		{"infinite", "name: x\nmetadata: {a: .inf}", CodeSyntax}, {"huge JSON number", `{"a": 99999999999999999999}`, CodeSyntax},
		{"empty", "", CodeSyntax}, {"only a comment", "# hi", CodeSyntax}, {"a list", "[1]", CodeType}, {"a word", "hello", CodeType}, {"null", "null", CodeType},
		{"recursive alias", "a: &a [*a]", ""}, {"complex key", "? [a, b]\n: 1", CodeSyntax}, {"half a character", `{"a": "\ud83d"}`, CodeSyntax},
		{"number as key", "1: 2\n", CodeUnknownField}, {"trailing garbage", `{"name": "x"} }`, CodeSyntax},
		{"2,001 nodes", "name: x\nnodes:\n" + keys(2001, "  n%d: {wait: 1s}\n"), CodeLimit}, {"wide conditions", wideConditions(), ""},
	} {
		for how, read := range map[string]func(string, []byte) (*Definition, Problems){"Parse": Parse, "Import": Import} {
			if raceEnabled {
				break // Load below shows races as well; here it is about time
			}
			within(t, how+" of "+c.name, func() { read("hostile.yaml", []byte(c.text)) })
		}
		within(t, c.name, func() {
			w, problems := Load("hostile.yaml", []byte(c.text))
			switch {
			case c.code == "":
			case w != nil:
				t.Errorf("%s was loaded", c.name)
			case !has(problems, c.code):
				t.Errorf("%s: want %s, got %v", c.name, c.code, problems)
			}
		})
	}
}

func has(problems Problems, code string) bool {
	for i := range problems {
		if problems[i].Code == code {
			return true
		}
	}
	return false
}

// wideConditions is one decision with hundreds of conditions on several keys.
func wideConditions() string {
	var b strings.Builder
	b.WriteString("name: wide\nnodes:\n  d: {decision: {}}\n  e: {end: completed}\nedges:\n")
	for i := range 400 {
		fmt.Fprintf(&b, "  - {from: d, to: e, if: \"a == %d && b < %d || c == 'x%d'\"}\n", i, i, i)
	}
	return b.String()
}

func TestNumbersStayExact(t *testing.T) {
	for _, text := range []string{
		"name: n\nnodes: {a: {wait: 1s}}\nmetadata: {big: 9007199254740993, whole: 3.0, exp: 1e3, frac: 0.1, neg: -9223372036854775808, hex: 0x10, octal: 0o17, zero: 0017, yes: yes, date: 2026-01-01, under: 1_000}",
		`{"name": "n", "nodes": {"a": {"wait": "1s"}}, "metadata": {"big": 9007199254740993, "whole": 3.0, "exp": 1e3, "frac": 0.1, "neg": -9223372036854775808, "hex": 16, "octal": 15, "zero": 17, "yes": "yes", "date": "2026-01-01", "under": "1_000"}}`,
	} {
		d, problems := Parse("n", []byte(text))
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		want := map[string]any{"big": int64(9007199254740993), "whole": int64(3), "exp": int64(1000), "frac": 0.1, "neg": int64(-9223372036854775808), "hex": int64(16), "octal": int64(15), "zero": int64(17), "yes": "yes", "date": "2026-01-01", "under": "1_000"}
		for k, v := range want {
			if d.Metadata[k] != v {
				t.Errorf("%s: %#v, want %#v", k, d.Metadata[k], v)
			}
		}
	}
}

func seeds(f *testing.F) {
	for _, glob := range []string{"testdata/problems/*.yaml", "testdata/problems/*.json", "testdata/templates/*.json", "../../testdata/definitions/*"} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			f.Fatal(glob, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
}

func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		w, problems := Load("f.yaml", text)
		checkProblems(t, problems)
		if w == nil {
			if !problems.HasErrors() {
				t.Fatal("no workflow and no error")
			}
			return
		}
		settles(t, w.Def)
	})
}

func FuzzImport(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		d, problems := Import("f.json", text)
		checkProblems(t, problems)
		if problems.HasErrors() {
			return
		}
		settles(t, d)
		again, _ := Import("f.json", text)
		if again.Hash() != d.Hash() {
			t.Fatal("importing twice gives two hashes")
		}
	})
}

// settles checks that the canonical form says the same as the definition.
func settles(t *testing.T, d *Definition) {
	t.Helper()
	canonical, err := d.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	w, problems := Load("c.json", canonical)
	if w == nil {
		t.Fatalf("the canonical form does not load: %v\n%s", problems, canonical)
	}
	if w.Hash != d.Hash() {
		again, _ := w.Def.MarshalJSON()
		t.Fatalf("the canonical form changed:\n%s\n%s", canonical, again)
	}
}

func checkProblems(t *testing.T, problems Problems) {
	t.Helper()
	for _, p := range problems {
		if p.Code == "" || p.Message == "" || p.Severity == "" || p.Line < 0 || p.Line > 0 && (p.Column < 1 || p.Width < 1) {
			t.Fatalf("bad problem %+v", p)
		}
	}
	var b strings.Builder
	if err := problems.Render(&b, true); err != nil {
		t.Fatal(err)
	}
}
