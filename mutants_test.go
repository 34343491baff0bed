package wfd_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	plant  = flag.Bool("mutants", false, "plant every bug of testdata/mutants.txt, and see that its tests find it")
	mutant = flag.String("mutant", "", "plant the bugs whose name this matches, and no others")
)

// minMutants is how many bugs there are to be at the least.
const minMutants = 30

// bug is a change of one file that tests must notice.
type bug struct {
	name, what, file string
	pkg, tests       string
	old, new         string
}

// bugs reads testdata/mutants.txt.
func bugs(t *testing.T) (all []*bug) {
	text, err := os.ReadFile("testdata/mutants.txt")
	if err != nil {
		t.Fatal(err)
	}
	var to *string
	for n, l := range strings.Split(string(text), "\n") {
		at := fmt.Sprintf("testdata/mutants.txt:%d", n+1)
		if name, ok := strings.CutPrefix(l, "== "); ok {
			all, to = append(all, &bug{name: name}), nil
			continue
		}
		if len(all) == 0 {
			continue // the introduction
		}
		b := all[len(all)-1]
		switch key, value, _ := strings.Cut(l, ": "); {
		case l == "-- old":
			to = &b.old
		case l == "-- new":
			to = &b.new
		case to != nil:
			*to += l + "\n"
		case key == "what":
			b.what = value
		case key == "file":
			b.file = value
		case key == "tests":
			b.pkg, b.tests, _ = strings.Cut(value, " ")
		case l != "":
			t.Fatalf("%s: %q is neither a key nor text", at, l)
		}
	}
	for _, b := range all {
		b.old, b.new = strings.TrimRight(b.old, "\n"), strings.TrimRight(b.new, "\n")
	}
	return all
}

// planted returns the file with the bug in it. That the place is there once is what
// keeps the list true while the code changes.
func (b *bug) planted() ([]byte, error) {
	text, err := os.ReadFile(b.file)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(text), b.old); n != 1 || b.old == "" {
		return nil, fmt.Errorf("its text is in %s %d times, want once: change testdata/mutants.txt with the code", b.file, n)
	}
	return []byte(strings.Replace(string(text), b.old, b.new, 1)), nil
}

// Every bug of the list can still be planted, and the tests that are to find it exist.
// With -mutants each is, and they must.
func TestMutants(t *testing.T) {
	all := bugs(t)
	if len(all) < minMutants {
		t.Errorf("%d mutants, want %d", len(all), minMutants)
	}
	names, tests := map[string]bool{}, map[string]string{}
	for _, b := range all {
		if _, err := b.planted(); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
		if names[b.name] || b.what == "" || b.old == b.new {
			t.Errorf("%s: named twice, not described, or no change", b.name)
		}
		names[b.name] = true
		if _, known := tests[b.pkg]; !known {
			files, _ := filepath.Glob(filepath.Join(b.pkg, "*_test.go"))
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				tests[b.pkg] += string(text)
			}
		}
		for _, name := range strings.Split(b.tests, "|") {
			if !strings.Contains(tests[b.pkg], "func "+name) {
				t.Errorf("%s: %s has no test %s", b.name, b.pkg, name)
			}
		}
	}
	if !*plant && *mutant == "" || t.Failed() {
		return
	}
	wanted := regexp.MustCompile(*mutant)
	all = slices.DeleteFunc(all, func(b *bug) bool { return !wanted.MatchString(b.name) })
	// Tests that fail without the bug say nothing about it.
	sound := map[string]*bug{}
	for _, b := range all {
		if s := sound[b.pkg]; s != nil {
			s.tests += "|" + b.tests
		} else {
			sound[b.pkg] = &bug{pkg: b.pkg, tests: b.tests}
		}
	}
	for _, s := range sound {
		if out, err := s.test(); err != nil {
			t.Fatalf("tests of %s fail without any bug: %v\n%s", s.pkg, err, out)
		}
	}
	found, survived := 0, 0
	for _, b := range all {
		if out, err := b.test("-overlay", b.overlay(t)); err == nil {
			survived++
			t.Errorf("%s survives %s: %s", b.name, b.tests, b.what)
		} else if strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]") {
			t.Errorf("%s does not compile:\n%s", b.name, out)
		} else {
			found++
			t.Logf("found: %s (%s)", b.name, b.what)
		}
	}
	t.Logf("%d found, %d survived", found, survived)
}

// overlay has the compiler see the file with the bug.
func (b *bug) overlay(t *testing.T) string {
	text, err := b.planted()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	with, list := filepath.Join(dir, filepath.Base(b.file)), filepath.Join(dir, "overlay.json")
	raw, err := json.Marshal(map[string]map[string]string{"Replace": {b.file: with}})
	if err == nil {
		err = os.WriteFile(with, text, 0o600)
	}
	if err == nil {
		err = os.WriteFile(list, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// test runs the bug's tests.
func (b *bug) test(args ...string) (string, error) {
	cmd := exec.Command("go", append(append([]string{"test"}, args...), "-count=1", "-timeout", "5m", "-run", "^("+b.tests+")", b.pkg)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
