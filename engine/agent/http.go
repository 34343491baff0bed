package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/projection/event"
)

const (
	// MaxBody is how long the body of a response may be, decompressed.
	MaxBody = 10 << 20

	// connectTimeout bounds connecting and the TLS handshake, each: a host that
	// takes longer is down, however long the answer may take.
	connectTimeout = 5 * time.Second

	maxRedirects      = 5
	maxResponseHeader = 256 << 10
)

// HTTP is the runner of http nodes. The zero value is ready for use.
type HTTP struct {
	// DenyPrivate refuses private addresses also to nodes with allow_private.
	DenyPrivate bool
}

var errRedirects = fmt.Errorf("more than %d redirects", maxRedirects)

// transports by guard. Every request has a connection of its own: a reused one
// may turn out to be dead, and net/http would then send the request again
// without anybody knowing of that attempt.
var publicTransport, privateTransport = transport(public), transport(private)

func transport(g *guard) *http.Transport {
	d := &net.Dialer{Timeout: connectTimeout, Control: g.control}
	return &http.Transport{
		Proxy:                  nil, // the guard sees the address that is connected to, which would be the proxy's
		DialContext:            d.DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
}

// Run implements Runner.
func (h *HTTP) Run(ctx context.Context, t *Task) Answer {
	req, err := newRequest(ctx, t)
	if err != nil {
		return final(event.ClassToolFailed, "%v", err)
	}
	// Paths and queries may hold secrets: messages name the host alone.
	what := req.Method + " " + req.URL.Host
	allow, _ := t.setting("allow_private").(bool)
	allow = allow && !h.DenyPrivate
	rt := publicTransport
	if allow {
		rt = privateTransport
	}
	client := &http.Client{Transport: rt, CheckRedirect: redirect}
	resp, err := client.Do(req)
	if err != nil {
		return h.failed(ctx, t, what, err, allow)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, int64(maxExcerpt+t.Redact.Longest()))) // the status says enough, whatever becomes of the body
		return refusal(what, resp, t.Redact.Head(utf8Of(string(said)), maxExcerpt))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err != nil {
		return h.failed(ctx, t, what+": reading the response", err, allow)
	}
	if len(body) > MaxBody {
		return final(event.ClassToolFailed, "%s: the response is longer than %d bytes", what, MaxBody)
	}
	return Answer{Result: httpResult(resp, body)}
}

func newRequest(ctx context.Context, t *Task) (*http.Request, error) {
	method, err := textOf(t.setting("method"))
	if err != nil {
		return nil, fmt.Errorf("method: %w", err)
	}
	target, err := textOf(t.setting("url"))
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	u, err := url.Parse(strings.TrimSpace(target))
	switch {
	case err != nil:
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL, which may hold secrets
		}
		return nil, fmt.Errorf("url: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("url: want http://host/… or https://host/…")
	}
	body, contentType, err := bodyOf(t.setting("body"))
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, strings.ToUpper(method), u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "wfd")
	req.Header.Set("Idempotency-Key", t.Key())
	if t.Traceparent != "" {
		req.Header.Set("Traceparent", t.Traceparent)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	switch headers := t.setting("headers").(type) {
	case nil:
	case map[string]any:
		for name, v := range headers {
			s, err := textOf(v)
			if err != nil {
				return nil, fmt.Errorf("headers: %s: %w", name, err)
			}
			s = strings.TrimSpace(s) // secrets read from files end in a newline
			if !isToken(name) || strings.ContainsFunc(s, isControl) {
				return nil, fmt.Errorf("headers: %s cannot be sent: its name or its value has characters that no header has", strconv.Quote(name))
			}
			switch http.CanonicalHeaderKey(name) {
			case "Host":
				req.Host = s
			case "Accept-Encoding": // ours, so that the body arrives decompressed
			default:
				req.Header.Set(name, s)
			}
		}
	default:
		return nil, errors.New("headers: want an object")
	}
	return req, nil
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// bodyOf returns a request's body: text as it is, other values as JSON.
func bodyOf(v any) (body io.Reader, contentType string, err error) {
	switch v := v.(type) {
	case nil:
		return nil, "", nil
	case string:
		return strings.NewReader(v), "text/plain; charset=utf-8", nil
	}
	b, err := json.Marshal(v)
	return bytes.NewReader(b), "application/json", err
}

// redirect lets a request follow a redirect. To another origin it takes none of
// the headers that the definition set, since any of them may be a credential, but
// those that never are.
func redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errRedirects
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return fmt.Errorf("redirected to a %s address", req.URL.Scheme)
	}
	elsewhere := func(r *http.Request) bool { return !sameOrigin(via[0].URL, r.URL) }
	if !elsewhere(req) && !slices.ContainsFunc(via, elsewhere) {
		return nil
	}
	kept := http.Header{}
	for _, name := range []string{"Accept", "Accept-Language", "Content-Type", "Idempotency-Key", "User-Agent"} {
		if v := req.Header.Values(name); len(v) > 0 {
			kept[name] = v
		}
	}
	req.Header, req.Host = kept, ""
	return nil
}

// sameOrigin reports whether b is where a is, or its TLS side.
func sameOrigin(a, b *url.URL) bool {
	if !strings.EqualFold(a.Hostname(), b.Hostname()) {
		return false
	}
	return a.Scheme == b.Scheme && port(a) == port(b) || a.Scheme == "http" && b.Scheme == "https" && port(a) == "80" && port(b) == "443"
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
