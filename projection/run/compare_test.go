package run

import (
	"slices"
	"testing"
)

// Items of a foreach stand behind it, by their number.
func TestCompare(t *testing.T) {
	want := []string{"a", "each", "each[0]", "each[2]", "each[10]", "each-two", "z"}
	got := slices.Clone(want)
	slices.Sort(got)
	slices.SortFunc(got, Compare)
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}
