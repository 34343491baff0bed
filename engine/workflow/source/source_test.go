package source_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/workflow/source"
)

var words = source.Words{Content: "list", Empty: "write some", Documents: "write one"}

func read(t *testing.T, name, text string) (*source.File, *source.Tree) {
	t.Helper()
	f, tree, problem := source.Read(name, []byte(text), words)
	if problem != nil {
		t.Fatal(problem)
	}
	return f, tree
}

// One value has one form, whatever it is written in.
func TestSameInBothSyntaxes(t *testing.T) {
	want := map[string]any{
		"whole": int64(3), "exact": int64(9007199254740993), "part": 2.5, "yes": "yes", "on": true, "none": nil,
		"list": []any{"a", int64(1), map[string]any{}}, "text": "é😀\n\"",
	}
	for _, text := range []string{
		"whole: 3.0\nexact: 9007199254740993\npart: 25e-1\nyes: yes\non: True\nnone: ~\nlist: [a, 0x1, {}]\ntext: \"é\\U0001F600\\n\\\"\"\n",
		`{"whole": 3e0, "exact": 9007199254740993, "part": 2.50, "yes": "yes", "on": true, "none": null, "list": ["a", 1, {}], "text": "\u00e9\ud83d\ude00\n\""}`,
	} {
		if _, tree := read(t, "f", text); !reflect.DeepEqual(tree.Plain(), want) {
			t.Errorf("%s: %#v", text, tree.Plain())
		}
	}
}

// A path, and a byte in a text, is found where it is written.
func TestPlaces(t *testing.T) {
	text := "a:\n  b.c: ['x', \"\\u00e9\\tend\"]\n  block: |\n    one\n    two\n"
	f, tree := read(t, "f.yaml", text)
	f.Bind("a", tree.Get("a"))
	in := source.Join("a", "b.c")
	if in != `a["b.c"]` || source.Join(in, 1) != `a["b.c"][1]` || source.Parent("a.b[1]") != "a.b" {
		t.Errorf("paths: %s", in)
	}
	for _, c := range []struct {
		what         string
		got          source.Place
		line, column int
	}{
		{"a key", f.PlaceOf(in, true), 2, 3},
		{"a value", f.PlaceOf(source.Join(in, 0), false), 2, 9},
		{"what is not there", f.PlaceOf("a.block.deeper", false), 3, 3},
		{"behind escapes", f.Inside(source.Join(in, 1), "é\tend", len("é\t"), 3), 2, 23},
		{"in a block", f.Inside("a.block", "one\ntwo\n", len("one\nt"), 1), 5, 6},
	} {
		if c.got.Line != c.line || c.got.Column != c.column {
			t.Errorf("%s is at %d:%d, not %d:%d", c.what, c.got.Line, c.got.Column, c.line, c.column)
		}
	}
}

// What cannot be read says so in the words of the caller, with its place.
func TestRefused(t *testing.T) {
	named := words
	named.Syntax = true
	for _, c := range []struct {
		name, text string
		words      source.Words
		want       string
	}{
		{"f", "", words, "f:1:1: error[syntax]: the file is empty (write some)"},
		{"f", "a: 1\n---\nb: 2\n", words, "f:2:1: error[syntax]: the file holds more than one document (write one)"},
		{"f", `{"a": 1} b`, named, "f:1:10: error[syntax]: something follows the end of the list"},
		{"f", `{"a" 1}`, named, "f:1:6: error[syntax]: JSON: a `:` is missing after the key"},
		{"f", `{"a" 1}`, words, "f:1:6: error[syntax]: a `:` is missing after the key"},
		{"f", "a: b: c", named, "f:1:5: error[syntax]: YAML: a second `:` makes no sense here (put the value in quotes, or check the indentation)"},
		{"f", "a: 1\na: 2\n", named, `f:2:1: error[duplicate-key]: the key "a" is there twice (the first is at line 1)`},
		{"f", "- \xff", words, "f:1:3: error[syntax]: the file is not UTF-8 (save it as UTF-8)"},
		{"f", strings.Repeat("[", 70) + strings.Repeat("]", 70), words, "f:1:66: error[limit]: lists and objects are nested deeper than the limit of 64"},
	} {
		_, tree, problem := source.Read(c.name, []byte(c.text), c.words)
		if problem == nil || tree != nil || problem.String() != c.want {
			t.Errorf("%.20q: %v\nnot %s", c.text, problem, c.want)
		}
	}
}

// Whatever a text is, it becomes a tree within the limits or a problem with a
// place in it.
func FuzzRead(f *testing.F) {
	f.Add("a: &x [1, *x, 'b']\nc: |\n  d\n")
	f.Add(`{"a": ["\ud83d\ude00", -1.5e3, null]}`)
	f.Add("a: b: c\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, tree, problem := source.Read("f", []byte(text), words)
		if (tree == nil) == (problem == nil) {
			t.Fatalf("%v and %v", tree, problem)
		}
		if problem != nil {
			if problem.Line > strings.Count(text, "\n")+1 {
				t.Fatalf("%v", problem)
			}
			return
		}
		file.Bind("", tree)
		tree.Plain()
	})
}
