package main

import (
	"context"
	"encoding/json"
	"net/url"

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

// exchangeAll is exchange for a list that is shown whole.
func (a *app) exchangeAll(ctx context.Context, n need, path string, show func(t *text, raw []byte)) (err error) {
	s, err := a.connect(ctx, n)
	if err != nil {
		return err
	}
	defer closeInto(s, &err)
	raw, err := allOf(ctx, s, path)
	if err != nil {
		return err
	}
	return a.printList(raw, func(t *text) { show(t, raw) })
}

// allOf asks for a list page by page, and returns it as one.
func allOf(ctx context.Context, s *session, path string) (json.RawMessage, error) {
	all := client.List[json.RawMessage]{Items: []json.RawMessage{}}
	for cursor := ""; ; {
		raw, _, err := s.Do(ctx, client.Request{Path: path, Query: url.Values{"limit": {"1000"}, "cursor": {cursor}}})
		if err != nil {
			return nil, err
		}
		var page client.List[json.RawMessage]
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, err
		}
		all.Items = append(all.Items, page.Items...)
		if cursor = page.Next; cursor == "" {
			return json.Marshal(all)
		}
	}
}

// answerOf reads an answer that is to be shown.
func answerOf[T any](t *text, raw []byte) (v T) {
	if err := json.Unmarshal(raw, &v); err != nil {
		t.err = err
	}
	return v
}
