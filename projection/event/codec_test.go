package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/wfd-dev/wfd/eventlog"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "add the present encoding to testdata/golden, and rewrite the JSON there")

// TestRoundTrip: whatever a payload holds comes back from its bytes, and the
// reference decoder reads them.
func TestRoundTrip(t *testing.T) {
	for _, k := range allKinds() {
		t.Run(KindName(k), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				p := kinds[k].make()
				draw(t, reflect.ValueOf(p).Elem())
				b := Encode(p)
				got, err := Decode(k, b)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, p) {
					t.Fatalf("%+v came back as %+v", p, got)
				}
				var ref []msgpack.RawMessage
				if err := msgpack.Unmarshal(b, &ref); err != nil {
					t.Fatalf("reference decoder: %v", err)
				}
				for _, raw := range ref {
					var x any
					if err := msgpack.Unmarshal(raw, &x); err != nil {
						t.Fatalf("reference decoder: %v", err)
					}
				}
			})
		})
	}
}

// TestEveryFieldIsCoded: a field that code forgets would be lost.
func TestEveryFieldIsCoded(t *testing.T) {
	for _, k := range allKinds() {
		p := filled(k)
		if got := mustDecode(t, k, Encode(p)); !reflect.DeepEqual(got, p) {
			t.Errorf("%s: %+v came back as %+v", KindName(k), p, got)
		}
		if p.Kind() != k {
			t.Errorf("%T is kind %d, not %d", p, p.Kind(), k)
		}
		if of, ok := KindOf(KindName(k)); !ok || of != k {
			t.Errorf("KindOf(%q) = %d, %t", KindName(k), of, ok)
		}
	}
}

// TestGolden: each line of a kind's file is an encoding that was written once
// and must be read for ever; the last is today's. Lines are only ever added.
func TestGolden(t *testing.T) {
	for _, k := range allKinds() {
		t.Run(KindName(k), func(t *testing.T) {
			p := filled(k)
			name := filepath.Join("testdata", "golden", KindName(k))
			today := hex.EncodeToString(Encode(p))
			data, _ := os.ReadFile(name + ".hex")
			lines := strings.Fields(string(data))
			text, err := json.MarshalIndent(mustView(t, p), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, '\n')
			if *update {
				if len(lines) == 0 || lines[len(lines)-1] != today {
					lines = append(lines, today)
				}
				write(t, name+".hex", strings.Join(lines, "\n")+"\n")
				write(t, name+".json", string(text))
			}
			if len(lines) == 0 || lines[len(lines)-1] != today {
				t.Fatalf("encoding changed: %s", today)
			}
			for i, line := range lines {
				b, err := hex.DecodeString(line)
				if err != nil {
					t.Fatal(err)
				}
				if got := mustDecode(t, k, b); i == len(lines)-1 && !reflect.DeepEqual(got, p) {
					t.Errorf("%s reads as %+v", line, got)
				}
			}
			if want, _ := os.ReadFile(name + ".json"); !bytes.Equal(text, want) {
				t.Errorf("JSON changed:\n%s\nwas:\n%s", text, want)
			}
		})
	}
	files, _ := filepath.Glob("testdata/golden/*")
	if len(files) != 2*len(kinds) {
		t.Errorf("%d golden files for %d kinds", len(files), len(kinds))
	}
}

func mustView(t testing.TB, p Payload) View {
	v, err := ViewOf(eventlog.Event{
		Seq: 7, Run: eventlog.RunID{1, 2, 3}, Version: 2, Time: 1_700_000_000_123_456_789, Kind: p.Kind(), Actor: "user:ann", Payload: Encode(p),
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func write(t *testing.T, name, s string) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(s), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fields splits an encoded payload into its fields.
func fields(t testing.TB, b []byte) [][]byte {
	dec := msgpack.NewDecoder(bytes.NewReader(b))
	n, err := dec.DecodeArrayLen()
	if err != nil {
		t.Fatal(err)
	}
	var list [][]byte
	for range n {
		raw, err := dec.DecodeRaw()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, raw)
	}
	return list
}

func arrayOf(fields ...[]byte) []byte {
	c := coder{mode: encoding}
	c.header(len(fields))
	return append(c.buf, bytes.Join(fields, nil)...)
}

// TestOlderAndNewer: an event with fewer fields is one of an older build and
// reads as zero there; one with more fields is refused, at the top and inside.
func TestOlderAndNewer(t *testing.T) {
	for _, k := range allKinds() {
		full := fields(t, Encode(filled(k)))
		zero := fields(t, Encode(kinds[k].make()))
		for n := range len(full) + 1 {
			p := mustDecode(t, k, arrayOf(full[:n]...))
			want := append(append([][]byte{}, full[:n]...), zero[min(n, len(zero)):]...)
			if got := Encode(p); !bytes.Equal(got, arrayOf(want...)) {
				t.Errorf("%s with %d fields reads as %+v", KindName(k), n, p)
			}
		}
		if _, err := Decode(k, arrayOf(append(full, []byte{0xc0})...)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s with a field more: %v", KindName(k), err)
		}
		if _, err := Decode(k, append(arrayOf(full...), 0)); err == nil || errors.Is(err, ErrUnknown) {
			t.Errorf("%s with a byte more: %v", KindName(k), err)
		}
	}
	failure := arrayOf(append(fields(t, fields(t, Encode(filled(KindRunFailed)))[0]), []byte{0xc0})...)
	if _, err := Decode(KindRunFailed, arrayOf(failure)); !errors.Is(err, ErrUnknown) {
		t.Errorf("a failure with a field more: %v", err)
	}
	if _, err := Decode(9999, []byte{0x90}); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown kind: %v", err)
	}
	if KindName(9999) != "unknown.9999" {
		t.Error(KindName(9999))
	}
}

// TestAddedFields: a field that was added later is left out at the end while it is
// zero, so that events which do not use it keep their bytes; one before another
// that is used is written.
func TestAddedFields(t *testing.T) {
	p := &RunRestored{To: 3, Name: "a"}
	if got := fields(t, Encode(p)); len(got) != 4 {
		t.Errorf("%d fields without what was added, want 4", len(got))
	}
	p.Reason = "why"
	if got := fields(t, Encode(p)); len(got) != 7 {
		t.Errorf("%d fields with the last of what was added, want 7", len(got))
	}
	if got := mustDecode(t, p.Kind(), Encode(p)); !reflect.DeepEqual(got, p) {
		t.Errorf("%+v came back as %+v", p, got)
	}
}

// TestCutShort: no beginning of a payload reads as a payload, and none panics.
func TestCutShort(t *testing.T) {
	for _, k := range allKinds() {
		b := Encode(filled(k))
		for n := range b {
			if p, err := Decode(k, b[:n]); err == nil {
				t.Errorf("%s cut to %d of %d bytes reads as %+v", KindName(k), n, len(b), p)
			}
		}
	}
}

// TestLengthsThatLie: a length beyond the bytes at hand is refused before
// anything of that size is allocated.
func TestLengthsThatLie(t *testing.T) {
	big := []string{
		"ddffffffff", "ddfffffffe90", "dcffff", "91ddffffffff", "92a0ddffffffff", "91c6ffffffff", "91dbffffffff", "91c5ffff", "9fa0",
		"91dd00000002a0", "91da0100", "91d9ff", "91df", "dd7fffffff", "dd80000000",
	}
	for _, k := range allKinds() {
		for _, s := range big {
			b, err := hex.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			got := testing.AllocsPerRun(1, func() {
				if p, err := Decode(k, b); err == nil {
					t.Errorf("%s: %s reads as %+v", KindName(k), s, p)
				}
			})
			if got > 40 {
				t.Errorf("%s: %s takes %v allocations", KindName(k), s, got)
			}
		}
	}
}

// TestWidths: every width of length that the encoding has.
func TestWidths(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536} {
		s := strings.Repeat("x", n)
		for _, p := range []Payload{
			&RunCancelled{Reason: s},
			&RunCompleted{Output: StringValue(s)},
			&RunCreated{Entry: strings.Split(strings.Repeat("n", n), "")},
		} {
			if got := mustDecode(t, p.Kind(), Encode(p)); n > 0 && !reflect.DeepEqual(got, p) {
				t.Errorf("%T of width %d does not come back", p, n)
			}
		}
	}
}

// TestIntegers: every integer comes back, in whatever width it is written.
func TestIntegers(t *testing.T) {
	for shift := range 64 {
		for _, n := range []int64{1<<shift - 1, 1 << shift, -1 << shift, -1<<shift - 1} {
			p := &RunCreated{Deadline: Time(n), Depth: int(n)}
			if got := mustDecode(t, p.Kind(), Encode(p)); !reflect.DeepEqual(got, p) {
				t.Errorf("%d does not come back", n)
			}
		}
	}
}

func TestErasedView(t *testing.T) {
	v, err := ViewOf(eventlog.Event{Seq: 1, Run: eventlog.RunID{1}, Version: 1, Kind: KindRunCreated, Erased: true})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(v.Data); err != nil || string(b) != `{"erased":true}` {
		t.Errorf("%s, %v", b, err)
	}
}

func BenchmarkDecode(b *testing.B) {
	p := Encode(filled(KindNodeCompleted))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(KindNodeCompleted, p); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleDecode() {
	b := Encode(&TimerFired{Node: "pause", Visit: 1, For: "wait"})
	p, err := Decode(KindTimerFired, b)
	fmt.Printf("%x %+v %v\n", b, p, err)
	// Output: 93a5706175736501a477616974 &{Node:pause Visit:1 For:wait} <nil>
}

// A time survives its JSON to the nanosecond.
func TestTimeJSON(t *testing.T) {
	for _, want := range []Time{1, 1_700_000_000_123_456_789, -5} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Time
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Errorf("%d became %s and then %d: %v", want, b, got, err)
		}
	}
}
