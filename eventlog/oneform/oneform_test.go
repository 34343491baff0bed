package oneform

import (
	"bytes"
	"testing"
)

type doc struct {
	Name string `json:"name"`
	N    uint64 `json:"n"`
	List []int  `json:"list,omitempty"`
}

func TestDecode(t *testing.T) {
	line, err := Encode(doc{"<a>", 1 << 60, []int{1}})
	if err != nil || string(line) != `{"name":"<a>","n":1152921504606846976,"list":[1]}`+"\n" {
		t.Fatalf("%s, %v", line, err)
	}
	var d doc
	if err := Decode(line, &d); err != nil || d.N != 1<<60 {
		t.Errorf("%+v, %v", d, err)
	}
	for _, bad := range []string{
		``, `{`, `null`, `{"name":"a","n":1} `, ` {"name":"a","n":1}`, `{"n":1,"name":"a"}`, `{"name":"a","n":1,"n":1}`, `{"name":"a","n":1,"x":1}`,
		`{"Name":"a","n":1}`, `{"name":"a","n":1.0}`, `{"name":"\u0061","n":1}`, `{"name":"a"}`, `{"name":"a","n":1,"list":[]}`, `{"name":"a","n":1}{}`,
		"{\"name\":\"a\",\"n\":1}\n\n", `{"name":"\u003ca","n":1}`, "{\"name\":\"\xff\",\"n\":1}",
	} {
		var d doc
		if err := Decode([]byte(bad), &d); err == nil {
			t.Errorf("%q is read as %+v", bad, d)
		}
	}
	var e doc
	if err := DecodeIndented([]byte("{\n  \"name\": \"a\",\n  \"n\": 1\n}\n"), &e); err != nil || e.Name != "a" {
		t.Errorf("%+v, %v", e, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"a","n":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d doc
		if Decode(b, &d) != nil {
			return
		}
		again, err := Encode(d)
		if err != nil || !bytes.Equal(bytes.TrimSuffix(again, []byte("\n")), bytes.TrimSuffix(b, []byte("\n"))) {
			t.Errorf("%q is read and written as %q", b, again)
		}
	})
}
