// Package oidc tells who brings a JSON Web Token of an identity provider that the
// operator trusts.
//
// A token is good if the provider signed it (with an asymmetric algorithm: a shared
// secret would let whoever can check tokens make some), for this daemon's audience, and
// it has not expired. Its claim "scope", a list or words between spaces, says what its
// subject may do: wfd:read, wfd:run and so on; what else is there is for others.
package oidc

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/wfd-dev/wfd/engine/access"
)

const (
	// fetchTime bounds the look-up of keys at the provider; a request waits for patience.
	fetchTime = 10 * time.Second
	patience  = 3 * time.Second
	// retryAfter is how soon the provider is asked again after it did not answer.
	retryAfter = 10 * time.Second
	maxToken   = 16 << 10
	maxSubject = 128
	prefix     = "wfd:" // of scopes that are wfd's
)

var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

// Options of a Provider.
type Options struct {
	Issuer   string // its URL, as the claim iss has it
	Audience string // what the claim aud must name
	Keys     string // file with its keys, a JWK set; "": they are found by its discovery document
	Now      func() time.Time
}

// Provider is an identity provider.
type Provider struct {
	o      Options
	client *http.Client

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil: the provider was not reached yet
	asking   chan struct{}         // closed when the look-up under way has ended; nil: there is none
	next     time.Time             // not asked again before
	failure  error
}

// Open returns a provider. One that is not reached now is asked again when a token of
// it comes.
func Open(o Options) (*Provider, error) {
	if o.Issuer == "" || o.Audience == "" {
		return nil, errors.New("an issuer needs an audience, and an audience an issuer")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Provider{o: o, client: &http.Client{Timeout: fetchTime}}
	if o.Keys == "" {
		if !strings.HasPrefix(o.Issuer, "https://") {
			return nil, fmt.Errorf("issuer %q: want an https URL, or a file of its keys", o.Issuer)
		}
		return p, nil
	}
	b, err := os.ReadFile(o.Keys)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Keys, err)
	}
	p.verifier = oidc.NewVerifier(o.Issuer, keys, p.config())
	return p, nil
}

func (p *Provider) config() *oidc.Config {
	return &oidc.Config{ClientID: p.o.Audience, SupportedSigningAlgs: algorithms, Now: p.o.Now}
}

func parseKeys(b []byte) (*oidc.StaticKeySet, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("not a JWK set: %w", err)
	}
	s := &oidc.StaticKeySet{}
	for _, k := range set.Keys {
		if !k.Valid() || !k.IsPublic() {
			return nil, fmt.Errorf("key %q is not a valid public key", k.KeyID)
		}
		s.PublicKeys = append(s.PublicKeys, crypto.PublicKey(k.Key))
	}
	if len(s.PublicKeys) == 0 {
		return nil, errors.New("no keys in the JWK set")
	}
	return s, nil
}

// Identify returns who brings a token; an error that is access.ErrDenied says why it
// is not good, one that is access.ErrUnavailable that the provider could not be asked.
func (p *Provider) Identify(ctx context.Context, token string) (access.Principal, error) {
	if len(token) > maxToken {
		return access.Principal{}, fmt.Errorf("%w: it is longer than %d bytes", access.ErrDenied, maxToken)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := p.ask(ctx)
	if err != nil {
		return access.Principal{}, err
	}
	t, err := v.Verify(oidc.ClientContext(ctx, p.client), token)
	switch {
	case err != nil && strings.Contains(err.Error(), "fetching keys"): // as the library says it
		return access.Principal{}, fmt.Errorf("%w: %w", access.ErrUnavailable, err)
	case err != nil:
		return access.Principal{}, fmt.Errorf("%w: %w", access.ErrDenied, err)
	}
	var claims struct {
		Scope  words `json:"scope"`
		Scopes words `json:"scp"` // as some providers call it
	}
	if err := t.Claims(&claims); err != nil {
		return access.Principal{}, fmt.Errorf("%w: claims: %w", access.ErrDenied, err)
	}
	if t.Subject == "" || len(t.Subject) > maxSubject {
		return access.Principal{}, fmt.Errorf("%w: its subject has %d bytes, want 1 to %d", access.ErrDenied, len(t.Subject), maxSubject)
	}
	who := access.Principal{Actor: "jwt:" + t.Subject}
	for _, s := range slices.Concat(claims.Scope, claims.Scopes) {
		if said, ok := strings.CutPrefix(s, prefix); ok {
			if _, err := who.Grant(said); err != nil {
				return access.Principal{}, err
			}
		}
	}
	return who, nil
}

// ask returns what verifies tokens; the provider is asked for it the first time, once for
// all who wait.
func (p *Provider) ask(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	for {
		p.mu.Lock()
		v, asking, failure := p.verifier, p.asking, p.failure
		switch {
		case v != nil:
			p.mu.Unlock()
			return v, nil
		case asking != nil:
		case p.o.Now().Before(p.next):
			p.mu.Unlock()
			return nil, failure
		default:
			asking = make(chan struct{})
			p.asking = asking
			go p.discover(asking)
		}
		p.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the identity provider %s has not answered yet", access.ErrUnavailable, p.o.Issuer)
		}
	}
}

// discover asks the provider, which is bounded by fetchTime, and closes done.
func (p *Provider) discover(done chan struct{}) {
	// The keys are fetched again under this context for as long as the provider is
	// known, so that it must not be a request's.
	found, err := oidc.NewProvider(oidc.ClientContext(context.Background(), p.client), p.o.Issuer)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.next, p.failure = p.o.Now().Add(retryAfter), fmt.Errorf("%w: the identity provider %s does not answer: %w", access.ErrUnavailable, p.o.Issuer, err)
	} else {
		p.verifier = found.Verifier(p.config())
	}
	p.asking = nil
	close(done)
}

// words is a list of strings, or one string of them between spaces.
type words []string

// UnmarshalJSON implements json.Unmarshaler.
func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = strings.Fields(one)
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}
