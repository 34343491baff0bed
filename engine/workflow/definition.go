package workflow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Definition is a workflow as written, in one form for all its spellings. It is
// made by Parse, Import, Pattern and Compose, and not changed afterwards.
type Definition struct {
	Name        string
	Description string
	Input       any // JSON Schema of the run's input; nil: any input
	State       []KeyDef
	Budget      *Budget
	Timeout     time.Duration // of a run; 0 = none
	Entry       string        // "": every node without incoming edges
	Output      any           // template; HasOutput tells it from null
	HasOutput   bool
	Nodes       []*NodeDef // in declared order, which is the order nodes start in
	Edges       []EdgeDef
	Metadata    map[string]any // kept, not interpreted
	Extra       map[string]any // fields called x-…, likewise

	src *source.File // where it came from; never nil
}

// KeyDef declares a key of the state.
type KeyDef struct {
	Name        string
	Type        string // JSON Schema type name, "" = any
	Default     any    // nil: unset until written
	Reduce      Reduce
	Description string
}

// Budget bounds what a run may spend.
type Budget struct {
	Micros   int64  // millionths of a US dollar; 0 = no bound
	Tokens   int64  // 0 = no bound
	OnExceed string // "pause" (also if empty) or "fail"
}

// NodeDef is a node as written.
type NodeDef struct {
	ID          string
	Kind        Kind
	Name        string
	Description string
	Needs       []string
	Set         []SetDef
	Expect      any // JSON Schema of the result; nil: any
	Retry       *Retry
	Timeout     time.Duration // 0: the kind's default
	MaxVisits   int           // 0: DefaultMaxVisits
	OnError     string        // a node, "" = none
	OnTimeout   string        // a node, "" = none
	Join        *Join
	OnFailure   OnFailure
	Priority    int
	Queue       string
	Fields      map[string]any // the kind's own fields, by name; plain values
	Do          *NodeDef       // foreach: the node done for each item
	Extra       map[string]any // fields called x-…
}

// SetDef sets a key of the state from the node's result.
type SetDef struct {
	Key   string
	Value any // template
}

// EdgeDef is an edge as written.
type EdgeDef struct {
	From, To string
	If       string // "" = unconditional
	Default  bool
	Extra    map[string]any
}

// Text returns a field of the node's kind as text, "" if it has none.
func (n *NodeDef) Text(field string) string {
	s, _ := n.Fields[field].(string)
	return s
}

// Int returns a field of the node's kind as a whole number, 0 if it has none.
func (n *NodeDef) Int(field string) int {
	i, _ := n.Fields[field].(int64)
	return int(i)
}

// Texts returns a field of the node's kind as a list of text.
func (n *NodeDef) Texts(field string) []string {
	l, _ := n.Fields[field].([]any)
	texts := make([]string, 0, len(l))
	for _, x := range l {
		if s, ok := x.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

// Title is the node's name, its id if it has none.
func (n *NodeDef) Title() string {
	if n.Name != "" {
		return n.Name
	}
	return n.ID
}

// Node returns the node called id, nil if there is none.
func (d *Definition) Node(id string) *NodeDef {
	for _, n := range d.Nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// File is the name of the file the definition came from, "" if from none.
func (d *Definition) File() string { return d.src.Name }

// entries is an object in a fixed order.
type entries []entry

type entry struct {
	key   string
	value any
}

func (e *entries) add(key string, value any) { *e = append(*e, entry{key, value}) }

// text adds what is not empty.
func (e *entries) text(key, value string) {
	if value != "" {
		e.add(key, value)
	}
}

func (e *entries) extra(m map[string]any) {
	for _, k := range sortedKeys(m) {
		e.add(k, m[k])
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// MarshalJSON returns the canonical form: fields in a fixed order, nodes, state
// and set in declared order, other objects sorted; durations and numbers in one
// spelling. Parse of it gives an equal definition. It is what Hash is taken of.
func (d *Definition) MarshalJSON() ([]byte, error) {
	var e entries
	e.text("name", d.Name)
	e.text("description", d.Description)
	if d.Input != nil {
		e.add("input", d.Input)
	}
	if len(d.State) > 0 {
		var keys entries
		for _, k := range d.State {
			var f entries
			f.text("type", k.Type)
			if k.Default != nil {
				f.add("default", k.Default)
			}
			f.text("reduce", string(k.Reduce))
			f.text("description", k.Description)
			keys.add(k.Name, f)
		}
		e.add("state", keys)
	}
	if b := d.Budget; b != nil {
		var f entries
		if b.Micros != 0 {
			f.add("usd", decimal(b.Micros))
		}
		if b.Tokens != 0 {
			f.add("tokens", b.Tokens)
		}
		f.text("on_exceed", b.OnExceed)
		e.add("budget", f)
	}
	e.text("timeout", span(d.Timeout))
	e.text("entry", d.Entry)
	var nodes entries
	for _, n := range d.Nodes {
		nodes.add(n.ID, n.canonical())
	}
	e.add("nodes", nodes)
	if len(d.Edges) > 0 {
		edges := make([]any, len(d.Edges))
		for i, x := range d.Edges {
			var f entries
			f.add("from", x.From)
			f.add("to", x.To)
			f.text("if", x.If)
			if x.Default {
				f.add("default", true)
			}
			f.extra(x.Extra)
			edges[i] = f
		}
		e.add("edges", edges)
	}
	if d.HasOutput {
		e.add("output", d.Output)
	}
	if len(d.Metadata) > 0 {
		e.add("metadata", d.Metadata)
	}
	e.extra(d.Extra)
	var b bytes.Buffer
	err := write(&b, e)
	return b.Bytes(), err
}

func (n *NodeDef) canonical() entries {
	var e entries
	e.add("type", string(n.Kind))
	e.text("name", n.Name)
	e.text("description", n.Description)
	for _, k := range sortedKeys(n.Fields) {
		e.add(k, n.Fields[k])
	}
	if n.Do != nil {
		e.add("do", n.Do.canonical())
	}
	if len(n.Needs) > 0 {
		e.add("needs", n.Needs)
	}
	if len(n.Set) > 0 {
		var set entries
		for _, s := range n.Set {
			set.add(s.Key, s.Value)
		}
		e.add("set", set)
	}
	if n.Expect != nil {
		e.add("expect", n.Expect)
	}
	if r := n.Retry; r != nil {
		var f entries
		if r.Max != 0 {
			f.add("max", int64(r.Max))
		}
		f.text("backoff", span(r.Backoff))
		f.text("max_backoff", span(r.MaxBackoff))
		f.text("then", r.Then)
		e.add("retry", f)
	}
	e.text("timeout", span(n.Timeout))
	if n.MaxVisits != 0 {
		e.add("max_visits", int64(n.MaxVisits))
	}
	e.text("on_error", n.OnError)
	e.text("on_timeout", n.OnTimeout)
	if j := n.Join; j != nil {
		if j.Mode == JoinQuorum {
			e.add("join", entries{{"quorum", int64(j.N)}})
		} else {
			e.add("join", string(j.Mode))
		}
	}
	e.text("on_failure", string(n.OnFailure))
	if n.Priority != 0 {
		e.add("priority", int64(n.Priority))
	}
	e.text("queue", n.Queue)
	e.extra(n.Extra)
	return e
}

// write writes v as compact JSON.
func write(b *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case entries:
		b.WriteByte('{')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := write(b, e.key); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := write(b, e.value); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	case map[string]any:
		e := make(entries, 0, len(v))
		e.extra(v)
		return write(b, e)
	case []any:
		b.WriteByte('[')
		for i, x := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := write(b, x); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case float64:
		b.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
		return nil
	}
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("workflow: %w", err)
	}
	b.Truncate(b.Len() - 1) // the encoder's newline
	return nil
}

// decimal is an amount in dollars, exactly.
func decimal(micros int64) json.RawMessage {
	s := fmt.Sprintf("%d.%06d", micros/1_000_000, micros%1_000_000)
	return json.RawMessage(strings.TrimSuffix(strings.TrimRight(s, "0"), "."))
}

// span is a duration in its shortest spelling, "" for 0.
func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// ParseDuration reads a duration of definitions: Go's form, and d for days.
func ParseDuration(s string) (time.Duration, error) {
	rest, days := s, time.Duration(0)
	if i := strings.IndexByte(s, 'd'); i > 0 {
		n, err := strconv.ParseUint(s[:i], 10, 31)
		if err != nil || n > 36500 {
			return 0, fmt.Errorf("%q is no duration", source.Clip(s))
		}
		days, rest = time.Duration(n)*24*time.Hour, s[i+1:]
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > 36500*24*time.Hour-days {
		return 0, fmt.Errorf("%q is no duration", source.Clip(s))
	}
	return days + d, nil
}

// YAML returns the definition as YAML.
func (d *Definition) YAML() ([]byte, error) {
	canonical, err := d.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return source.YAML(canonical)
}

// Hash is the definition's identity: the SHA-256 of its canonical form.
func (d *Definition) Hash() Hash {
	b, err := d.MarshalJSON()
	if err != nil {
		panic("workflow: a definition holds a value that is none: " + err.Error()) // Parse makes no such definition
	}
	return sha256.Sum256(b)
}

// String is the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is no hash at all.
func (h Hash) IsZero() bool { return h == Hash{} }

// ParseHash reads what String writes.
func ParseHash(s string) (Hash, error) {
	var h Hash
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return Hash{}, fmt.Errorf("%q is no definition hash: it has %d hexadecimal digits", source.Clip(s), 2*len(h))
	}
	copy(h[:], b)
	return h, nil
}

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) error {
	x, err := ParseHash(string(b))
	*h = x
	return err
}
