package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Any decodes v into plain Go values: nil, bool, int64, float64, string, []any
// and map[string]any; none and null are nil.
func (v Value) Any() (any, error) {
	if len(v) == 0 {
		return nil, nil
	}
	c := coder{mode: decoding, buf: v}
	x := c.any(0)
	if c.err == nil && len(c.buf) > 0 {
		c.fail(fmt.Errorf("%d bytes left over", len(c.buf)))
	}
	if c.err != nil {
		return nil, fmt.Errorf("stored value: %w", c.err)
	}
	return x, nil
}

// any reads one value. It is written out here because the library's decoder
// allocates what a length says before it looks whether so much follows, and
// knows no depth.
func (c *coder) any(depth int) any {
	if c.err != nil || len(c.buf) == 0 {
		c.fail(errShort)
		return nil
	}
	switch t := c.buf[0]; {
	case t < 0x80 || t >= 0xe0 || t >= 0xcc && t <= 0xce:
		return c.getInt()
	case t&0xf0 == 0x90 || t == 0xdc || t == 0xdd:
		n := c.length()
		if depth == MaxDepth {
			c.fail(errDepth)
		}
		list := make([]any, 0, min(n, 1024))
		for ; n > 0 && c.err == nil; n-- {
			list = append(list, c.any(depth+1))
		}
		return list
	case t&0xf0 == 0x80 || t == 0xde || t == 0xdf:
		return c.anyMap(depth)
	case t&0xe0 == 0xa0 || t >= 0xd9 && t <= 0xdb:
		return string(c.getBytes())
	}
	switch t := c.take(1)[0]; t {
	case 0xc0:
		return nil
	case 0xc2, 0xc3:
		return t == 0xc3
	case 0xca:
		return c.finite(float64(math.Float32frombits(binary.BigEndian.Uint32(c.take(4)))))
	case 0xcb:
		return c.finite(math.Float64frombits(binary.BigEndian.Uint64(c.take(8))))
	case 0xcf:
		if n := binary.BigEndian.Uint64(c.take(8)); n > math.MaxInt64 {
			return float64(n)
		} else {
			return int64(n)
		}
	case 0xd0:
		return int64(int8(c.take(1)[0]))
	case 0xd1:
		return int64(int16(binary.BigEndian.Uint16(c.take(2))))
	case 0xd2:
		return int64(int32(binary.BigEndian.Uint32(c.take(4))))
	case 0xd3:
		return int64(binary.BigEndian.Uint64(c.take(8)))
	default:
		c.fail(fmt.Errorf("byte %#x begins no value", t))
		return nil
	}
}

func (c *coder) finite(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		c.fail(fmt.Errorf("%v is not a value", f))
	}
	return f
}

func (c *coder) anyMap(depth int) any {
	t := c.take(1)[0]
	n := int(t & 0x0f)
	switch t {
	case 0xde:
		n = int(binary.BigEndian.Uint16(c.take(2)))
	case 0xdf:
		n = int(binary.BigEndian.Uint32(c.take(4)))
	}
	switch {
	case n < 0 || n > len(c.buf)/2:
		c.fail(errShort)
		return nil
	case depth == MaxDepth:
		c.fail(errDepth)
	}
	m := make(map[string]any, min(n, 1024))
	for ; n > 0 && c.err == nil; n-- {
		if len(c.buf) == 0 || c.buf[0]&0xe0 != 0xa0 && (c.buf[0] < 0xd9 || c.buf[0] > 0xdb) {
			c.fail(errors.New("a map's key is not a string"))
			break
		}
		k := string(c.getBytes())
		if _, twice := m[k]; twice {
			c.fail(fmt.Errorf("key %q occurs twice", k))
		}
		m[k] = c.any(depth + 1)
	}
	return m
}
