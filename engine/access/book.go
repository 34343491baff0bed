package access

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/projection/event"
)

var (
	// ErrDenied: the token is none of this log, has expired or was revoked. Which of
	// these is for the log of the daemon, and not for the one who brought it.
	ErrDenied = errors.New("the token is not good")
	// ErrUnavailable: whether the token is good cannot be told at the moment.
	ErrUnavailable = errors.New("who brings the token cannot be told at the moment")
	// ErrNotFound: there is no such token.
	ErrNotFound = errors.New("no such token")
	// ErrExists: a token in force has that name.
	ErrExists = errors.New("a token has that name")
)

// Token is a token as it is listed: without what makes it one.
type Token struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Scopes  Scopes     `json:"scopes"`
	Created event.Time `json:"created"`
	By      string     `json:"by" doc:"who made it"`
	Expires event.Time `json:"expires,omitempty"`
	Revoked event.Time `json:"revoked,omitempty"`
	Used    event.Time `json:"used,omitempty" doc:"when it was last brought, since the daemon was started"`
	// Namespace is the name of the one that it is kept to.
	Namespace string `json:"namespace,omitempty" doc:"all that it is good for; absent: every namespace"`
}

// inForce reports whether the token is good at a time.
func (t *Token) inForce(now event.Time) bool {
	return t.Revoked == 0 && (t.Expires == 0 || now < t.Expires)
}

type entry struct {
	Token
	hash string
}

// Book has the tokens of a log: the fold of the stream [event.Access]. Its methods
// may be called concurrently.
type Book struct {
	mu   sync.Mutex
	byID map[string]*entry
}

// NewBook returns the book of an empty log.
func NewBook() *Book { return &Book{byID: map[string]*entry{}} }

// Apply folds an event that by caused.
func (b *Book) Apply(p event.Payload, at event.Time, by string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch p := p.(type) {
	case *event.TokenCreated:
		e := &entry{Token: Token{ID: p.ID, Name: p.Name, Created: at, By: by, Expires: p.Expires, Namespace: p.Namespace}, hash: p.Hash}
		for _, s := range p.Scopes {
			e.Scopes = append(e.Scopes, Scope(s)) // one that a later version knows allows nothing here
		}
		b.byID[p.ID] = e
	case *event.TokenRevoked:
		if e := b.byID[p.ID]; e != nil {
			e.Revoked = at
		}
	default:
		return fmt.Errorf("%s in the stream of access", event.KindName(p.Kind()))
	}
	return nil
}

// Spec is what a token is to be.
type Spec struct {
	Name   string
	Scopes []string
	Life   time.Duration // 0: for ever
	Reason string
	// Namespace is all that it is good for; "": every one.
	Namespace string
}

// New returns the event that makes a token, and the token itself, which is in
// nothing else. The event is to be appended and applied.
func (b *Book) New(s Spec, now event.Time) (*event.TokenCreated, string, error) {
	if err := checkName(s.Name); err != nil {
		return nil, "", err
	}
	scopes, err := ParseScopes(s.Scopes)
	if err != nil {
		return nil, "", err
	}
	if _, err := event.ParseNamespace(s.Namespace); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if s.Namespace != "" && slices.Contains(scopes, Admin) {
		return nil, "", fmt.Errorf("%w: admin is for the whole log, and not for one namespace: make it of read, run, operate or worker", ErrInvalid)
	}
	p := &event.TokenCreated{Name: s.Name, Scopes: scopes.Strings(), Reason: s.Reason, Namespace: s.Namespace}
	switch {
	case s.Life < 0 || s.Life > maxLife:
		return nil, "", fmt.Errorf("%w: a token lives up to %d days, or for ever", ErrInvalid, int(maxLife.Hours()/24))
	case s.Life > 0:
		p.Expires = now + event.Time(s.Life)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, e := range b.byID {
		if !e.inForce(now) {
			continue
		}
		if n++; e.Name == s.Name {
			return nil, "", fmt.Errorf("%w: %q is token %s; revoke it first, or choose another name", ErrExists, s.Name, e.ID)
		}
	}
	if n >= maxTokens {
		return nil, "", fmt.Errorf("%w: there are %d tokens, the most that there can be; revoke some", ErrInvalid, n)
	}
	var text string
	for taken := true; taken; {
		p.ID, text = mint()
		taken = b.byID[p.ID] != nil
	}
	p.Hash = hashOf(text)
	return p, text, nil
}

// Revoke returns the event that revokes the token with this ID or name; nil if it is
// revoked already.
func (b *Book) Revoke(name, reason string, now event.Time) (*event.TokenRevoked, Token, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.byID[name]
	for _, other := range b.byID {
		if e == nil && other.Name == name && other.inForce(now) {
			e = other
		}
	}
	switch {
	case e == nil:
		return nil, Token{}, fmt.Errorf("%w: %q", ErrNotFound, name)
	case e.Revoked != 0:
		return nil, e.Token, nil
	}
	return &event.TokenRevoked{ID: e.ID, Name: e.Name, Reason: reason}, e.Token, nil
}

// Admit returns who brings a token.
func (b *Book) Admit(text string, now event.Time) (Principal, error) {
	id, ok := idOf(text)
	if !ok {
		return Principal{}, fmt.Errorf("%w: it is not a token of wfd", ErrDenied)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.byID[id]
	// Whether there is a token with this ID is no secret: it is shown in lists.
	if e == nil || subtle.ConstantTimeCompare([]byte(hashOf(text)), []byte(e.hash)) != 1 {
		return Principal{}, fmt.Errorf("%w: it is none of this log", ErrDenied)
	}
	if !e.inForce(now) {
		return Principal{}, fmt.Errorf("%w: %s has expired or was revoked", ErrDenied, e.ID)
	}
	e.Used = now
	who := Principal{Actor: "token:" + e.Name, Scopes: e.Scopes}
	if e.Namespace != "" {
		n, err := event.ParseNamespace(e.Namespace)
		if err != nil {
			return Principal{}, fmt.Errorf("%w: %s is kept to %w", ErrDenied, e.ID, err)
		}
		who.Only = &n
	}
	return who, nil
}

// List returns the tokens, the newest first.
func (b *Book) List() []Token {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Token, 0, len(b.byID))
	for _, e := range b.byID {
		list = append(list, e.Token)
	}
	slices.SortFunc(list, func(x, y Token) int {
		return cmp.Or(cmp.Compare(y.Created, x.Created), cmp.Compare(x.ID, y.ID))
	})
	return list
}
