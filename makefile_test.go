package wfd_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// variable returns what a variable of the Makefile is set to.
func variable(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` *= *(.+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("the Makefile has no %s", name)
	}
	return strings.ReplaceAll(string(m[1]), "$$", "$")
}

// sources parses the Go files of a directory.
func sources(t *testing.T, dir string) (all []*ast.File) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no sources in %s: %v", dir, err)
	}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

// A test of the log that is skipped under the race detector is one of those that make race
// runs without it: else it is never run.
func TestUnracedTestsAreRun(t *testing.T) {
	run := regexp.MustCompile(variable(t, "LOGFAULTS") + "|" + variable(t, "LOGALONE"))
	found := 0
	for _, f := range sources(t, "eventlog") {
		for _, d := range f.Decls {
			test, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(test.Name.Name, "Test") {
				continue
			}
			ast.Inspect(test, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if f, ok := call.Fun.(*ast.Ident); ok && (f.Name == "processes" || f.Name == "unraced") {
						found++
						if !run.MatchString(test.Name.Name) {
							t.Errorf("%s is skipped under the race detector, and make race runs it nowhere else", test.Name.Name)
						}
					}
				}
				return true
			})
		}
	}
	if found < 10 {
		t.Errorf("%d tests are skipped under the race detector: are they still marked so?", found)
	}
}

// Packages that are tested without the race detector start no goroutine.
func TestPurePackagesStartNoGoroutine(t *testing.T) {
	for _, dir := range strings.Fields(variable(t, "PURE")) {
		for _, f := range sources(t, dir) {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s has a go statement", dir)
				case *ast.CallExpr:
					if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Go" {
						t.Errorf("%s starts a goroutine", dir)
					}
				}
				return true
			})
		}
	}
}
