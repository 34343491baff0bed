package engine

import (
	"context"
	"sync"

	"github.com/wfd-dev/wfd/engine/access"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// accesses are the tokens of the log, read when the first is asked for.
type accesses struct {
	change sync.Mutex // one change at a time: each is decided on those before it

	mu   sync.Mutex
	book *access.Book // nil: not read yet
}

// accessBook returns the tokens of the log.
func (e *Engine) accessBook() (*access.Book, error) {
	a := &e.access
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.book != nil {
		return a.book, nil
	}
	book := access.NewBook()
	for after := eventlog.Version(0); ; {
		events, err := e.log.ReadRun(event.Access, after, loadPage)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			a.book = book
			return book, nil
		}
		for _, ev := range events {
			p, err := event.Decode(ev.Kind, ev.Payload)
			if err == nil {
				err = book.Apply(p, event.Time(ev.Time), ev.Actor)
			}
			if err != nil {
				return nil, err
			}
			after = ev.Version
		}
	}
}

// CreateToken makes a token. The text is the token itself: it is kept nowhere.
func (e *Engine) CreateToken(ctx context.Context, s access.Spec, actor string) (t access.Token, text string, err error) {
	book, err := e.accessBook()
	if err != nil {
		return t, "", err
	}
	e.access.change.Lock()
	defer e.access.change.Unlock()
	at := e.now()
	p, text, err := book.New(s, at)
	if err != nil {
		return t, "", err
	}
	if err := e.changeAccess(ctx, book, p, at, actor); err != nil {
		return t, "", err
	}
	for _, t := range book.List() {
		if t.ID == p.ID {
			return t, text, nil
		}
	}
	return t, text, nil
}

// RevokeToken revokes the token with this ID or name. One that was revoked before stays so.
func (e *Engine) RevokeToken(ctx context.Context, name, reason, actor string) (access.Token, error) {
	book, err := e.accessBook()
	if err != nil {
		return access.Token{}, err
	}
	e.access.change.Lock()
	defer e.access.change.Unlock()
	at := e.now()
	p, t, err := book.Revoke(name, reason, at)
	if err != nil || p == nil {
		return t, err
	}
	if err := e.changeAccess(ctx, book, p, at, actor); err != nil {
		return t, err
	}
	t.Revoked = at
	return t, nil
}

// changeAccess appends what was decided on the book, and applies it once it is on disk.
// If we crash in between, the next start reads it.
func (e *Engine) changeAccess(ctx context.Context, book *access.Book, p event.Payload, at event.Time, actor string) error {
	if err := e.accepting(false); err != nil {
		return err
	}
	if _, err := appendFact(ctx, e.log, event.Access, p, actor, at); err != nil {
		return e.stored(err)
	}
	return book.Apply(p, at, actor)
}

// ListTokens lists the tokens, the newest first.
func (e *Engine) ListTokens() ([]access.Token, error) {
	book, err := e.accessBook()
	if err != nil {
		return nil, err
	}
	return book.List(), nil
}

// Admit returns who brings a token, and access.ErrDenied if it is not good.
func (e *Engine) Admit(token string) (access.Principal, error) {
	book, err := e.accessBook()
	if err != nil {
		return access.Principal{}, err
	}
	return book.Admit(token, e.now())
}
