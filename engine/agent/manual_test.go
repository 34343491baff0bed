package agent

import (
	"os"
	"regexp"
	"testing"
)

// The scripted answers of the manual are read without a complaint, and mean what
// the comments beside them say.
func TestManual(t *testing.T) {
	doc, err := os.ReadFile("../../docs/definitions.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```replies\n(.*?)```").FindAllSubmatch(doc, -1)
	if len(blocks) != 1 {
		t.Fatalf("found %d examples of scripted answers", len(blocks))
	}
	r, err := ParseReplies("definitions.md", blocks[0][1])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		node           string
		visit, attempt int
		fail, text     string
		score          any
	}{
		{"review", 1, 1, "", "", 0.4},
		{"review", 7, 1, "", "", 0.9},
		{"draft", 1, 1, "timeout", "", nil},
		{"draft", 1, 2, "", "A draft.", nil},
		{"each[2]", 1, 1, "not_found", "", nil},
		{"other", 1, 1, "", "Done.", nil},
	} {
		got, ok := r.For(c.node, c.visit, c.attempt)
		score := any(nil)
		if m, isMap := got.Result.(map[string]any); isMap {
			score = m["score"]
		}
		if !ok || got.Fail != c.fail || got.Text != c.text || score != c.score {
			t.Errorf("%s, visit %d, attempt %d: %+v", c.node, c.visit, c.attempt, got)
		}
	}
}
