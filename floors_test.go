package wfd_test

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// No dependency is older than the version that has the last known hole mended. It is what
// can be checked without the database of vulnerabilities, which make vuln asks.
func TestDependencyFloors(t *testing.T) {
	b, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", b, nil)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]string{}
	for _, r := range mod.Require {
		used[r.Mod.Path] = r.Mod.Version
	}
	f, err := os.Open("testdata/floors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		if len(fields) < 3 || !semver.IsValid(fields[1]) {
			t.Fatalf("testdata/floors.txt: %q: want module, version, advisory", lines.Text())
		}
		have, ok := used[fields[0]]
		if !ok {
			t.Errorf("%s is not used any more: take it out of testdata/floors.txt", fields[0])
			continue
		}
		seen++
		if semver.Compare(have, fields[1]) < 0 {
			t.Errorf("%s %s is older than %s: %s", fields[0], have, fields[1], strings.Join(fields[2:], " "))
		}
	}
	if seen < 5 {
		t.Errorf("%d floors: is testdata/floors.txt there?", seen)
	}
}
