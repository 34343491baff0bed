package event

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"pgregory.net/rapid"
)

// allKinds returns every kind, in order.
func allKinds() []eventlog.Kind {
	var ks []eventlog.Kind
	for k := range kinds {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

// fill sets every field of v to something that is not zero and follows from
// the field's name alone, so that a field added later changes no other.
func fill(v reflect.Value, name string) {
	if v.Type() == reflect.TypeFor[Value]() {
		v.Set(reflect.ValueOf(MustValue(map[string]any{name: []any{1, "two", nil, true, 1.5}})))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.ToLower(name))
	case reflect.Int, reflect.Int64:
		n := int64(0)
		for _, c := range name {
			n = n*31%100_000 + int64(c)
		}
		v.SetInt(n)
	case reflect.Uint64:
		v.SetUint(uint64(len(name)) * 100)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(i + 1))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), fmt.Sprint(name, i))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"b": name, "a": ""}))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), v.Type().Field(i).Name)
		}
	default:
		panic("field " + name + " has a type that the tests do not know: " + v.Type().String())
	}
}

// filled returns a payload of kind k with no zero field.
func filled(k eventlog.Kind) Payload {
	p := kinds[k].make()
	fill(reflect.ValueOf(p).Elem(), "")
	return p
}

// draw sets v to anything.
func draw(t *rapid.T, v reflect.Value) {
	if v.Type() == reflect.TypeFor[Value]() {
		if rapid.Bool().Draw(t, "some") {
			v.Set(reflect.ValueOf(MustValue(drawValue(t, 3))))
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(drawString(t))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "uint"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(rapid.Byte().Draw(t, "byte")))
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "some") {
			v.Set(reflect.New(v.Type().Elem()))
			draw(t, v.Elem())
		}
	case reflect.Slice:
		if n := rapid.IntRange(0, 20).Draw(t, "len"); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				draw(t, v.Index(i))
			}
		}
	case reflect.Map:
		if m := rapid.MapOfN(rapid.String(), rapid.String(), 0, 20).Draw(t, "map"); len(m) > 0 {
			v.Set(reflect.ValueOf(m))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			draw(t, v.Field(i))
		}
	}
}

func drawString(t *rapid.T) string {
	if rapid.IntRange(0, 20).Draw(t, "long") == 0 {
		return strings.Repeat("x", rapid.SampledFrom([]int{31, 32, 255, 256, 65535, 65536}).Draw(t, "length"))
	}
	return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "string")) // any bytes
}

// drawValue returns what a user may supply.
func drawValue(t *rapid.T, depth int) any {
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds).Draw(t, "type") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Int64().Draw(t, "int")
	case 3:
		return rapid.Float64().Draw(t, "float")
	case 4:
		return rapid.String().Draw(t, "string")
	case 5:
		list := []any{}
		for range rapid.IntRange(0, 20).Draw(t, "len") {
			list = append(list, drawValue(t, depth-1))
		}
		return list
	default:
		m := map[string]any{}
		for range rapid.IntRange(0, 20).Draw(t, "len") {
			m[rapid.String().Draw(t, "key")] = drawValue(t, depth-1)
		}
		return m
	}
}

func mustDecode(t testing.TB, k eventlog.Kind, b []byte) Payload {
	t.Helper()
	p, err := Decode(k, b)
	if err != nil {
		t.Fatalf("%s: %v", KindName(k), err)
	}
	return p
}
