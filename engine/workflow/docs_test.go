package workflow

import (
	"os"
	"strings"
	"testing"
)

// The manual's examples are valid, and it leaves out no field, kind or limit.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/definitions.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(text)
	blocks := 0
	for rest := manual; ; {
		_, after, ok := strings.Cut(rest, "```yaml\n")
		if !ok {
			break
		}
		block, next, _ := strings.Cut(after, "```")
		rest = next
		blocks++
		if w, problems := Load("definitions.md", []byte(block)); w == nil || len(problems) > 0 {
			t.Errorf("%s\n%v", block, problems)
		}
	}
	if blocks < 3 {
		t.Errorf("%d examples", blocks)
	}
	tables := [][]field{topFields, keyFields, budgetFields, edgeFields, retryFields, commonFields}
	for _, k := range kinds {
		tables = append(tables, k.fields, []field{{name: string(k.kind)}})
	}
	for _, table := range tables {
		for _, f := range table {
			if !strings.Contains(manual, f.name) {
				t.Errorf("the manual does not mention %s", f.name)
			}
			for _, c := range f.choices {
				if !strings.Contains(manual, c) {
					t.Errorf("the manual does not mention %s: %s", f.name, c)
				}
			}
		}
	}
}
