package explain

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
)

const top = "../../../../"

// The table has the words in use, all of them and no others.
func TestEveryWordIsExplained(t *testing.T) {
	exits := constants(t, top+"cmd/wfd", token.INT, "exit")
	if len(exits) < 9 {
		t.Errorf("found %d exit codes: are they still constants called exit…?", len(exits))
	}
	for kind, used := range map[Kind][]string{
		Problem:    slices.Collect(maps.Keys(api.Types)),
		Failure:    constants(t, top+"projection/event", token.STRING, "Class"),
		Definition: append(constants(t, top+"engine/workflow", token.STRING, "Code"), constants(t, top+"engine/workflow/source", token.STRING, "Code")...),
		Exit:       exits,
	} {
		if len(used) == 0 {
			t.Errorf("found no words of kind %s", kind)
		}
		for _, word := range used {
			if _, ok := table[kind][word]; !ok {
				t.Errorf("nothing explains the %s %q", kind, word)
			}
		}
		for word, text := range table[kind] {
			if !slices.Contains(used, word) {
				t.Errorf("the %s %q is explained, and nothing says it", kind, word)
			}
			for _, s := range []string{text.cause, text.remedy} {
				if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "?") {
					t.Errorf("%s %q: %q is no sentence", kind, word, s)
				}
			}
		}
	}
}

// The API makes no problem of a type that is not listed.
func TestProblemsAreOfListedTypes(t *testing.T) {
	made := 0
	each(t, top+"cmd/wfd/internal/api", func(n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 3 {
			return
		}
		if f, ok := call.Fun.(*ast.Ident); !ok || f.Name != "problem" {
			return
		}
		if lit, ok := call.Args[0].(*ast.BasicLit); ok {
			made++
			if slug, _ := strconv.Unquote(lit.Value); api.Types[slug].Status == 0 {
				t.Errorf("a problem of the type %s is made, which is not listed", lit.Value)
			}
		}
	})
	if made < 20 {
		t.Errorf("found %d places where problems are made", made)
	}
}

// A definition's problems have codes that are constants.
func TestCodesAreConstants(t *testing.T) {
	for _, dir := range []string{"engine/workflow", "engine/workflow/source", "engine/price", "engine/agent", "engine/agent/roster", "engine/agent/mcp"} {
		each(t, top+dir, func(n ast.Node) {
			if kv, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Code" {
					if lit, ok := kv.Value.(*ast.BasicLit); ok {
						t.Errorf("%s: the code %s is no constant", dir, lit.Value)
					}
				}
			}
		})
	}
}

func TestFind(t *testing.T) {
	for word, want := range map[string]string{
		"urn:wfd:problem:disk-full": "problem disk-full",
		"DISK_FULL":                 "problem disk-full",
		"rate-limit":                "failure rate_limit",
		"error[unknown-node]:":      "definition unknown-node",
		"exit 4":                    "exit 4",
		"timeout":                   "problem timeout, failure timeout",
		"failure timeout":           "failure timeout",
		"nothing":                   "",
	} {
		var have []string
		for _, e := range Find(word) {
			have = append(have, string(e.Kind)+" "+e.Word)
		}
		if s := strings.Join(have, ", "); s != want {
			t.Errorf("%q: %q, want %q", word, s, want)
		}
	}
	if near := Near("unknwon-node"); !slices.Contains(near, "unknown-node") {
		t.Errorf("near unknwon-node: %q", near)
	}
}

// constants returns the values of the literal constants of a package whose names begin
// with prefix.
func constants(t *testing.T, dir string, kind token.Token, prefix string) (values []string) {
	each(t, dir, func(n ast.Node) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return
		}
		for i, name := range spec.Names {
			if i >= len(spec.Values) || !strings.HasPrefix(name.Name, prefix) {
				continue
			}
			if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == kind {
				v := lit.Value
				if kind == token.STRING {
					v, _ = strconv.Unquote(v)
				}
				values = append(values, v)
			}
		}
	})
	return values
}

// each calls f with every node of a package's files, tests left out.
func each(t *testing.T, dir string, f func(ast.Node)) {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if n != nil {
				f(n)
			}
			return true
		})
	}
}
