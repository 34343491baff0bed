package api

import (
	"testing"
	"time"
)

// What somebody outside makes happen as often as he likes is logged once a second, with how
// often it was not.
func TestSeldom(t *testing.T) {
	var s seldom
	began := time.Unix(1_800_000_000, 0)
	lines, left := 0, 0
	for i := range 3000 {
		if ok, n := s.may(began.Add(time.Duration(i) * time.Millisecond)); ok {
			lines, left = lines+1, left+n
		}
	}
	if lines != 3 || left != 2*999 {
		t.Errorf("%d lines, that tell of %d left out", lines, left)
	}
}
