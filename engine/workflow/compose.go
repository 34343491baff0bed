package workflow

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Compose joins two definitions: where a would end, b starts. Every exit of a
// leads to one node that waits for all of them and starts b; with a condition it
// starts b only if that is met, else the run ends normally. Exits of a are nodes
// without edges and ends that complete; ends that fail still fail.
//
// Ids of b that a has too get a suffix, also in expressions. State keys of both
// must agree. The run's input is a's, its output b's. Neither a nor b changes.
func Compose(a, b *Definition, joinCondition string) (*Definition, error) {
	x, err := a.copied()
	if err != nil {
		return nil, fmt.Errorf("compose: first definition: %w", err)
	}
	y, err := b.copied()
	if err != nil {
		return nil, fmt.Errorf("compose: second definition: %w", err)
	}
	y.rename(x)
	entries := y.entries()
	exits := x.exits()
	if len(exits) == 0 {
		return nil, fmt.Errorf("compose: %s has no exit that %s could follow", a.Name, b.Name)
	}
	d := &Definition{
		Name: clipName(a.Name + " + " + b.Name), Description: strings.TrimSpace(a.Description + "\n" + b.Description),
		Input: x.Input, Output: y.Output, HasOutput: y.HasOutput, Entry: x.Entry, Timeout: x.Timeout + y.Timeout, Budget: sum(x.Budget, y.Budget),
		Nodes: append(x.Nodes, y.Nodes...), Metadata: merge(x.Metadata, y.Metadata), Extra: merge(x.Extra, y.Extra), src: source.NewFile("", ""),
	}
	if x.Timeout == 0 || y.Timeout == 0 {
		d.Timeout = 0
	}
	if d.State, err = both(x.State, y.State); err != nil {
		return nil, fmt.Errorf("compose: %w", err)
	}
	handover := d.free("handover")
	link := &NodeDef{ID: handover, Kind: Parallel, Name: "start of " + clipName(b.Name), Fields: map[string]any{}}
	if len([]rune(link.Name)) > MaxName {
		link.Name = ""
	}
	d.Nodes = append(d.Nodes, link)
	first := handover
	d.Edges = append(x.Edges, y.Edges...)
	if joinCondition != "" {
		first = d.free("join_check")
		stop := d.free("join_end")
		d.Nodes = append(d.Nodes, &NodeDef{ID: first, Kind: Decision, Fields: map[string]any{}}, &NodeDef{ID: stop, Kind: End, Fields: map[string]any{"end": "completed"}})
		d.Edges = append(d.Edges, EdgeDef{From: first, To: handover, If: joinCondition}, EdgeDef{From: first, To: stop, Default: true})
	}
	for _, id := range exits {
		n := d.Node(id)
		if n.Kind == End { // an end has no edges: it becomes a step that passes on
			n.Kind, n.Fields = Decision, map[string]any{}
		}
		d.Edges = append(d.Edges, EdgeDef{From: id, To: first})
	}
	for _, id := range entries {
		d.Edges = append(d.Edges, EdgeDef{From: handover, To: id})
	}
	if d.Entry == "" {
		if e := x.entries(); len(e) == 1 {
			d.Entry = e[0]
		}
	}
	return d.settled()
}

// copied is a deep copy, by way of the canonical form.
func (d *Definition) copied() (*Definition, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	c, problems := Parse(d.src.Name, text)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

func clipName(s string) string {
	if r := []rune(s); len(r) > MaxName-16 {
		return strings.TrimSpace(string(r[:MaxName-16]))
	}
	return s
}

// free returns id, or id with a number if it is taken.
func (d *Definition) free(id string) string {
	for try, i := id, 2; ; i++ {
		if d.Node(try) == nil {
			return try
		}
		try = fmt.Sprintf("%s_%d", id, i)
	}
}

// rename gives the nodes of d that other has too another id.
func (d *Definition) rename(other *Definition) {
	taken := &Definition{Nodes: append(slices.Clone(other.Nodes), d.Nodes...)}
	names := map[string]string{}
	for _, n := range d.Nodes {
		if other.Node(n.ID) != nil {
			names[n.ID] = taken.free(n.ID)
			taken.Nodes = append(taken.Nodes, &NodeDef{ID: names[n.ID]})
		}
	}
	if len(names) == 0 {
		return
	}
	name := func(id string) string {
		if to, ok := names[id]; ok {
			return to
		}
		return id
	}
	for _, n := range d.Nodes {
		for i, id := range n.Needs {
			n.Needs[i] = name(id)
		}
		n.ID, n.OnError, n.OnTimeout = name(n.ID), name(n.OnError), name(n.OnTimeout)
		n.renameIn(name)
	}
	for i := range d.Edges {
		e := &d.Edges[i]
		e.From, e.To, e.If = name(e.From), name(e.To), renameText(e.If, name)
	}
	d.Entry = name(d.Entry)
	d.Output = renameValue(d.Output, name)
}

func (n *NodeDef) renameIn(name func(string) string) {
	for i := range n.Set {
		n.Set[i].Value = renameValue(n.Set[i].Value, name)
	}
	for k, v := range n.Fields {
		n.Fields[k] = renameValue(v, name)
	}
	if n.Do != nil {
		n.Do.ID = n.ID
		n.Do.renameIn(name)
	}
}

func renameValue(v any, name func(string) string) any {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "${") {
			return renameText(v, name)
		}
	case []any:
		for i := range v {
			v[i] = renameValue(v[i], name)
		}
	case map[string]any:
		for k := range v {
			v[k] = renameValue(v[k], name)
		}
	}
	return v
}

var nodeRef = regexp.MustCompile(`\bnodes(\.|\[["'])([A-Za-z_][A-Za-z0-9_-]*)`)

func renameText(s string, name func(string) string) string {
	return nodeRef.ReplaceAllStringFunc(s, func(m string) string {
		parts := nodeRef.FindStringSubmatch(m)
		id, rest := parts[2], ""
		if parts[1] == "." { // a - ends the id here
			if i := strings.IndexByte(id, '-'); i >= 0 {
				id, rest = id[:i], id[i:]
			}
		}
		return "nodes" + parts[1] + name(id) + rest
	})
}

// entries are the nodes a run of d starts with.
func (d *Definition) entries() []string {
	if d.Entry != "" {
		return []string{d.Entry}
	}
	led := map[string]bool{}
	for _, e := range d.Edges {
		led[e.To] = true
	}
	for _, n := range d.Nodes {
		led[n.OnError], led[n.OnTimeout] = true, true
	}
	var ids []string
	for _, n := range d.Nodes {
		if !led[n.ID] && len(n.Needs) == 0 {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// exits are the nodes a run of d ends with, but for those that fail it.
func (d *Definition) exits() []string {
	leads := map[string]bool{}
	for _, e := range d.Edges {
		leads[e.From] = true
	}
	for _, n := range d.Nodes {
		for _, id := range n.Needs {
			leads[id] = true
		}
	}
	var ids []string
	for _, n := range d.Nodes {
		if !leads[n.ID] && !(n.Kind == End && n.Text("end") == "failed") {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

func sum(a, b *Budget) *Budget {
	if a == nil || b == nil {
		return nil // one part may spend what it likes, so the whole may
	}
	s := &Budget{OnExceed: a.OnExceed}
	if a.Micros > 0 && b.Micros > 0 {
		s.Micros = a.Micros + b.Micros
	}
	if a.Tokens > 0 && b.Tokens > 0 {
		s.Tokens = a.Tokens + b.Tokens
	}
	if s.Micros == 0 && s.Tokens == 0 {
		return nil
	}
	return s
}

func merge(a, b map[string]any) map[string]any {
	if len(a)+len(b) == 0 {
		return nil
	}
	m := map[string]any{}
	for _, from := range []map[string]any{a, b} {
		for k, v := range from {
			m[k] = v
		}
	}
	return m
}

func both(a, b []KeyDef) ([]KeyDef, error) {
	keys := slices.Clone(a)
	for _, k := range b {
		i := slices.IndexFunc(keys, func(x KeyDef) bool { return x.Name == k.Name })
		switch {
		case i < 0:
			keys = append(keys, k)
		case !reflect.DeepEqual(keys[i], k):
			return nil, fmt.Errorf("both declare the state key %s, but not alike", k.Name)
		}
	}
	return keys, nil
}
