package replay

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
)

// ErrPosition: a text does not name a position.
var ErrPosition = errors.New("not a position")

// Position is a place in a run's history. The zero Position is its newest end.
type Position struct {
	Seq     eventlog.Seq     // up to this event of the log; 0: not by seq
	Version eventlog.Version // up to this event of the run; 0: not by version
	Node    string           // up to the end of a visit of this node; "": not by node
	Visit   int
}

// Parse reads a position: "412" is a seq, "v12" a version, "review#2" a visit.
func Parse(s string) (Position, error) {
	if node, visit, ok := cutLast(s, "#"); ok {
		n, err := strconv.Atoi(visit)
		if err != nil || n < 1 || node == "" {
			return Position{}, fmt.Errorf("%w: %q: a visit is node#number, from 1", ErrPosition, s)
		}
		return Position{Node: node, Visit: n}, nil
	}
	digits, byVersion := strings.CutPrefix(s, "v")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n == 0 {
		return Position{}, fmt.Errorf("%w: %q: want a seq (412), a version (v12) or a visit (node#2)", ErrPosition, s)
	}
	if byVersion {
		return Position{Version: eventlog.Version(n)}, nil
	}
	return Position{Seq: eventlog.Seq(n)}, nil
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// String writes p as Parse reads it; the newest end is "newest".
func (p Position) String() string {
	switch {
	case p.Node != "":
		return p.Node + "#" + strconv.Itoa(p.Visit)
	case p.Version != 0:
		return "v" + strconv.FormatUint(uint64(p.Version), 10)
	case p.Seq != 0:
		return strconv.FormatUint(uint64(p.Seq), 10)
	}
	return "newest"
}
