package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// DefaultAddr is where a daemon listens that was told nothing else.
const DefaultAddr = "127.0.0.1:7117"

// ErrUnreachable: no daemon answers at the address.
var ErrUnreachable = errors.New("no daemon answers")

// Client makes requests to one daemon. Its methods may be called from several
// goroutines.
type Client struct {
	http      *http.Client
	base      string
	token     string
	namespace string
	patience  time.Duration
}

// Option changes how a client works.
type Option func(*Client)

// Token is sent with every request, to a daemon that asks for one.
func Token(token string) Option { return func(c *Client) { c.token = token } }

// Namespace is what every request is about; without, it is the default one, or that of
// the token.
func Namespace(name string) Option { return func(c *Client) { c.namespace = name } }

// Transport makes the requests, in the place of http.DefaultTransport.
func Transport(rt http.RoundTripper) Option { return func(c *Client) { c.http.Transport = rt } }

// TLS is how the client speaks TLS, with an address that says https: whom it trusts, and
// the certificate that it shows.
func TLS(config *tls.Config) Option {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	return Transport(transport)
}

// Patience is how long a daemon that cannot be reached, that starts, or that has too
// much to do, is asked again before it counts as an error; 30s if it is not said.
func Patience(d time.Duration) Option { return func(c *Client) { c.patience = d } }

const defaultPatience = 30 * time.Second

// New returns a client of the daemon at addr, host:port or a URL.
func New(addr string, options ...Option) (*Client, error) {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("address %q: want host:port or a URL", addr)
	}
	c := &Client{http: &http.Client{}, base: strings.TrimSuffix(u.String(), "/"), patience: defaultPatience}
	for _, o := range options {
		o(c)
	}
	return c, nil
}

// FromEnv returns a client of the daemon that the environment names, as the command
// line has it: WFD_ADDR, else [DefaultAddr], WFD_TOKEN and WFD_NAMESPACE.
func FromEnv(options ...Option) (*Client, error) {
	return New(cmp.Or(os.Getenv("WFD_ADDR"), DefaultAddr), append([]Option{Token(os.Getenv("WFD_TOKEN")), Namespace(os.Getenv("WFD_NAMESPACE"))}, options...)...)
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

// Do makes a request, once, and returns the answer's body and status. An answer that
// is a problem is a *Problem.
func (c *Client) Do(ctx context.Context, r Request) (json.RawMessage, int, error) {
	resp, err := c.Open(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, brokenOff(ctx, err)
	}
	return b, resp.StatusCode, nil
}

// Get makes a request, once, and decodes the answer into out.
func (c *Client) Get(ctx context.Context, r Request, out any) error {
	b, _, err := c.Do(ctx, r)
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	return err
}

// Open makes a request, once, and returns the answer with its body open.
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
	for k, v := range map[string]string{"Content-Type": media, "Accept": r.Accept, "Idempotency-Key": r.Key, "Wfd-Namespace": c.namespace} {
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
		return nil, brokenOff(ctx, err)
	}
	p, ok := ParseProblem(b)
	if !ok {
		return nil, fmt.Errorf("%w at %s: %s is not an answer of wfd", ErrUnreachable, c.base, resp.Status)
	}
	p.retryAfter(resp.Header.Get("Retry-After"))
	return nil, p
}

func brokenOff(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: the answer broke off: %w", ErrUnreachable, err)
}
