// Package client speaks to the API for the CLI: over a socket, or straight to a
// handler in the same process.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
)

// ErrUnreachable: no daemon answers at the address.
var ErrUnreachable = errors.New("no daemon answers")

// Client makes requests to one API.
type Client struct {
	http  *http.Client
	base  string
	token string
}

// New returns a client of the daemon at addr, host:port or a URL.
func New(addr, token string) (*Client, error) {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("address %q: want host:port or a URL", addr)
	}
	return &Client{http: &http.Client{}, base: strings.TrimSuffix(u.String(), "/"), token: token}, nil
}

// Inside returns a client of a handler in this process.
func Inside(h http.Handler, actor string) *Client {
	return &Client{http: &http.Client{Transport: inside{h, actor}}, base: "http://wfd"}
}

// Request is one request. In is sent as JSON unless it is a []byte.
type Request struct {
	Method string // "": GET, or POST if there is a body
	Path   string // escaped
	Query  url.Values
	In     any
	Type   string // of a []byte
	Accept string
	Key    string // Idempotency-Key
}

// Do makes a request and returns the answer's body and status. An answer that is
// a problem is a *api.Problem.
func (c *Client) Do(ctx context.Context, r Request) (json.RawMessage, int, error) {
	resp, err := c.Open(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: the answer broke off: %w", ErrUnreachable, err)
	}
	return b, resp.StatusCode, nil
}

// Get makes a request and decodes the answer into out.
func (c *Client) Get(ctx context.Context, r Request, out any) error {
	b, _, err := c.Do(ctx, r)
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	return err
}

// Open makes a request and returns the answer with its body open.
func (c *Client) Open(ctx context.Context, r Request) (*http.Response, error) {
	var body io.Reader
	media := r.Type
	switch in := r.In.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(in)
	default:
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body, media = bytes.NewReader(b), "application/json"
	}
	if r.Method == "" {
		r.Method = http.MethodGet
		if body != nil {
			r.Method = http.MethodPost
		}
	}
	target := c.base + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err != nil {
		return nil, err
	}
	for k, v := range map[string]string{"Content-Type": media, "Accept": r.Accept, "Idempotency-Key": r.Key} {
		if v != "" {
			req.Header.Set(k, v)
		}
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, errors.Unwrap(err))
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return nil, fmt.Errorf("%w: the answer broke off: %w", ErrUnreachable, err)
	}
	p := &api.Problem{}
	if json.Unmarshal(b, p) != nil || p.Type == "" {
		return nil, fmt.Errorf("%w at %s: %s is not an answer of wfd", ErrUnreachable, c.base, resp.Status)
	}
	return nil, p
}
