package access

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/projection/event"
)

const noon = event.Time(1_800_000_000_000_000_000)

func made(t *testing.T, b *Book, s Spec) (*event.TokenCreated, string) {
	t.Helper()
	p, text, err := b.New(s, noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(p, noon, "cli:ann"); err != nil {
		t.Fatal(err)
	}
	return p, text
}

// TestTokens: a token lets its own name in with its own scopes, until it has expired or
// is revoked, and nothing that is only like it does.
func TestTokens(t *testing.T) {
	b := NewBook()
	p, text := made(t, b, Spec{Name: "ci", Scopes: []string{"Run", "worker", "run"}, Life: time.Hour})
	who, err := b.Admit(text, noon)
	if err != nil || who.Actor != "token:ci" || who.Scopes.String() != "run,worker" {
		t.Fatalf("let in as %+v, %v", who, err)
	}
	if strings.Contains(string(event.Encode(p)), text[len(Prefix)+9:]) {
		t.Fatal("the event has the token")
	}
	for name, wrong := range map[string]string{
		"empty": "", "another": func() string { _, s := mint(); return s }(), "upper case": strings.ToUpper(text), "cut": text[:len(text)-1],
		"longer": text + "a", "other prefix": "abc" + text[3:], "its ID": p.ID, "its hash": p.Hash,
		"one letter changed": text[:len(text)-2] + string('a'+('b'-text[len(text)-2])%2) + "x",
	} {
		if who, err := b.Admit(wrong, noon); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: let in as %+v, %v", name, who, err)
		}
	}
	if _, err := b.Admit(text, noon+event.Time(time.Hour)); !errors.Is(err, ErrDenied) {
		t.Errorf("after it has expired: %v", err)
	}
	if _, _, err := b.New(Spec{Name: "ci", Scopes: []string{"read"}}, noon); !errors.Is(err, ErrExists) {
		t.Errorf("a second token of the name: %v", err)
	}
	gone, _, err := b.Revoke("ci", "left", noon)
	if err != nil || gone.ID != p.ID {
		t.Fatalf("revoking by name: %+v, %v", gone, err)
	}
	if err := b.Apply(gone, noon+1, "cli:ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Admit(text, noon+2); !errors.Is(err, ErrDenied) {
		t.Errorf("after it was revoked: %v", err)
	}
	if again, tok, err := b.Revoke(p.ID, "", noon+2); again != nil || err != nil || tok.Revoked != noon+1 {
		t.Errorf("revoking it again: %+v, %+v, %v", again, tok, err)
	}
	if _, _, err := b.Revoke("nobody", "", noon); !errors.Is(err, ErrNotFound) {
		t.Errorf("revoking what is not there: %v", err)
	}
	made(t, b, Spec{Name: "ci", Scopes: []string{"read"}}) // the name is free again
	if list := b.List(); len(list) != 2 {
		t.Errorf("%d tokens are listed", len(list))
	}
}

// TestWrongTokens: what a token cannot be is refused with the reason.
func TestWrongTokens(t *testing.T) {
	for want, s := range map[string]Spec{
		`"root" is not a scope`: {Name: "a", Scopes: []string{"root"}},
		"no scope":              {Name: "a"},
		`name ""`:               {Scopes: []string{"read"}},
		`name "a:b"`:            {Name: "a:b", Scopes: []string{"read"}},
		`name "-a"`:             {Name: "-a", Scopes: []string{"read"}},
		`name "a\nb"`:           {Name: "a\nb", Scopes: []string{"read"}},
		"up to 64 letters":      {Name: strings.Repeat("a", 65), Scopes: []string{"read"}},
		"lives up to":           {Name: "a", Scopes: []string{"read"}, Life: 11 * 365 * 24 * time.Hour},
	} {
		if _, _, err := NewBook().New(s, noon); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", s, err, want)
		}
	}
}

// TestScopesAllow: each scope allows itself and what it includes, and nothing else.
func TestScopesAllow(t *testing.T) {
	want := map[Scope]string{
		Read: "read", Run: "read,run", Operate: "read,run,operate", Worker: "worker", Admin: "read,run,operate,worker,admin",
	}
	for _, have := range All {
		var got Scopes
		for _, s := range All {
			if (Scopes{have}).Allow(s) {
				got = append(got, s)
			}
		}
		if got.String() != want[have] {
			t.Errorf("%s allows %s, want %s", have, got, want[have])
		}
	}
	if (Scopes{"later"}).Allow(Read) || (Scopes)(nil).Allow(Read) {
		t.Error("what is no scope allows something")
	}
}
