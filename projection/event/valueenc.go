package event

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// putAny writes v, as ValueOf takes it. What it writes is what the library's encoder
// does with compact integers and sorted keys, byte for byte: histories are compared by
// that. It is written out here because a result is encoded at every step, and the
// library needs a copy of it first in which all numbers are of one type.
func (c *coder) putAny(v any, depth int) {
	switch v := v.(type) {
	case nil:
		c.buf = append(c.buf, 0xc0)
	case bool:
		c.putBool(v)
	case string:
		c.putString(v)
	case int64:
		c.putShort(v)
	case int:
		c.putShort(int64(v))
	case int32:
		c.putShort(int64(v))
	case uint64:
		if v > math.MaxInt64 {
			c.putFloat(float64(v))
		} else {
			c.putShort(int64(v))
		}
	case uint:
		c.putAny(uint64(v), depth)
	case uint32:
		c.putShort(int64(v))
	case float32:
		c.putFloat(float64(v))
	case float64:
		c.putFloat(v)
	case json.Number:
		n, err := number(v)
		if err != nil {
			c.fail(err)
			return
		}
		c.putAny(n, depth)
	case []any:
		c.listHeader(len(v), depth)
		for _, e := range v {
			if c.err != nil {
				return
			}
			c.putAny(e, depth+1)
		}
	case []string:
		c.listHeader(len(v), depth)
		for _, e := range v {
			c.putString(e)
		}
	case map[string]any:
		putMap(c, v, depth, (*coder).putAny)
	case map[string]string:
		putMap(c, v, depth, func(c *coder, s string, _ int) { c.putString(s) })
	default:
		c.fail(fmt.Errorf("%T is not a value", v))
	}
}

// putMap writes a map whose values put writes, in the order of its keys.
func putMap[T any](c *coder, m map[string]T, depth int, put func(*coder, T, int)) {
	if depth == MaxDepth {
		c.fail(errDepth)
		return
	}
	switch n := len(m); {
	case n < 16:
		c.buf = append(c.buf, 0x80|byte(n))
	case n < 1<<16:
		c.buf = binary.BigEndian.AppendUint16(append(c.buf, 0xde), uint16(n))
	default:
		c.buf = binary.BigEndian.AppendUint32(append(c.buf, 0xdf), uint32(n))
	}
	var few [8]string
	keys := few[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if c.err != nil {
			return
		}
		c.putString(k)
		put(c, m[k], depth+1)
	}
}

func (c *coder) listHeader(n, depth int) {
	if depth == MaxDepth {
		c.fail(errDepth)
		return
	}
	c.header(n)
}

// putShort writes an integer of a Value in its shortest form; those of payloads that are
// negative have another, see putInt.
func (c *coder) putShort(v int64) {
	switch {
	case v >= -32:
		c.putInt(v)
	case v >= math.MinInt8:
		c.buf = append(c.buf, 0xd0, byte(v))
	case v >= math.MinInt16:
		c.buf = binary.BigEndian.AppendUint16(append(c.buf, 0xd1), uint16(v))
	case v >= math.MinInt32:
		c.buf = binary.BigEndian.AppendUint32(append(c.buf, 0xd2), uint32(v))
	default:
		c.putInt(v)
	}
}

func (c *coder) putFloat(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		c.fail(fmt.Errorf("%v is not a value", f))
		return
	}
	c.buf = binary.BigEndian.AppendUint64(append(c.buf, 0xcb), math.Float64bits(f))
}
