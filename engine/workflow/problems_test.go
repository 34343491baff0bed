package workflow

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares what was got with a file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%s", file, got)
	}
}

// Every file of testdata/problems is a mistake or a few; beside it stands what a
// user is told.
func TestProblemsAsRendered(t *testing.T) {
	seen := map[string]bool{}
	files, err := filepath.Glob("testdata/problems/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".golden") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var problems Problems
		var w *Workflow
		if strings.HasPrefix(filepath.Base(file), "import-") {
			_, problems = Import(filepath.Base(file), text)
		} else {
			w, problems = Load(filepath.Base(file), text)
		}
		var b bytes.Buffer
		if err := problems.Render(&b, false); err != nil {
			t.Fatal(err)
		}
		golden(t, file+".golden", b.Bytes())
		if len(problems) == 0 {
			t.Errorf("%s has no problem", file)
		}
		for _, p := range problems {
			seen[p.Code] = true
			if p.Line == 0 || p.Column == 0 || p.Width == 0 || p.File == "" {
				t.Errorf("%s: no place: %+v", file, p)
			}
			if line := []rune(p.Source); p.Column-1-p.Shift > len(line) {
				t.Errorf("%s: the mark is outside its line: %+v", file, p)
			}
		}
		if w != nil && problems.HasErrors() {
			t.Errorf("%s has errors and compiles", file)
		}
	}
	for _, code := range allCodes(t) {
		if !seen[code] {
			t.Errorf("no file shows the problem %s", code)
		}
	}
}

// allCodes reads the codes from their source, so that none goes untested.
func allCodes(t *testing.T) []string {
	var codes []string
	for _, file := range []string{"codes.go", "source/codes.go"} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(src)) {
			if _, rest, ok := strings.Cut(line, `= "`); ok {
				code, _, _ := strings.Cut(rest, `"`)
				codes = append(codes, code)
			}
		}
	}
	if len(codes) < 40 {
		t.Fatalf("%d codes", len(codes))
	}
	return codes
}

func TestProblemsAsErrorAndJSON(t *testing.T) {
	_, problems := Load("dir/x.yaml", []byte("name: x\nnods: {}\nnodes: {a: {wait: 1}}\n"))
	want := "dir/x.yaml:2:1: error[unknown-field]: a definition has no field \"nods\" (did you mean nodes?)\n" +
		"dir/x.yaml:3:19: error[duration]: for has no unit (write 1s for seconds)"
	if got := problems.Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	b, err := json.Marshal(problems[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"severity":"error","code":"unknown-field","message":"a definition has no field \"nods\"","hint":"did you mean nodes?","file":"dir/x.yaml","line":2,"column":1,"width":4,"source":"nods: {}","path":"nods"}`; string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	if s := problems.Summary(); s != "2 errors" {
		t.Errorf("summary %q", s)
	}
	var color bytes.Buffer
	if err := problems.Render(&color, true); err != nil || !strings.Contains(color.String(), "\x1b[1;31merror[unknown-field]\x1b[0m") {
		t.Errorf("%q %v", color.String(), err)
	}
}

func TestLongLinesAreShownInPart(t *testing.T) {
	line := `{"name": "x", "pad": "` + strings.Repeat("é", 500) + `", "nodes": {"a": {"wiat": "1s"}}, "z": "` + strings.Repeat("y", 500) + `"}`
	_, problems := Load("x.json", []byte(line))
	found := false
	for _, p := range problems {
		if p.Code != CodeKind {
			continue
		}
		found = true
		at := []rune(p.Source)[p.Column-1-p.Shift:]
		if len([]rune(p.Source)) > 200 || !strings.HasPrefix(string(at), `"wiat"`) {
			t.Errorf("%+v", p)
		}
	}
	if !found {
		t.Error(problems)
	}
}
