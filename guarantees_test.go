package wfd_test

import (
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every test that docs/guarantees.md names exists, and every promise, numbered in order,
// names one.
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
	numbers := regexp.MustCompile(`(?m)^\d+\. `)
	for i, n := range numbers.FindAllString(string(doc), -1) {
		if n != strconv.Itoa(i+1)+". " {
			t.Errorf("promise %d has the number %s", i+1, n)
		}
	}
	promises := numbers.Split(string(doc), -1)[1:]
	if len(promises) < 20 {
		t.Fatalf("found %d promises: is the document still a numbered list?", len(promises))
	}
	for i, p := range promises {
		p, _, _ = strings.Cut(p, "\n\n")
		tests := named.FindAllStringSubmatch(p, -1)
		if len(tests) == 0 {
			t.Errorf("promise %d names no test: %.60s", i+1, p)
		}
		for _, m := range tests {
			if !defined[m[1]] {
				t.Errorf("promise %d names %s, which does not exist", i+1, m[1])
			}
		}
	}
}
