package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

// asLibrary is how the library writes a value: what is in histories.
func asLibrary(t interface{ Fatal(...any) }, x any) Value {
	var b bytes.Buffer
	enc := msgpack.NewEncoder(&b)
	enc.SetSortMapKeys(true)
	enc.UseCompactInts(true)
	if err := enc.Encode(x); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestValueAsLibrary: the bytes are the library's where a length or a number takes
// another form.
func TestValueAsLibrary(t *testing.T) {
	all := []any{
		math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64, map[string]any{"b": "", "": nil, "aa": false, "a": true},
	}
	for _, n := range []int64{0, 1 << 5, 1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, math.MaxInt64} {
		all = append(all, n-1, n, -n, -n-1)
	}
	for _, n := range []int{0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536} {
		list, fields := make([]any, n), map[string]any{}
		for i := range n {
			fields[strings.Repeat("k", i%40)+fmt.Sprint(i)] = int64(-i)
		}
		all = append(all, strings.Repeat("ü", n), strings.Repeat("x", n), list, fields, []any{list, fields})
	}
	for _, x := range all {
		v, err := ValueOf(x)
		if want := asLibrary(t, x); err != nil || !bytes.Equal(v, want) {
			t.Errorf("a %T is %.40x…, %v; the library writes %.40x…", x, v, err, want)
		}
	}
}

// TestValueRoundTrip: a value comes back as it was, its bytes are the library's, whose
// decoder reads the same, and they do not depend on the order of a map.
func TestValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawValue(t, 4)
		v, err := ValueOf(x)
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Any()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, x) {
			t.Fatalf("%#v came back as %#v", x, got)
		}
		if lib := asLibrary(t, x); !bytes.Equal(v, lib) {
			t.Fatalf("%#v is %x, the library writes %x", x, v, lib)
		}
		dec := msgpack.NewDecoder(bytes.NewReader(v))
		dec.UseLooseInterfaceDecoding(true)
		ref, err := dec.DecodeInterfaceLoose()
		if err != nil {
			t.Fatal(err)
		}
		if again := MustValue(ref); !bytes.Equal(again, v) {
			t.Fatalf("%x, and %x by way of the reference decoder", v, again)
		}
	})
}

func TestParseJSON(t *testing.T) {
	deep := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	tests := []struct{ in, out, err string }{
		{`9007199254740993`, `9007199254740993`, ""}, // 2^53+1
		{`-9223372036854775808`, `-9223372036854775808`, ""},
		{`9223372036854775807`, `9223372036854775807`, ""},
		{`9223372036854775808`, `9223372036854776000`, ""}, // a double from here on
		{`18446744073709551615`, `18446744073709552000`, ""},
		{`1e300`, `1e+300`, ""},
		{`1e400`, "", "out of range"},
		{`-1e400`, "", "out of range"},
		{strings.Repeat("9", 400), "", "out of range"},
		{`1e-400`, `0`, ""},
		{`-0`, `0`, ""},
		{`0.1`, `0.1`, ""},
		{`"\ud834\udd1e é \u0000"`, `"𝄞 é \u0000"`, ""},
		{` {"b":1,"a":[true,false,null,{}]} `, `{"a":[true,false,null,{}],"b":1}`, ""},
		{`{"a":1,"a":2}`, "", `key "a" occurs twice`},
		{`{"a":{"x":1,"x":2}}`, "", `key "x" occurs twice`},
		{`{"a":1,"\u0061":2}`, "", `key "a" occurs twice`},
		{deep, deep, ""},
		{"[" + deep + "]", "", "nested deeper than 64"},
		{strings.Repeat("[", 1<<20), "", "nested deeper"},
		{strings.Repeat(`{"a":`, 1<<18), "", "nested deeper"},
		{``, "", "line 1, column 1"},
		{"{\n \"a\": }", "", "line 2"},
		{`1 2`, "", "something follows"},
		{`{} x`, "", "something follows"},
		{`[1,]`, "", "JSON"},
		{`[1 2]`, "", "JSON"},
		{`{"a":1,}`, "", "JSON"},
		{`{1:2}`, "", "JSON"},
		{`[}`, "", "JSON"},
		{`]`, "", "JSON"},
		{`nul`, "", "JSON"},
		{`NaN`, "", "JSON"},
		{`01`, "", "JSON"},
	}
	for _, tt := range tests {
		name := tt.in[:min(len(tt.in), 40)]
		v, err := ParseJSON([]byte(tt.in))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", name, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out, err := json.Marshal(v); err != nil || string(out) != tt.out {
			t.Errorf("%s became %s, %v", name, out, err)
		}
	}
}

func TestValueOfRefuses(t *testing.T) {
	loop := map[string]any{}
	loop["self"] = loop
	for _, x := range []any{math.NaN(), math.Inf(1), float32(math.Inf(-1)), struct{}{}, []byte("x"), []any{make(chan int)}, loop, json.Number("1e999")} {
		if v, err := ValueOf(x); err == nil {
			t.Errorf("%T: %x", x, v)
		}
	}
	for _, x := range []any{int32(1), uint(1), uint32(1), uint64(1), 1, int64(1), json.Number("1")} {
		if v, err := ValueOf(x); err != nil || !bytes.Equal(v, []byte{1}) {
			t.Errorf("%T: %x, %v", x, v, err)
		}
	}
	if v := MustValue(uint64(math.MaxUint64)); len(v) != 9 || v[0] != 0xcb {
		t.Errorf("2^64-1: %x", v)
	}
}

// TestAnyRefuses: stored bytes that are no value.
func TestAnyRefuses(t *testing.T) {
	for _, s := range []string{
		"ddffffffff", "dfffffffff", "dcffff", "deffff", "dbffffffff", "daffff", "92c0", "81a161", "81", "8101c0", "82a161c0a161c0", "c1", "c403010203",
		"d40100", "c70001", "c0c0", "cb7ff8000000000000", "cb7ff0000000000000", "ca7fc00000", "a2ff", strings.Repeat("91", MaxDepth) + "90", strings.Repeat("91", 1<<20),
		"cc", "cd00", "ce000000", "cf00", "d0", "d100", "d2000000", "d300", "ca0000", "cb0000",
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		if x, err := Value(b).Any(); err == nil {
			t.Errorf("%.40s reads as %v", s, x)
		}
	}
	for s, want := range map[string]any{
		"": nil, "c0": nil, "d0ff": int64(-1), "d1ffff": int64(-1), "d2ffffffff": int64(-1), "d3ffffffffffffffff": int64(-1), "e0": int64(-32),
		"cf7fffffffffffffff": int64(math.MaxInt64), "cfffffffffffffffff": float64(1 << 64), "ca3fc00000": 1.5, "dc0001c3": []any{true}, "de0001a161c2": map[string]any{"a": false},
		"d90161": "a", "dd00000000": []any{}, "df00000000": map[string]any{},
	} {
		b, _ := hex.DecodeString(s)
		if x, err := Value(b).Any(); err != nil || !reflect.DeepEqual(x, want) {
			t.Errorf("%s reads as %#v, %v", s, x, err)
		}
	}
}
