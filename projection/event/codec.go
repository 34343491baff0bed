package event

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/wfd-dev/wfd/eventlog"
)

// ErrUnknown marks an event of a kind, or with fields, that this build does not
// know: it was written by a newer one.
var ErrUnknown = errors.New("event was written by a newer version of wfd")

// Encode returns the bytes of p.
func Encode(p Payload) []byte {
	c := coders.Get().(*coder)
	*c = coder{buf: c.buf[:0]}
	c.payload(p)
	return c.done()
}

// Append appends the bytes of p to b.
func Append(b []byte, p Payload) []byte {
	c := coders.Get().(*coder)
	own := c.buf
	*c = coder{buf: b}
	c.payload(p)
	b, c.buf = c.buf, own
	coders.Put(c)
	return b
}

func (c *coder) payload(p Payload) {
	c.mode = counting
	p.code(c)
	c.mode, c.added = encoding, false
	c.header(c.n)
	p.code(c)
}

// done returns a copy of what was written, and gives the coder back.
func (c *coder) done() []byte {
	b := bytes.Clone(c.buf)
	if cap(c.buf) <= maxPooled {
		coders.Put(c)
	}
	return b
}

// coders are those of Encode and ValueOf, with what they have written into; maxPooled
// keeps one large payload from being held for ever.
var coders = sync.Pool{New: func() any { return new(coder) }}

const maxPooled = 64 << 10

// Decode returns the payload of an event of kind k. Values in it share b's
// memory.
func Decode(k eventlog.Kind, b []byte) (Payload, error) {
	info, ok := kinds[k]
	if !ok {
		return nil, fmt.Errorf("%w: kind %d", ErrUnknown, k)
	}
	p := info.make()
	if err := decodeInto(p, b); err != nil {
		return nil, fmt.Errorf("payload of %s: %w", info.name, err)
	}
	return p, nil
}

func decodeInto(p Payload, b []byte) error {
	c := coder{mode: decoding, buf: b}
	c.n = c.length()
	p.code(&c)
	switch {
	case c.err != nil:
		return c.err
	case c.n > 0:
		return fmt.Errorf("%w: %d more fields than known", ErrUnknown, c.n)
	case len(c.buf) > 0:
		return fmt.Errorf("%d bytes left over", len(c.buf))
	}
	return nil
}

// A coder walks a payload's fields in order, in one of four modes, so that the
// order, and what is content, are written down once.
type coder struct {
	mode  int
	n     int // counting: fields to write so far; otherwise: fields left in this array
	all   int // counting: fields so far, those that are left out too
	added bool
	buf   []byte
	err   error
	rest  Rest // redacting
	// taken, if set, is called with every string that redacting takes out.
	taken func(string)
}

const (
	counting = iota
	encoding
	decoding
	redacting // takes content out, see Redact
)

var errShort = errors.New("ends early")

// later marks that the fields that follow were added to a payload that is on disk
// without them. At the end they are left out while they are zero: what does not
// use them is written as it always was, so that old histories, decided again, give
// the bytes that were recorded.
func (c *coder) later() { c.added = true }

// next reports whether there is a field to read, or to write.
func (c *coder) next(zero bool) bool {
	switch c.mode {
	case redacting:
		return false
	case counting:
		c.all++
		if !zero || !c.added {
			c.n = c.all
		}
		return false
	}
	if c.err != nil || c.n == 0 {
		return false // decoding: an older event, without this field
	}
	c.n--
	return true
}

func (c *coder) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// take returns the next n bytes.
func (c *coder) take(n int) []byte {
	if n < 0 || n > len(c.buf) {
		c.fail(errShort)
		c.buf = nil
		return make([]byte, min(max(n, 0), 8))
	}
	b := c.buf[:n:n]
	c.buf = c.buf[n:]
	return b
}

func (c *coder) header(n int) {
	switch {
	case n < 16:
		c.buf = append(c.buf, 0x90|byte(n))
	case n < 1<<16:
		c.buf = binary.BigEndian.AppendUint16(append(c.buf, 0xdc), uint16(n))
	default:
		c.buf = binary.BigEndian.AppendUint32(append(c.buf, 0xdd), uint32(n))
	}
}

// length reads an array header. It never exceeds the bytes left, of which every
// element takes one at least.
func (c *coder) length() int {
	t := c.take(1)[0]
	var n int
	switch {
	case t&0xf0 == 0x90:
		n = int(t & 0x0f)
	case t == 0xdc:
		n = int(binary.BigEndian.Uint16(c.take(2)))
	case t == 0xdd:
		n = int(binary.BigEndian.Uint32(c.take(4)))
	default:
		c.fail(fmt.Errorf("want an array, found byte %#x", t))
	}
	if n > len(c.buf) {
		c.fail(errShort)
	}
	if c.err != nil {
		return 0
	}
	return n
}

func (c *coder) putInt(v int64) {
	switch {
	case v >= 0:
		c.putUint(uint64(v))
	case v >= -32:
		c.buf = append(c.buf, byte(v))
	default:
		c.buf = binary.BigEndian.AppendUint64(append(c.buf, 0xd3), uint64(v))
	}
}

func (c *coder) putUint(v uint64) {
	switch {
	case v < 0x80:
		c.buf = append(c.buf, byte(v))
	case v < 1<<8:
		c.buf = append(c.buf, 0xcc, byte(v))
	case v < 1<<16:
		c.buf = binary.BigEndian.AppendUint16(append(c.buf, 0xcd), uint16(v))
	case v < 1<<32:
		c.buf = binary.BigEndian.AppendUint32(append(c.buf, 0xce), uint32(v))
	default:
		c.buf = binary.BigEndian.AppendUint64(append(c.buf, 0xcf), v)
	}
}

func (c *coder) getInt() int64 {
	t := c.take(1)[0]
	switch {
	case t < 0x80:
		return int64(t)
	case t >= 0xe0:
		return int64(int8(t))
	}
	switch t {
	case 0xcc:
		return int64(c.take(1)[0])
	case 0xcd:
		return int64(binary.BigEndian.Uint16(c.take(2)))
	case 0xce:
		return int64(binary.BigEndian.Uint32(c.take(4)))
	case 0xcf, 0xd3:
		return int64(binary.BigEndian.Uint64(c.take(8)))
	}
	c.fail(fmt.Errorf("want an integer, found byte %#x", t))
	return 0
}

// putBytes writes b as binary (0xc4…).
func (c *coder) putBytes(b []byte) {
	c.putSize(0xc4, len(b))
	c.buf = append(c.buf, b...)
}

// putString writes s as a string (0xa0, 0xd9…).
func (c *coder) putString(s string) {
	if n := len(s); n < 32 {
		c.buf = append(c.buf, 0xa0|byte(n))
	} else {
		c.putSize(0xd9, n)
	}
	c.buf = append(c.buf, s...)
}

// putSize writes the type t with a length of 8 bits, or the one after it with 16, or 32.
func (c *coder) putSize(t byte, n int) {
	switch {
	case n < 1<<8:
		c.buf = append(c.buf, t, byte(n))
	case n < 1<<16:
		c.buf = binary.BigEndian.AppendUint16(append(c.buf, t+1), uint16(n))
	default:
		c.buf = binary.BigEndian.AppendUint32(append(c.buf, t+2), uint32(n))
	}
}

func (c *coder) putBool(v bool) {
	b := byte(0xc2)
	if v {
		b = 0xc3
	}
	c.buf = append(c.buf, b)
}

func (c *coder) getBytes() []byte {
	t := c.take(1)[0]
	switch {
	case t&0xe0 == 0xa0:
		return c.take(int(t & 0x1f))
	case t == 0xc4 || t == 0xd9:
		return c.take(int(c.take(1)[0]))
	case t == 0xc5 || t == 0xda:
		return c.take(int(binary.BigEndian.Uint16(c.take(2))))
	case t == 0xc6 || t == 0xdb:
		return c.take(int(binary.BigEndian.Uint32(c.take(4))))
	}
	c.fail(fmt.Errorf("want a string or bytes, found byte %#x", t))
	return nil
}

func (c *coder) str(v *string) {
	if !c.next(*v == "") {
		return
	}
	if c.mode == encoding {
		c.putString(*v)
	} else {
		*v = string(c.getBytes())
	}
}

func (c *coder) took(s string) {
	if c.taken != nil {
		c.taken(s)
	}
}

// text codes a string that somebody wrote, as against a name that the run's
// structure rests on: content, which an erasure takes out.
func (c *coder) text(v *string) {
	if c.mode == redacting && c.rest < RestText && *v != "" {
		c.took(*v)
		*v = ErasedText
	}
	c.str(v)
}

func (c *coder) int64(v *int64) {
	if !c.next(*v == 0) {
		return
	}
	if c.mode == encoding {
		c.putInt(*v)
	} else {
		*v = c.getInt()
	}
}

func (c *coder) int(v *int) {
	n := int64(*v)
	c.int64(&n)
	*v = int(n)
}

func (c *coder) time(v *Time)     { c.int64((*int64)(v)) }
func (c *coder) micros(v *Micros) { c.int64((*int64)(v)) }

func (c *coder) version(v *eventlog.Version) {
	n := int64(*v)
	c.int64(&n)
	*v = eventlog.Version(n)
}

func (c *coder) seq(v *eventlog.Seq) {
	n := int64(*v)
	c.int64(&n)
	*v = eventlog.Seq(n)
}

func (c *coder) bool(v *bool) {
	if !c.next(!*v) {
		return
	}
	if c.mode == encoding {
		c.putBool(*v)
		return
	}
	switch t := c.take(1)[0]; t {
	case 0xc2, 0xc3:
		*v = t == 0xc3
	default:
		c.fail(fmt.Errorf("want a boolean, found byte %#x", t))
	}
}

// value keeps a Value's own msgpack inside a binary, so that it is skipped
// without being looked at; none is an empty binary.
func (c *coder) value(v *Value) {
	if c.mode == redacting && len(*v) > 0 {
		if c.taken != nil {
			if x, err := v.Any(); err == nil {
				stringsIn(x, c.taken)
			}
		}
		*v = ErasedValue
	}
	if !c.next(len(*v) == 0) {
		return
	}
	if c.mode == encoding {
		c.putBytes(*v)
	} else if b := c.getBytes(); len(b) > 0 {
		*v = b
	}
}

func (c *coder) run(v *eventlog.RunID) {
	if !c.next(v.IsZero()) {
		return
	}
	if c.mode == encoding {
		c.putBytes(v[:])
		return
	}
	b := c.getBytes()
	if len(b) != len(v) {
		c.fail(fmt.Errorf("want a run ID of %d bytes, found %d", len(v), len(b)))
		return
	}
	copy(v[:], b)
}

// array codes a list whose elements f codes.
func array[T any](c *coder, v *[]T, f func(*coder, *T)) {
	if c.mode == redacting {
		for i := range *v {
			f(c, &(*v)[i])
		}
	}
	if !c.next(len(*v) == 0) {
		return
	}
	left := c.n
	if c.mode == encoding {
		c.header(len(*v))
		c.n = len(*v)
		for i := range *v {
			f(c, &(*v)[i])
		}
		c.n = left
		return
	}
	c.n = c.length()
	s := make([]T, 0, min(c.n, 1024))
	for c.err == nil && c.n > 0 {
		var e T
		f(c, &e)
		s = append(s, e)
	}
	if len(s) > 0 {
		*v = s
	}
	c.n = left
}

// nested codes a struct as an array within the array.
func nested[T any](c *coder, v *T, f func(*coder, *T)) {
	if c.mode == redacting {
		f(c, v)
	}
	if c.next(false) {
		inner(c, v, f)
	}
}

func inner[T any](c *coder, v *T, f func(*coder, *T)) {
	left := c.n
	if c.mode == encoding {
		count := coder{mode: counting}
		f(&count, v)
		c.header(count.n)
		c.n = count.n
		f(c, v)
		c.n = left
		return
	}
	c.n = c.length()
	f(c, v)
	if c.n > 0 && c.err == nil {
		c.fail(fmt.Errorf("%w: %d more fields than known", ErrUnknown, c.n))
	}
	c.n = left
}

// optional codes a pointer: an empty array is nil.
func optional[T any](c *coder, v **T, f func(*coder, *T)) {
	if c.mode == redacting && *v != nil {
		f(c, *v)
	}
	switch {
	case !c.next(*v == nil):
	case c.mode == encoding && *v == nil:
		c.header(0)
	case c.mode == decoding && len(c.buf) > 0 && c.buf[0] == 0x90:
		c.take(1)
	default:
		if c.mode == decoding {
			*v = new(T)
		}
		inner(c, *v, f)
	}
}

func (c *coder) strs(v *[]string) { array(c, v, (*coder).str) }

// texts is a list of what is text.
func (c *coder) texts(v *[]string) { array(c, v, (*coder).text) }

// strmap codes a map with keys and values that somebody wrote: content.
func (c *coder) strmap(v *map[string]string) {
	if c.mode == redacting && c.rest < RestText {
		for k, s := range *v {
			c.took(k)
			c.took(s)
		}
		*v = nil
	}
	var list []string
	if c.mode != decoding {
		for k := range *v {
			list = append(list, k)
		}
		sort.Strings(list)
		for i := 0; i < len(list); i += 2 {
			list = slices.Insert(list, i+1, (*v)[list[i]])
		}
	}
	c.strs(&list)
	if c.mode == decoding && len(list) > 0 {
		if len(list)%2 != 0 {
			c.fail(errors.New("a map with a key and no value"))
			return
		}
		*v = make(map[string]string, len(list)/2)
		for i := 0; i < len(list); i += 2 {
			(*v)[list[i]] = list[i+1]
		}
	}
}

func (c *coder) kvs(v *[]KV) {
	array(c, v, func(c *coder, kv *KV) {
		nested(c, kv, func(c *coder, kv *KV) {
			c.str(&kv.Key)
			c.value(&kv.Value)
		})
	})
}

func codeFailure(c *coder, f *Failure) {
	c.str(&f.Class)
	c.text(&f.Message)
	c.str(&f.Node)
	c.int(&f.Visit)
	c.int(&f.Attempt)
}

func (c *coder) failure(v *Failure)     { nested(c, v, codeFailure) }
func (c *coder) failureOpt(v **Failure) { optional(c, v, codeFailure) }
func (c *coder) failures(v *[]Failure)  { array(c, v, (*coder).failure) }

func (c *coder) usage(v **Usage) {
	optional(c, v, func(c *coder, u *Usage) {
		c.int64(&u.InputTokens)
		c.int64(&u.OutputTokens)
		c.later()
		c.int64(&u.CachedTokens)
		c.str(&u.Model)
		c.price(&u.Price)
	})
}

func (c *coder) price(v **Price) {
	optional(c, v, func(c *coder, p *Price) {
		c.micros(&p.Input)
		c.micros(&p.Cached)
		c.micros(&p.Output)
	})
}

func (c *coder) parent(v **Parent) {
	optional(c, v, func(c *coder, p *Parent) {
		c.run(&p.Run)
		c.str(&p.Node)
		c.int(&p.Visit)
		c.later()
		c.str(&p.Tool)
	})
}

func (c *coder) waits(v *[]Wait) {
	array(c, v, func(c *coder, w *Wait) {
		nested(c, w, func(c *coder, w *Wait) {
			c.str(&w.Node)
			c.str(&w.For)
			c.str(&w.Name)
			c.time(&w.Until)
		})
	})
}

func (c *coder) reads(v *[]Read) {
	array(c, v, func(c *coder, r *Read) {
		nested(c, r, func(c *coder, r *Read) {
			c.str(&r.Name)
			c.value(&r.Value)
			c.bool(&r.Missing)
		})
	})
}

func (c *coder) evals(v *[]Eval) {
	array(c, v, func(c *coder, e *Eval) {
		nested(c, e, func(c *coder, e *Eval) {
			c.str(&e.To)
			c.str(&e.If)
			c.bool(&e.Met)
			c.reads(&e.Reads)
			c.text(&e.Err)
		})
	})
}
