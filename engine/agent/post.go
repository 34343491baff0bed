package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/wfd-dev/wfd/engine/agent/model"
)

// Posted is what a host said to what was posted to it.
type Posted struct {
	Status     int
	RetryAfter time.Duration // that it asks for; 0: it does not
}

// Post posts a body, with the guard of http nodes. Redirects are not followed. Errors
// name the host alone: paths and queries may hold secrets.
func Post(ctx context.Context, url string, header http.Header, body []byte, allowPrivate bool) (Posted, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return Posted{}, errors.New("the URL is not one")
	}
	req.Header = header
	client := &http.Client{Transport: publicTransport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if allowPrivate {
		client.Transport = privateTransport
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, errBlocked):
		return Posted{}, fmt.Errorf("%s: %w", req.URL.Host, errBlocked)
	case errors.Is(err, context.DeadlineExceeded):
		return Posted{}, fmt.Errorf("%s did not answer in time", req.URL.Host)
	case err != nil:
		return Posted{}, fmt.Errorf("%s cannot be reached", req.URL.Host)
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, 4<<10) // what it says is not looked at
	return Posted{resp.StatusCode, model.RetryAfter(resp.Header, time.Now())}, nil
}
