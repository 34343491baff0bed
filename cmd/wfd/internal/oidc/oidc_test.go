package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/wfd-dev/wfd/engine/access"
)

const issuer, audience = "https://id.example", "wfd"

var now = time.Unix(1_800_000_000, 0)

func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(claims)
	signed, err := s.Sign(b)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func claims(change func(map[string]any)) map[string]any {
	c := map[string]any{"iss": issuer, "aud": audience, "sub": "ann", "scope": "openid wfd:run wfd:worker wfd:unknown", "exp": now.Add(time.Hour).Unix()}
	if change != nil {
		c = maps.Clone(c)
		change(c)
	}
	return c
}

// TestIdentify: a token of the provider names its subject and his scopes; one that is
// wrong in any one way is none.
func TestIdentify(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	set, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: rsaKey.Public()}, {Key: ecKey.Public()}, {Key: edKey.Public()}}})
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Open(Options{Issuer: issuer, Audience: audience, Keys: file, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"RSA":     sign(t, jose.RS256, rsaKey, claims(nil)),
		"EC":      sign(t, jose.ES256, ecKey, claims(nil)),
		"Ed25519": sign(t, jose.EdDSA, edKey, claims(func(c map[string]any) { c["aud"] = []string{"other", audience} })),
		"scp":     sign(t, jose.ES256, ecKey, claims(func(c map[string]any) { delete(c, "scope"); c["scp"] = []string{"wfd:run", "wfd:worker"} })),
	} {
		who, err := p.Identify(t.Context(), token)
		if err != nil || who.Actor != "jwt:ann" || who.Scopes.String() != "run,worker" {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
	public, _ := x509.MarshalPKIXPublicKey(rsaKey.Public())
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	body, _ := json.Marshal(claims(nil))
	good := sign(t, jose.ES256, ecKey, claims(nil))
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"of another key":              sign(t, jose.ES256, other, claims(nil)),
		"of another provider":         sign(t, jose.ES256, ecKey, claims(func(c map[string]any) { c["iss"] = "https://evil.example" })),
		"for another":                 sign(t, jose.ES256, ecKey, claims(func(c map[string]any) { c["aud"] = "payroll" })),
		"for nobody":                  sign(t, jose.ES256, ecKey, claims(func(c map[string]any) { delete(c, "aud") })),
		"expired":                     sign(t, jose.ES256, ecKey, claims(func(c map[string]any) { c["exp"] = now.Add(-time.Minute).Unix() })),
		"without an end":              sign(t, jose.ES256, ecKey, claims(func(c map[string]any) { delete(c, "exp") })),
		"not yet good":                sign(t, jose.ES256, ecKey, claims(func(c map[string]any) { c["nbf"] = now.Add(time.Hour).Unix() })),
		"without a subject":           sign(t, jose.ES256, ecKey, claims(func(c map[string]any) { delete(c, "sub") })),
		"with a long subject":         sign(t, jose.ES256, ecKey, claims(func(c map[string]any) { c["sub"] = strings.Repeat("a", 300) })),
		"of a shared secret":          sign(t, jose.HS256, public, claims(nil)),
		"without a signature":         none + "." + base64.RawURLEncoding.EncodeToString(body) + ".",
		"with a signature cut off":    parts[0] + "." + parts[1] + ".",
		"with other claims":           parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(body), "run", "admin", 1))) + "." + parts[2],
		"too long":                    good + strings.Repeat("a", maxToken),
		"no token":                    "a.b.c",
		"with scopes of another form": sign(t, jose.ES256, ecKey, claims(func(c map[string]any) { c["scope"] = map[string]any{"wfd:admin": true} })),
	} {
		if who, err := p.Identify(t.Context(), token); !errors.Is(err, access.ErrDenied) {
			t.Errorf("a token %s is %+v, %v", name, who, err)
		}
	}
}

// TestOpen: settings that cannot be meant are refused.
func TestOpen(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	for want, o := range map[string]Options{
		"needs an audience":      {Issuer: issuer},
		"an issuer":              {Audience: audience},
		"want an https URL":      {Issuer: "http://id.example", Audience: audience},
		"no such file":           {Issuer: issuer, Audience: audience, Keys: filepath.Join(dir, "none")},
		"not a JWK set":          {Issuer: issuer, Audience: audience, Keys: write("a", "keys")},
		"no keys":                {Issuer: issuer, Audience: audience, Keys: write("b", `{"keys": []}`)},
		"not a valid public key": {Issuer: issuer, Audience: audience, Keys: write("c", `{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}`)},
	} {
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
}

// A provider that does not answer keeps nobody waiting for long, and is asked once for all
// who come meanwhile; whether their tokens are good cannot be told. It is asked again later.
func TestProviderHangs(t *testing.T) {
	var asked atomic.Int32
	released := make(chan struct{})
	hangs := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-released
		http.Error(w, "out of order", http.StatusBadGateway)
	}))
	defer hangs.Close()
	p, err := Open(Options{Issuer: hangs.URL, Audience: audience, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	p.client = hangs.Client()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // whoever asks waits no longer
	for range 10 {
		if _, err := p.Identify(ctx, "a.b.c"); !errors.Is(err, access.ErrUnavailable) {
			t.Fatalf("%v", err)
		}
	}
	close(released)
	if _, err := p.Identify(t.Context(), "a.b.c"); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// Keys that cannot be fetched make no token a bad one.
func TestKeysUnavailable(t *testing.T) {
	var s *httptest.Server
	s = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			http.Error(w, "out of order", http.StatusBadGateway)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"issuer": s.URL, "jwks_uri": s.URL + "/keys"})
	}))
	defer s.Close()
	p, err := Open(Options{Issuer: s.URL, Audience: audience, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	p.client = s.Client()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, err = p.Identify(t.Context(), sign(t, jose.ES256, key, claims(func(c map[string]any) { c["iss"] = s.URL })))
	if !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
