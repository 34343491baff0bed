package trigger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/access"
	"github.com/wfd-dev/wfd/projection/event"
)

// Headers of Standard Webhooks.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Tolerance is how far the time that a webhook was signed at may be from ours.
const Tolerance = 5 * time.Minute

// ErrDenied: whoever sent a webhook has not proved that he knows the secret.
var ErrDenied = errors.New("the webhook is not let in")

// defaultHeader has the proof, where a hook names no other.
var defaultHeader = map[string]string{
	event.VerifyStandard: HeaderSignature, event.VerifyToken: "Authorization", event.VerifySHA256: "X-Hub-Signature-256",
}

// HeaderOf returns the header in which a hook is given the proof; ok is false for a form
// that there is not.
func HeaderOf(form, header string) (name string, ok bool) {
	name, ok = defaultHeader[form]
	if header != "" && form != event.VerifyStandard {
		name = header
	}
	return http.CanonicalHeaderKey(name), ok
}

// Verify returns an error that is ErrDenied unless a webhook was sent by somebody who
// knows one of the secrets. None of its errors says what would have been right.
func Verify(form, header string, secrets []string, h http.Header, body []byte, now time.Time) error {
	name, ok := HeaderOf(form, header)
	if !ok {
		return fmt.Errorf("%w: there is no form %q", ErrDenied, clip(form))
	}
	given := h.Values(name)
	if len(given) != 1 || given[0] == "" {
		return fmt.Errorf("%w: it has to have the header %s once", ErrDenied, name)
	}
	proof, right := given[0], func(secret string) bool { return false }
	switch form {
	case event.VerifyToken:
		if scheme, token, ok := strings.Cut(proof, " "); ok && name == "Authorization" && strings.EqualFold(scheme, "Bearer") {
			proof = strings.TrimSpace(token)
		}
		right = func(secret string) bool { return access.Same(proof, secret) }
	case event.VerifySHA256:
		proof = strings.ToLower(strings.TrimPrefix(proof, "sha256="))
		right = func(secret string) bool { return access.Same(proof, hex.EncodeToString(mac([]byte(secret), body))) }
	case event.VerifyStandard:
		id, stamp := h.Values(HeaderID), h.Values(HeaderTimestamp)
		if len(id) != 1 || len(stamp) != 1 || id[0] == "" {
			return fmt.Errorf("%w: it has to have the headers %s and %s once", ErrDenied, HeaderID, HeaderTimestamp)
		}
		seconds, err := strconv.ParseInt(stamp[0], 10, 64)
		if err != nil {
			return fmt.Errorf("%w: %s is not a number of seconds", ErrDenied, HeaderTimestamp)
		}
		if off := now.Sub(time.Unix(seconds, 0)); off > Tolerance || off < -Tolerance {
			return fmt.Errorf("%w: it was signed more than %s from now", ErrDenied, Tolerance)
		}
		right = func(secret string) bool {
			want := Sign(secret, id[0], seconds, body)
			found := false
			for one := range strings.FieldsSeq(proof) {
				found = access.Same(one, want) || found
			}
			return found
		}
	}
	for _, secret := range secrets {
		if right(secret) {
			return nil
		}
	}
	return fmt.Errorf("%w: %s is not right", ErrDenied, name)
}

// Sign returns the signature of Standard Webhooks, version 1.
func Sign(secret, id string, seconds int64, body []byte) string {
	key := []byte(secret)
	if coded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if b, err := base64.StdEncoding.DecodeString(coded); err == nil {
			key = b
		}
	}
	signed := fmt.Appendf(nil, "%s.%d.", id, seconds)
	return "v1," + base64.StdEncoding.EncodeToString(mac(key, append(signed, body...)))
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}
