package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/projection/event"
)

const (
	// maxExcerpt is how much of the body of a refusal its message tells.
	maxExcerpt = 300

	// maxParsed is the longest body that is also decoded. A longer one, twice in
	// the result, would be more than an event may hold.
	maxParsed = 7 << 20
)

func httpResult(resp *http.Response, body []byte) map[string]any {
	headers := make(map[string]any, len(resp.Header))
	for name, values := range resp.Header {
		if name != "Set-Cookie" { // a credential, which has no place in a result
			headers[name] = utf8Of(strings.Join(values, ", "))
		}
	}
	r := map[string]any{"status": int64(resp.StatusCode), "headers": headers, "body": utf8Of(string(body))}
	if len(body) <= maxParsed {
		if v, err := event.DecodeJSON(body); err == nil {
			r["json"] = v
		}
	}
	return r
}

func utf8Of(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }

// refusal is the answer for a status of 400 and above.
func refusal(what string, resp *http.Response, excerpt string) Answer {
	said := strings.TrimSpace(utf8Of(excerpt))
	if said != "" {
		said = ": " + said
	}
	answer := final
	class := event.ClassToolFailed
	switch s := resp.StatusCode; {
	case s == http.StatusTooManyRequests:
		class, answer = event.ClassRateLimit, Fail
	case s == http.StatusRequestTimeout:
		class, answer = event.ClassTimeout, Fail
	case s >= 500:
		class, answer = event.ClassUnavailable, Fail
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		class = event.ClassAuth
	case s == http.StatusNotFound:
		class = event.ClassNotFound
	}
	a := answer(class, "%s: %d %s%s", what, resp.StatusCode, http.StatusText(resp.StatusCode), said)
	if a.Failure.Again == nil {
		a.Failure.After = model.RetryAfter(resp.Header, time.Now())
	}
	return a
}

// failed is the answer for a request without a whole response.
func (h *HTTP) failed(ctx context.Context, t *Task, what string, err error, allowed bool) Answer {
	if ctx.Err() != nil {
		return interrupted(ctx, t, what)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the URL, which may hold secrets
	}
	var ne net.Error
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errBlocked):
		hint := "to reach private and loopback addresses the node needs allow_private: true"
		if h.DenyPrivate {
			hint = "nodes may not reach private addresses here"
		} else if allowed {
			hint = "allow_private does not go as far as link-local and metadata addresses"
		}
		return final(event.ClassAuth, "%s: %v (%s)", what, err, hint)
	case errors.Is(err, errRedirects):
		return final(event.ClassToolFailed, "%s: %v", what, err)
	case errors.As(err, &cert):
		return final(event.ClassNetwork, "%s: %v", what, err)
	case errors.As(err, &ne) && ne.Timeout():
		return Fail(event.ClassTimeout, "%s: %v", what, err)
	}
	return Fail(event.ClassNetwork, "%s: %v", what, err)
}
