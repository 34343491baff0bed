package main

import (
	"context"
	"encoding/json"

	"github.com/wfd-dev/wfd/client"
)

// ask makes one request.
func (a *app) ask(ctx context.Context, n need, r client.Request) (raw json.RawMessage, err error) {
	s, err := a.connect(ctx, n)
	if err != nil {
		return nil, err
	}
	defer closeInto(s, &err)
	raw, _, err = s.Do(ctx, r)
	return raw, err
}

// exchange makes one request and prints its answer.
func (a *app) exchange(ctx context.Context, n need, r client.Request, show func(t *text, raw []byte)) error {
	raw, err := a.ask(ctx, n, r)
	if err != nil {
		return err
	}
	return a.print(raw, func(t *text) { show(t, raw) })
}

// exchangeList is exchange for a page of a list.
func (a *app) exchangeList(ctx context.Context, n need, r client.Request, show func(t *text, raw []byte)) error {
	raw, err := a.ask(ctx, n, r)
	if err != nil {
		return err
	}
	return a.printList(raw, func(t *text) { show(t, raw) })
}

// answerOf reads an answer that is to be shown.
func answerOf[T any](t *text, raw []byte) (v T) {
	if err := json.Unmarshal(raw, &v); err != nil {
		t.err = err
	}
	return v
}
