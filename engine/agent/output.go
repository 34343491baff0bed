package agent

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/secret"
)

// head keeps the first limit bytes and calls over when there are more.
type head struct {
	limit int
	over  func()
	buf   []byte
}

func (h *head) Write(p []byte) (int, error) {
	if room := h.limit - len(h.buf); len(p) > room {
		h.buf = append(h.buf, p[:room]...)
		h.over()
		return len(p), nil
	}
	h.buf = append(h.buf, p...)
	return len(p), nil
}

func (h *head) String() string { return strings.ToValidUTF8(string(h.buf), string(utf8.RuneError)) }

// tail keeps the last limit bytes.
type tail struct {
	limit   int
	buf     []byte // at most twice the limit
	dropped int64
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if n > t.limit {
		t.dropped += int64(n - t.limit)
		p = p[n-t.limit:]
	}
	if len(t.buf)+len(p) > 2*t.limit {
		t.cut()
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

func (t *tail) cut() {
	if more := len(t.buf) - t.limit; more > 0 {
		t.dropped += int64(more)
		t.buf = t.buf[:copy(t.buf, t.buf[more:])]
	}
}

// text returns what was kept, without secrets, and says first how much is missing.
func (t *tail) text(r *secret.Redactor) string {
	t.cut()
	s := strings.ToValidUTF8(string(t.buf), string(utf8.RuneError))
	if t.dropped > 0 {
		return fmt.Sprintf("[the first %d bytes are left out]\n", t.dropped) + r.Tail(s)
	}
	return r.Text(s)
}
