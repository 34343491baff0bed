package model

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/projection/event"
)

// Limits of what a provider may send, so that no answer costs more memory than this.
const (
	// MaxText is how long the text of an answer may be, in bytes, and MaxBody how long
	// a body that carries one.
	MaxText = 4 << 20
	MaxBody = 8 << 20
	// MaxStream is how long a stream of events may be: every few characters of text
	// come in an event of some hundred bytes.
	MaxStream = 256 << 20
	// MaxLine is how long a line of a stream may be.
	MaxLine = 1 << 20

	maxHeader  = 256 << 10
	maxExcerpt = 64 << 10
	maxWait    = 24 * time.Hour // longest wait that is taken from the other side

	connectTimeout = 10 * time.Second
	idlePerHost    = 128
)

// ErrTooLong: the other side sent more than it may.
var ErrTooLong = errors.New("the answer is too long")

// Client is the HTTP client of all providers. Connections are kept, since setting one
// up can take as long as an answer.
var Client = &http.Client{
	Transport: bounded{&http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		ForceAttemptHTTP2:      true,
	}},
	// A redirect would carry the key to somebody else.
	CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
}

var errRedirect = errors.New("the server redirects elsewhere")

// bounded bounds what responses hold.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	limit := &limited{ReadCloser: resp.Body, left: MaxBody}
	if IsStream(resp.Header) {
		limit.left, limit.lines = MaxStream, true
	}
	resp.Body = limit
	return resp, nil
}

// IsStream reports whether a response is a stream of events.
func IsStream(h http.Header) bool {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && media == "text/event-stream"
}

// limited is a body that ends with an error where it becomes too long.
type limited struct {
	io.ReadCloser
	left  int64
	lines bool // the length of lines counts, too
	line  int
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, ErrTooLong
	}
	if l.lines {
		for _, c := range p[:n] {
			if l.line++; c == '\n' {
				l.line = 0
			}
		}
		if l.line > MaxLine {
			return 0, ErrTooLong
		}
	}
	return n, err
}

// Refusal returns what a response with a status of 400 and above says, and closes it.
func Refusal(resp *http.Response) *Error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxExcerpt)) // the status says enough, whatever becomes of the body
	what, kinds := said(body)
	if what != "" {
		what = ": " + what
	}
	what = fmt.Sprintf("%d %s%s", resp.StatusCode, http.StatusText(resp.StatusCode), what)
	e := byKind(kinds, what)
	if e == nil {
		e = byStatus(resp.StatusCode, what)
	}
	if e.Again == nil {
		e.After = RetryAfter(resp.Header, time.Now())
	}
	return e
}

// Told returns what an error says that came as JSON in the middle of an answer.
func Told(body []byte) *Error {
	what, kinds := said(body)
	if e := byKind(kinds, what); e != nil {
		return e
	}
	return Failed(event.ClassUnavailable, "%s", what)
}

// said finds the message of an error, and what it calls itself, in the forms that
// providers and servers like theirs use.
func said(body []byte) (message string, kinds []string) {
	text := strings.TrimSpace(strings.ToValidUTF8(string(body), string(utf8.RuneError)))
	var whole map[string]any
	if json.Unmarshal(body, &whole) != nil {
		return text, nil
	}
	in := whole
	switch e := whole["error"].(type) {
	case map[string]any:
		in = e
	case string:
		return e, nil
	}
	for _, k := range []string{"code", "type"} {
		if s, ok := in[k].(string); ok {
			kinds = append(kinds, s)
		}
	}
	for _, k := range []string{"message", "detail"} {
		if s, ok := in[k].(string); ok {
			return s, kinds
		}
	}
	return text, kinds
}

// byKind returns the error that one of kinds says more exactly than a status, nil if
// none does.
func byKind(kinds []string, what string) *Error {
	for _, k := range kinds {
		switch k {
		case "insufficient_quota", "billing_error", "billing_hard_limit_reached":
			return Final(event.ClassBudget, "%s", what)
		case "rate_limit_exceeded", "rate_limit_error":
			return Failed(event.ClassRateLimit, "%s", what)
		case "overloaded_error", "server_error", "api_error", "internal_server_error":
			return Failed(event.ClassUnavailable, "%s", what)
		case "timeout_error":
			return Failed(event.ClassTimeout, "%s", what)
		case "authentication_error", "permission_error", "invalid_api_key":
			return Final(event.ClassAuth, "%s", what)
		case "context_length_exceeded":
			return Final(event.ClassToolFailed, "%s", what)
		}
	}
	return nil
}

func byStatus(status int, what string) *Error {
	switch {
	case status == http.StatusTooManyRequests:
		return Failed(event.ClassRateLimit, "%s", what)
	case status == http.StatusRequestTimeout:
		return Failed(event.ClassTimeout, "%s", what)
	case status >= 500, status == http.StatusConflict:
		return Failed(event.ClassUnavailable, "%s", what)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Final(event.ClassAuth, "%s", what)
	case status == http.StatusPaymentRequired:
		return Final(event.ClassBudget, "%s", what)
	case status == http.StatusNotFound:
		return Final(event.ClassNotFound, "%s", what)
	}
	return Final(event.ClassToolFailed, "%s", what)
}

// TransportError returns what became of a request that has no whole response. ctx's
// own error is returned as it is.
func TransportError(ctx context.Context, err error) error {
	var known *Error
	var cert *tls.CertificateVerificationError
	var ue *url.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known):
		return known
	case errors.Is(err, ErrTooLong):
		return Final(event.ClassInvalidOutput, "the answer is longer than the %d bytes a provider may send", MaxStream)
	case errors.Is(err, errRedirect):
		return Final(event.ClassToolFailed, "%v", errRedirect)
	case errors.As(err, &cert):
		return Final(event.ClassNetwork, "%v", cert)
	case errors.As(err, &ue):
		err = ue.Err // without the URL
	}
	return Failed(event.ClassNetwork, "%v", err)
}

// RetryAfter reads how long to wait: Retry-After-Ms, or Retry-After in seconds or as a
// date. 0 is no wait.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(strings.TrimSpace(h.Get("Retry-After-Ms")), 64); err == nil && ms > 0 {
		return time.Duration(min(ms, float64(maxWait/time.Millisecond)) * float64(time.Millisecond))
	}
	s := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseFloat(s, 64); err == nil && n == n { // NaN is no number
		return time.Duration(min(max(n, 0), maxWait.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxWait)
}
