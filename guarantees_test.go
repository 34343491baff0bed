package wfd_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/guarantees.md names exists, and every promise names one.
func TestGuaranteesNameTheirTests(t *testing.T) {
	doc, err := os.ReadFile("docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err = fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(src, -1) {
			defined[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`")
	text, _, ok := strings.Cut(string(doc), "\n## Not promised\n")
	if !ok {
		t.Fatal("there is no section on what is not promised")
	}
	promises := strings.Split(text, "\n- **")[1:]
	if len(promises) < 20 {
		t.Fatalf("found %d promises: is the document still a list?", len(promises))
	}
	for _, p := range promises {
		p, _, _ = strings.Cut(p, "\n\n")
		tests := named.FindAllStringSubmatch(p, -1)
		if len(tests) == 0 {
			t.Errorf("a promise names no test: %.60s", p)
		}
		for _, m := range tests {
			if !defined[m[1]] {
				t.Errorf("%s does not exist, which a promise names: %.60s", m[1], p)
			}
		}
	}
}
