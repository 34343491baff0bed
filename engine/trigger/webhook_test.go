package trigger

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/projection/event"
)

// TestStandardSignature: the signature is the one of the specification's own example.
func TestStandardSignature(t *testing.T) {
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := Sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, []byte(`{"test": 2432232314}`)); got != want {
		t.Errorf("signed %s, want %s", got, want)
	}
}

// TestVerify: what was sent by somebody who knows the secret is let in, and nothing that
// is only like it.
func TestVerify(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	now := time.Unix(1_800_000_000, 0)
	body := []byte(`{"a": 1}`)
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	signed := func(id string, at int64, body string) http.Header {
		return header(HeaderID, id, HeaderTimestamp, itoa(at), HeaderSignature, "v1a,xx "+Sign(secret, id, at, []byte(body)))
	}
	at := now.Unix()
	for _, c := range []struct {
		name, form, header string
		h                  http.Header
		ok                 bool
	}{
		{"standard", event.VerifyStandard, "", signed("m1", at, string(body)), true},
		{"signed a while ago", event.VerifyStandard, "", signed("m1", at-290, string(body)), true},
		{"signed too long ago", event.VerifyStandard, "", signed("m1", at-310, string(body)), false},
		{"signed later", event.VerifyStandard, "", signed("m1", at+310, string(body)), false},
		{"another body", event.VerifyStandard, "", signed("m1", at, `{"a": 2}`), false},
		{"another id", event.VerifyStandard, "", func() http.Header { h := signed("m1", at, string(body)); h.Set(HeaderID, "m2"); return h }(), false},
		{"no id", event.VerifyStandard, "", header(HeaderTimestamp, itoa(at), HeaderSignature, Sign(secret, "", at, body)), false},
		{"another time", event.VerifyStandard, "", func() http.Header { h := signed("m1", at, string(body)); h.Set(HeaderTimestamp, itoa(at-1)); return h }(), false},
		{"two ids", event.VerifyStandard, "", func() http.Header { h := signed("m1", at, string(body)); h.Add(HeaderID, "m1"); return h }(), false},
		{"no signature", event.VerifyStandard, "", header(HeaderID, "m1", HeaderTimestamp, itoa(at)), false},
		{"token", event.VerifyToken, "", header("Authorization", "Bearer "+secret), true},
		{"bare token", event.VerifyToken, "", header("Authorization", secret), true},
		{"token in a header of its own", event.VerifyToken, "X-Gitlab-Token", header("X-Gitlab-Token", secret), true},
		{"token in another header", event.VerifyToken, "X-Gitlab-Token", header("Authorization", "Bearer "+secret), false},
		{"the beginning of the token", event.VerifyToken, "", header("Authorization", "Bearer "+secret[:10]), false},
		{"no token", event.VerifyToken, "", header("Authorization", "Bearer "), false},
		{"sha256", event.VerifySHA256, "", header("X-Hub-Signature-256", "sha256=DB2DAA7C4C95F1B3E4E57B0B41A8E3F3"), false},
		{"another form", "md5", "", signed("m1", at, string(body)), false},
	} {
		err := Verify(c.form, c.header, []string{"another one", secret}, c.h, body, now)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && strings.Contains(err.Error(), secret[6:]) {
			t.Errorf("%s: the error has the secret: %v", c.name, err)
		}
	}
	// The example of GitHub's documentation.
	h := header("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
	if err := Verify(event.VerifySHA256, "", []string{"It's a Secret to Everybody"}, h, []byte("Hello, World!"), now); err != nil {
		t.Error(err)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
