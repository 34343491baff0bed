package secret

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Redactor takes secrets out of texts and values. It does not change and is safe for
// concurrent use; a nil Redactor changes nothing.
type Redactor struct {
	starts  map[[MinValue]byte][]pattern // by their first bytes; the longest first
	first   [256]bool                    // the bytes that patterns begin with
	longest int                          // pattern, in bytes
	digits  bool                         // a pattern may be in the text of a number
}

// pattern is one form of a secret.
type pattern struct {
	text string
	show string // what stands in its place
}

// newRedactor returns a redactor of secrets, names by value.
func newRedactor(known map[string]string) *Redactor {
	if len(known) == 0 {
		return nil
	}
	r := &Redactor{starts: map[[MinValue]byte][]pattern{}}
	for _, value := range slices.Sorted(maps.Keys(known)) {
		for _, form := range forms(value) {
			r.add(pattern{form, "[secret " + known[value] + "]"})
		}
	}
	for k, ps := range r.starts {
		slices.SortStableFunc(ps, func(a, b pattern) int {
			return cmp.Or(cmp.Compare(len(b.text), len(a.text)), cmp.Compare(a.text, b.text))
		})
		r.starts[k] = slices.CompactFunc(ps, func(a, b pattern) bool { return a.text == b.text })
	}
	return r
}

func (r *Redactor) add(p pattern) {
	k := [MinValue]byte([]byte(p.text[:MinValue]))
	r.starts[k] = append(r.starts[k], p)
	r.first[p.text[0]] = true
	r.longest = max(r.longest, len(p.text))
	r.digits = r.digits || strings.Trim(p.text, "0123456789+-.e") == ""
}

// Longest is how many bytes the longest thing has that is taken out: a text that was
// cut may begin or end with one byte less of it.
func (r *Redactor) Longest() int {
	if r == nil {
		return 0
	}
	return r.longest
}

// Text returns s without secrets.
func (r *Redactor) Text(s string) string {
	if r == nil {
		return s
	}
	out, _ := r.scan(s, true)
	return out
}

// Tail returns without secrets the end of a text of which the beginning is missing:
// also without what may be the rest of a secret there.
func (r *Redactor) Tail(s string) string {
	s = r.Text(s)
	return s[min(len(s), max(0, r.Longest()-1)):]
}

// Head returns without secrets the beginning of a text, at most limit bytes of it.
// Of a longer text it must be given Longest bytes more, so that what is cut in two
// is known whole.
func (r *Redactor) Head(s string, limit int) string {
	cut := len(s) > limit
	if s = r.Text(s); cut {
		s = s[:max(0, min(limit, len(s)-max(0, r.Longest()-1)))]
	}
	return s
}

// scan takes secrets out of s. Unless s is complete, it leaves held what may be the
// beginning of one.
func (r *Redactor) scan(s string, complete bool) (out, held string) {
	var b strings.Builder
	done := 0 // s[:done] is in b
	for i := 0; i < len(s); {
		if !r.first[s[i]] {
			i++
			continue
		}
		p, open := r.at(s[i:], complete)
		switch {
		case open:
			b.WriteString(s[done:i])
			return b.String(), s[i:]
		case p == nil:
			i++
		default:
			b.WriteString(s[done:i])
			b.WriteString(p.show)
			i += len(p.text)
			done = i
		}
	}
	if done == 0 {
		return s, ""
	}
	b.WriteString(s[done:])
	return b.String(), ""
}

// at returns the longest pattern that s begins with; open says that a longer one may
// yet come, with what follows s.
func (r *Redactor) at(s string, complete bool) (p *pattern, open bool) {
	if len(s) < MinValue {
		if complete {
			return nil, false
		}
		for k := range r.starts {
			if strings.HasPrefix(string(k[:]), s) {
				return nil, true
			}
		}
		return nil, false
	}
	ps := r.starts[[MinValue]byte([]byte(s[:MinValue]))]
	for i := range ps {
		switch {
		case strings.HasPrefix(s, ps[i].text):
			return &ps[i], false
		case !complete && strings.HasPrefix(ps[i].text, s):
			return nil, true
		}
	}
	return nil, false
}

// Value returns v, made of what event.ValueOf takes, without secrets. What has none is
// not copied, and v is never changed.
func (r *Redactor) Value(v any) any {
	if r == nil {
		return v
	}
	x, _ := r.value(v)
	return x
}

// value also reports whether x differs from v.
func (r *Redactor) value(v any) (x any, changed bool) {
	switch v := v.(type) {
	case string:
		s, _ := r.scan(v, true)
		return s, s != v
	case int64:
		return r.number(v, strconv.FormatInt(v, 10))
	case float64:
		return r.number(v, strconv.FormatFloat(v, 'f', -1, 64))
	case int, int8, int16, int32, uint, uint8, uint16, uint32, uint64, float32, json.Number:
		return r.number(v, fmt.Sprint(v))
	case []any:
		var out []any
		for i, e := range v {
			if x, c := r.value(e); c {
				if out == nil {
					out = slices.Clone(v)
				}
				out[i] = x
			}
		}
		if out != nil {
			return out, true
		}
	case map[string]any:
		var out map[string]any
		for _, k := range slices.Sorted(maps.Keys(v)) {
			name, renamed := r.value(k)
			x, c := r.value(v[k])
			if !renamed && !c {
				continue
			}
			if out == nil {
				out = maps.Clone(v)
			}
			delete(out, k)
			out[name.(string)] = x
		}
		if out != nil {
			return out, true
		}
	}
	return v, false
}

func (r *Redactor) number(v any, text string) (any, bool) {
	if !r.digits {
		return v, false
	}
	s, _ := r.scan(text, true)
	if s == text {
		return v, false
	}
	return s, true
}

// Stream takes secrets out of a text that comes in pieces.
type Stream struct {
	r    *Redactor
	held string // may be the beginning of a secret
}

// Stream returns a Stream.
func (r *Redactor) Stream() *Stream { return &Stream{r: r} }

// Add takes the next piece and returns what can be shown by now.
func (s *Stream) Add(piece string) string {
	if s.r == nil {
		return piece
	}
	var out string
	out, s.held = s.r.scan(s.held+piece, false)
	return out
}

// End returns what was held back.
func (s *Stream) End() string {
	out := s.r.Text(s.held)
	s.held = ""
	return out
}
