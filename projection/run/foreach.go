package run

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/projection/event"
)

// open notes that an item is under way, and returns the attempts it has had.
func (e *Each) open(item int) (attempts int) {
	e.Open++
	i := slices.IndexFunc(e.Again, func(r Redo) bool { return r.Item == item })
	if i < 0 {
		if e.Next = item + 1; e.Plan != nil {
			e.Next = e.Ended + e.Open + len(e.Again)
		}
		return 0
	}
	attempts = e.Again[i].Attempt
	e.Again = slices.Delete(e.Again, i, i+1)
	return attempts
}

// items returns the items of a foreach that are under way, in their order.
func (s *State) items(of *Visit) []*Visit {
	var items []*Visit
	for _, v := range s.Live {
		if v.Of == of.Node {
			items = append(items, v)
		}
	}
	slices.SortFunc(items, func(a, b *Visit) int { return a.Item - b.Item })
	return items
}

// close notes that the items under way are given up, to be done again should the
// foreach go on.
func (e *Each) close(items []*Visit) {
	for _, v := range items {
		e.Open--
		e.Again = append(e.Again, Redo{v.Item - 1, v.Attempt})
	}
}

func (s *State) itemFailed(v *Visit, p *event.NodeFailed) error {
	parent := s.Live[v.Of]
	if v.Item == 0 || parent == nil || parent.Each == nil {
		return fmt.Errorf("%w: %s is no item of a foreach", ErrHistory, v.Node)
	}
	delete(s.Live, v.Node)
	each := parent.Each
	each.Open--
	if p.Then == event.ThenContinue {
		r, err := failureValue(&p.Failure)
		each.Results[v.Item-1] = r
		each.Ended++
		return err
	}
	each.Failures = append(each.Failures, p.Failure)
	each.Again = append(each.Again, Redo{v.Item - 1, v.Attempt})
	return nil
}

// Compare orders nodes by their ID, the items of a foreach behind it and by their
// number.
func Compare(a, b string) int {
	x, i, _ := ItemOf(a)
	y, j, _ := ItemOf(b)
	return cmp.Or(strings.Compare(cmp.Or(x, a), cmp.Or(y, b)), strings.Compare(x, y), cmp.Compare(i, j))
}

// ItemName is the node ID of item i, from 0, of a foreach.
func ItemName(node string, i int) string { return fmt.Sprintf("%s[%d]", node, i) }

// ItemOf splits what ItemName made.
func ItemOf(id string) (node string, i int, ok bool) {
	if !strings.HasSuffix(id, "]") {
		return "", 0, false
	}
	at := strings.LastIndexByte(id, '[')
	if at < 1 {
		return "", 0, false
	}
	for _, c := range id[at+1 : len(id)-1] {
		if c < '0' || c > '9' || i > 1<<40 {
			return "", 0, false
		}
		i = i*10 + int(c-'0')
	}
	return id[:at], i, len(id)-1 > at+1
}
