package event

import (
	"bytes"
	"encoding/json"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
)

// frugal fails if fn allocates out of proportion to n bytes of input. The
// largest honest factor is that of a list of empty structs: a byte each in the
// encoding, up to a hundred in memory, and as much again while a slice grows.
func frugal(t *testing.T, n int, fn func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > uint64(n)*400+1<<20 {
		t.Fatalf("%d bytes of input took %d bytes of memory", n, got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, k := range allKinds() {
		f.Add(uint16(k), Encode(filled(k)))
		f.Add(uint16(k), Encode(kinds[k].make()))
	}
	f.Add(uint16(KindRunFailed), []byte("\x91\xdd\xff\xff\xff\xff"))
	f.Add(uint16(KindRunFailed), append([]byte("\x92\x90\xdc\x10\x00"), bytes.Repeat([]byte{0x90}, 4096)...))
	f.Fuzz(func(t *testing.T, k uint16, b []byte) {
		kind := eventlog.Kind(k)
		var p Payload
		var err error
		frugal(t, len(b), func() { p, err = Decode(kind, b) })
		if err != nil {
			return
		}
		again, err := Decode(kind, Encode(p))
		if err != nil {
			t.Fatalf("%+v does not come back: %v", p, err)
		}
		if !reflect.DeepEqual(Encode(again), Encode(p)) {
			t.Fatalf("%+v came back as %+v", p, again)
		}
		_, _ = ViewOf(eventlog.Event{Kind: kind, Payload: b})
	})
}

func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{
		`null`, `[1,-2.5e3,"x",true,{"a":{"b":[]}}]`, `{"a":1,"a":2}`, `9007199254740993`, `1e400`, `"\ud800"`, strings.Repeat("[", 70), `{"":0}`, "\xff", `"\xff"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v Value
		var err error
		frugal(t, len(b), func() { v, err = ParseJSON(b) })
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q is no JSON", b)
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseJSON(out)
		if err != nil {
			t.Fatalf("%q became %q: %v", b, out, err)
		}
		if twice, err := json.Marshal(again); err != nil || !bytes.Equal(twice, out) {
			t.Fatalf("%q became %q and then %q", b, out, twice)
		}
	})
}

func FuzzValueAny(f *testing.F) {
	for _, x := range []any{nil, true, 1, -1, 1.5, "s", []any{1, "a"}, map[string]any{"a": []any{}, "b": nil}} {
		f.Add([]byte(MustValue(x)))
	}
	f.Add([]byte("\xdd\xff\xff\xff\xff"))
	f.Add([]byte("\xdf\xff\xff\xff\xff"))
	f.Add(bytes.Repeat([]byte{0x91}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		var x any
		var err error
		frugal(t, len(b), func() { x, err = Value(b).Any() })
		if err != nil {
			return
		}
		v, err := ValueOf(x)
		if err != nil {
			t.Fatalf("%x reads as %#v, which is no value: %v", b, x, err)
		}
		if again, err := v.Any(); err != nil || !reflect.DeepEqual(again, x) {
			t.Fatalf("%#v came back as %#v, %v", x, again, err)
		}
	})
}
