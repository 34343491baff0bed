package event

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What an erasure leaves of each kind is written down: a field that is added is
// to be looked at here. Every string is its field's name in small letters.
func TestRedactedGolden(t *testing.T) {
	var out strings.Builder
	for _, rest := range []Rest{RestNames, RestText} {
		for _, k := range allKinds() {
			b, err := Redact(k, Encode(filled(k)), rest)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(mustDecode(t, k, b))
			if err != nil {
				t.Fatal(err)
			}
			out.WriteString(map[Rest]string{RestNames: "names ", RestText: "text  "}[rest] + KindName(k) + " " + string(text) + "\n")
		}
	}
	const path = "testdata/redacted.golden"
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("what is left has changed; look at it, then -update:\n%s", out.String())
	}
}

// Whatever a payload holds, no value of it is left, and redacting again changes
// nothing.
func TestRedact(t *testing.T) {
	const secret = "a value that nobody must see"
	for _, k := range allKinds() {
		rapid.Check(t, func(t *rapid.T) {
			p := kinds[k].make()
			draw(t, reflect.ValueOf(p).Elem())
			plant(reflect.ValueOf(p).Elem(), MustValue(map[string]any{"k": []any{secret}}))
			for _, rest := range []Rest{RestNames, RestText} {
				once, err := Redact(k, Encode(p), rest)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(once, []byte(secret)) {
					t.Fatalf("%s: %q is left", KindName(k), secret)
				}
				for _, again := range []Rest{rest, RestText} {
					if twice, err := Redact(k, once, again); err != nil || !bytes.Equal(once, twice) {
						t.Fatalf("%s, redacted again: %x, %v; before %x", KindName(k), twice, err, once)
					}
				}
			}
		})
	}
	if _, err := Redact(KindRunCreated, []byte("nonsense"), RestNames); err == nil {
		t.Error("nonsense was redacted")
	}
}

// plant puts v into every Value there is.
func plant(x reflect.Value, v Value) {
	switch {
	case x.Type() == reflect.TypeFor[Value]():
		x.Set(reflect.ValueOf(v))
	case x.Kind() == reflect.Struct:
		for i := range x.NumField() {
			plant(x.Field(i), v)
		}
	case x.Kind() == reflect.Slice:
		for i := range x.Len() {
			plant(x.Index(i), v)
		}
	case x.Kind() == reflect.Pointer && !x.IsNil():
		plant(x.Elem(), v)
	}
}
